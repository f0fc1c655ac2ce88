//! Orders on their way: signatures collected, hosts that still have to confirm, and what each confirmed.
//!
//! `Waiting` and `Sent` are the relay's own facts and go no further; every later phase comes from a
//! receipt that the host signed (C14). Deliberately absent: the hosts' state, which no order touches.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::bundle::{BundleError, OrderBundle};
use crate::envelope::Envelope;
use crate::fleet::host::HostState;
use crate::fleet::unsealed;
use crate::fleet::view::{OrderHostView, OrderState, OrderView, Phase};
use crate::id::{Digest, HostId, OrderId, PersonId, UnixMillis};
use crate::key::{Fingerprint, PublicKey};
use crate::merkle::{self, Proof};
use crate::order::{Action, LeafV1, OrderV1, Target};
use crate::policy::Profile;
use crate::report::{Outcome, ReceiptV1};
use crate::trust::{Class, InventoryV1};
use crate::trust_chain::Trust;
use crate::verify::{SignatureError, VerifyError};

/// Why an order, a signature for one or its withdrawal is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefused {
    /// No trust root is known yet.
    #[error("no trust root is known yet")]
    NoRoot,
    /// No signatures could bring it into force here.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// The leaves or statements do not fit the order.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// Another order has this name.
    #[error("order {id} exists with other contents (digest {stored})")]
    OtherContents {
        /// The name.
        id: OrderId,
        /// The digest of the order that is stored.
        stored: Digest,
    },
    /// A signature does not count.
    #[error("a signature does not count: {0}")]
    Signature(SignatureError),
    /// It was withdrawn.
    #[error("order {0} was cancelled; plan a new one")]
    Cancelled(OrderId),
    /// It is signed and on its way.
    #[error("order {0} is signed and on its way; only a newer order changes it")]
    AlreadySealed(OrderId),
    /// No order has this name.
    #[error("no order {0} is known")]
    Unknown(OrderId),
}

/// One host's share of a sealed order.
#[derive(Debug, Clone)]
struct Share {
    /// The key that the order binds; another machine of the same name gets nothing.
    key: Fingerprint,
    leaf: Option<usize>,
    statement: Option<usize>,
    sent_at: Option<UnixMillis>,
    receipt: Option<Confirmed>,
}

/// The newest receipt of one host for one order.
#[derive(Debug, Clone)]
struct Confirmed {
    seq: u64,
    phase: Phase,
    code: Option<String>,
    detail: Option<String>,
    remarks: Vec<String>,
    at: UnixMillis,
}

impl Confirmed {
    fn of(receipt: &ReceiptV1, at: UnixMillis) -> Self {
        let (phase, code, detail) = match &receipt.outcome {
            Outcome::Acknowledged {} => (Phase::Acknowledged, None, None),
            Outcome::Applied {} => (Phase::Applied, None, None),
            Outcome::Verified {} => (Phase::Verified, None, None),
            Outcome::Failed { detail } => (Phase::Failed, None, Some(detail.clone())),
            Outcome::Refused { code, detail } => (Phase::Refused, Some(code.clone()), Some(detail.clone())),
        };
        Self { seq: receipt.seq, phase, code, detail, remarks: receipt.remarks.clone(), at }
    }
}

/// What one host has to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The order.
    pub order: &'a Envelope,
    /// The host's leaf and its path; absent for an order to all.
    pub target: Option<(&'a [u8], &'a Proof)>,
    /// The clean statement that it relies on.
    pub statement: Option<&'a Envelope>,
}

/// An order with everything known of it.
#[derive(Debug, Clone)]
pub struct OrderEntry {
    /// The order as relayed: its signatures that count, its leaves, its statements.
    pub bundle: OrderBundle,
    order: OrderV1,
    class: Class,
    state: OrderState,
    leaves: Vec<LeafV1>,
    proofs: Vec<Proof>,
    shares: BTreeMap<HostId, Share>,
    /// Hosts that were sent the order before it was sealed, and said no: not by this relay.
    early: BTreeMap<HostId, Confirmed>,
}

impl OrderEntry {
    /// The order.
    pub const fn order(&self) -> &OrderV1 {
        &self.order
    }
    /// Where it stands.
    pub const fn state(&self) -> OrderState {
        self.state
    }
    /// The hosts that it binds; empty until it is sealed.
    pub fn hosts(&self) -> impl Iterator<Item = &HostId> {
        self.shares.keys()
    }
    /// Whether a host with this key still has to be sent the order.
    pub fn awaits(&self, host: &HostId, key: &PublicKey) -> bool {
        self.shares.get(host).is_some_and(|share| share.receipt.is_none() && share.key == key.fingerprint())
    }
    /// What a host has to be sent.
    pub fn parts(&self, host: &HostId) -> Option<Parts<'_>> {
        let share = self.shares.get(host)?;
        let target = match share.leaf {
            None => None,
            Some(at) => Some((self.bundle.leaves.get(at)?.as_ref(), self.proofs.get(at)?)),
        };
        let statement = share.statement.and_then(|at| self.bundle.statements.get(at));
        Some(Parts { order: &self.bundle.order, target, statement })
    }
}

/// A checked change to the orders, to be made durable and then committed.
#[derive(Debug, Clone)]
pub struct OrderOffer {
    digest: Digest,
    entry: OrderEntry,
    seals: bool,
    /// Whether the order was unknown: its leaves have to be stored too.
    pub new: bool,
    /// Whether it changes anything; if not, nothing needs to be stored.
    pub changes: bool,
}

impl OrderOffer {
    /// The order's digest.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
    /// The order's name.
    pub const fn order_id(&self) -> OrderId {
        self.entry.order.order_id
    }
    /// What has to be stored.
    pub const fn bundle(&self) -> &OrderBundle {
        &self.entry.bundle
    }
    /// Whether committing it sends the order on its way.
    pub const fn seals(&self) -> bool {
        self.seals
    }
}

/// Every order, in the order of arrival.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders {
    entries: BTreeMap<Digest, OrderEntry>,
    by_id: BTreeMap<OrderId, Digest>,
    sequence: Vec<Digest>,
    /// Sealed orders that a host has not confirmed, oldest first.
    open: BTreeMap<HostId, Vec<Digest>>,
}

impl Orders {
    /// Checks an order with its signatures, without changing anything.
    pub(super) fn offer(&self, bundle: &OrderBundle, trust: &Trust) -> Result<OrderOffer, OrderRefused> {
        let (order, class) = unsealed::read_order(&bundle.order, trust)?;
        let (digest, id) = (bundle.order.digest(), order.order_id);
        if let Some(stored) = self.by_id.get(&id).filter(|stored| **stored != digest) {
            return Err(OrderRefused::OtherContents { id, stored: *stored });
        }
        let known = self.entries.get(&digest);
        if known.is_some_and(|k| k.state == OrderState::Cancelled) {
            return Err(OrderRefused::Cancelled(id));
        }
        let mut entry = match known {
            Some(known) => known.clone(),
            None => Self::read(bundle, order, class)?,
        };
        unsealed::merge(&mut entry.bundle.order, &bundle.order.signatures, class, trust)
            .map_err(OrderRefused::Signature)?;
        let in_force = match trust.verify_order(&entry.bundle.order) {
            Ok(_) => true,
            Err(VerifyError::Threshold { .. }) => false,
            Err(refused) => return Err(refused.into()),
        };
        let seals = in_force && entry.state == OrderState::AwaitingSignatures;
        let changes = seals || known.is_none_or(|k| k.bundle.order != entry.bundle.order);
        Ok(OrderOffer { digest, entry, seals, new: known.is_none(), changes })
    }

    fn read(bundle: &OrderBundle, order: OrderV1, class: Class) -> Result<OrderEntry, OrderRefused> {
        let leaves = bundle.targets(&order)?;
        for statement in &bundle.statements {
            statement.check_bounds().map_err(BundleError::Bounds)?;
        }
        let carried: BTreeSet<Digest> = bundle.statements.iter().map(Envelope::digest).collect();
        let missing = leaves.iter().find(|leaf| leaf.clean.is_some_and(|d| !carried.contains(&d)));
        if let Some(leaf) = missing {
            return Err(BundleError::NoStatement(leaf.host_id.clone()).into());
        }
        let unsigned = Envelope { signatures: Vec::new(), ..bundle.order.clone() };
        Ok(OrderEntry {
            bundle: OrderBundle { order: unsigned, ..bundle.clone() },
            proofs: if leaves.is_empty() { Vec::new() } else { merkle::proofs(&bundle.leaves) },
            leaves,
            order,
            class,
            state: OrderState::AwaitingSignatures,
            shares: BTreeMap::new(),
            early: BTreeMap::new(),
        })
    }

    /// Checks one more signature for an order that is known.
    pub(super) fn offer_signature(
        &self,
        id: OrderId,
        armour: &str,
        trust: &Trust,
    ) -> Result<OrderOffer, OrderRefused> {
        let known = self.by_name(id).ok_or(OrderRefused::Unknown(id))?;
        let order = Envelope { signatures: vec![armour.to_owned()], ..known.bundle.order.clone() };
        self.offer(&OrderBundle { order, ..known.bundle.clone() }, trust)
    }

    /// Takes what was offered. An order to all binds the hosts of the inventory at this moment.
    pub(super) fn commit(&mut self, offer: OrderOffer, inventory: Option<&InventoryV1>) {
        let OrderOffer { digest, entry: offered, seals, .. } = offer;
        self.by_id.insert(offered.order.order_id, digest);
        // Receipts may have come in since it was offered: only what was offered changes.
        let entry = match self.entries.entry(digest) {
            Entry::Vacant(free) => {
                self.sequence.push(digest);
                free.insert(offered)
            }
            Entry::Occupied(known) => {
                let known = known.into_mut();
                known.bundle.order = offered.bundle.order;
                known
            }
        };
        if seals {
            entry.state = OrderState::Sealed;
            entry.shares = shares(entry, inventory);
            entry.early.clear();
            for host in entry.shares.keys() {
                self.open.entry(host.clone()).or_default().push(digest);
            }
        }
    }

    /// Whether an order may still be withdrawn.
    pub(super) fn check_cancel(&self, id: OrderId) -> Result<Digest, OrderRefused> {
        let digest = self.by_id.get(&id).ok_or(OrderRefused::Unknown(id))?;
        match self.entries.get(digest).map(OrderEntry::state) {
            None => Err(OrderRefused::Unknown(id)),
            Some(OrderState::Sealed) => Err(OrderRefused::AlreadySealed(id)),
            Some(OrderState::AwaitingSignatures | OrderState::Cancelled) => Ok(*digest),
        }
    }

    pub(super) fn cancel(&mut self, digest: Digest) {
        if let Some(entry) = self.entries.get_mut(&digest)
            && entry.state == OrderState::AwaitingSignatures
        {
            entry.state = OrderState::Cancelled;
        }
    }

    pub(super) fn note_sent(&mut self, digest: Digest, host: &HostId, at: UnixMillis) -> bool {
        let share = self.entries.get_mut(&digest).and_then(|e| e.shares.get_mut(host));
        match share {
            Some(share) if share.sent_at.is_none() => {
                share.sent_at = Some(at);
                true
            }
            Some(_) | None => false,
        }
    }

    /// Takes a host's receipt. For one order a receipt never replaces a newer one (C15).
    pub(super) fn take_receipt(&mut self, by: &PublicKey, receipt: &ReceiptV1, at: UnixMillis) -> bool {
        let Some(entry) = self.entries.get_mut(&receipt.order) else { return false };
        let known = match entry.shares.get_mut(&receipt.host_id) {
            Some(share) if share.key == by.fingerprint() => &mut share.receipt,
            Some(_) => return false,
            None if entry.state == OrderState::Sealed => return false,
            None => {
                let early = Some(Confirmed::of(receipt, at)).filter(|early| early.phase == Phase::Refused);
                let newer = |early: &Confirmed| {
                    entry.early.get(&receipt.host_id).is_none_or(|known| known.seq < early.seq)
                };
                let Some(early) = early.filter(newer) else { return false };
                entry.early.insert(receipt.host_id.clone(), early);
                return true;
            }
        };
        if known.as_ref().is_some_and(|known| known.seq >= receipt.seq) {
            return false;
        }
        *known = Some(Confirmed::of(receipt, at));
        if let Some(open) = self.open.get_mut(&receipt.host_id) {
            open.retain(|digest| *digest != receipt.order);
        }
        true
    }

    pub(super) fn by_name(&self, id: OrderId) -> Option<&OrderEntry> {
        self.entries.get(self.by_id.get(&id)?)
    }

    pub(super) fn entry(&self, digest: Digest) -> Option<&OrderEntry> {
        self.entries.get(&digest)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (Digest, &OrderEntry)> {
        self.sequence.iter().filter_map(|digest| Some((*digest, self.entries.get(digest)?)))
    }

    /// Sealed orders that a host with this key has not confirmed in any way, oldest first.
    pub(super) fn open(&self, host: &HostId, key: &PublicKey) -> impl Iterator<Item = (Digest, &OrderEntry)> {
        let digests = self.open.get(host).map_or(&[][..], Vec::as_slice);
        let entries = digests.iter().filter_map(|digest| Some((*digest, self.entries.get(digest)?)));
        entries.filter(|(_, entry)| entry.awaits(host, key))
    }
}

fn shares(entry: &OrderEntry, inventory: Option<&InventoryV1>) -> BTreeMap<HostId, Share> {
    let share = |key, leaf, statement| Share { key, leaf, statement, sent_at: None, receipt: None };
    match entry.order.target {
        Target::All {} => inventory
            .map_or(&[][..], |i| &i.hosts)
            .iter()
            .filter_map(|host| Some((host.host_id.clone(), share(host.fingerprint()?, None, None))))
            .collect(),
        Target::List { .. } => {
            let statements: BTreeMap<Digest, usize> =
                entry.bundle.statements.iter().enumerate().map(|(at, s)| (s.digest(), at)).collect();
            let leaves = entry.leaves.iter().enumerate();
            leaves
                .map(|(at, leaf)| {
                    let statement = leaf.clean.and_then(|digest| statements.get(&digest).copied());
                    (leaf.host_id.clone(), share(leaf.host_key.clone(), Some(at), statement))
                })
                .collect()
        }
    }
}

/// One order as the view shows it.
pub(super) fn order_view<'a>(
    digest: Digest,
    entry: &OrderEntry,
    trust: Option<&Trust>,
    state_of: impl Fn(&HostId) -> Option<&'a HostState>,
) -> OrderView {
    let order = &entry.order;
    let signers: BTreeSet<PersonId> =
        trust.map_or_else(BTreeSet::new, |t| t.tally(&entry.bundle.order, entry.class).counted);
    let hosts = entry.shares.iter().map(|(host, share)| host_view(host, share, order, state_of(host)));
    let early = entry.early.iter().map(|(host, refused)| OrderHostView {
        host: host.clone(),
        phase: refused.phase,
        code: refused.code.clone(),
        detail: refused.detail.clone(),
        remarks: refused.remarks.clone(),
        at_ms: Some(refused.at),
    });
    OrderView {
        order_id: order.order_id,
        digest,
        state: entry.state,
        payload_type: entry.bundle.order.payload_type,
        stream: order.stream,
        generation: order.generation,
        action: action_word(&order.action).to_owned(),
        incident: order.incident.clone(),
        reason: order.reason.clone(),
        issued_at_ms: order.issued_at_ms,
        not_after_ms: order.not_after_ms,
        signers: signers.into_iter().collect(),
        needed: trust.map_or(0, |t| t.threshold(entry.class.role())) as u64,
        hosts: hosts.chain(early).collect(),
    }
}

fn host_view(host: &HostId, share: &Share, order: &OrderV1, state: Option<&HostState>) -> OrderHostView {
    let (phase, at) = match (&share.receipt, share.sent_at) {
        (Some(confirmed), _) => (confirmed.phase, Some(confirmed.at)),
        (None, Some(at)) => (Phase::Sent, Some(at)),
        (None, None) => (Phase::Waiting, None),
    };
    let open = match phase {
        Phase::Waiting | Phase::Sent | Phase::Acknowledged | Phase::Applied => true,
        Phase::Verified | Phase::Failed | Phase::Refused | Phase::Superseded => false,
    };
    let newer = |report: &crate::report::ReportV1| {
        let mine = (order.gen_epoch, order.generation);
        report.heads.iter().any(|head| head.stream == order.stream && head.order() > mine)
    };
    let report = state.and_then(HostState::report);
    let superseded = open && report.is_some_and(|report| newer(report.value()));
    let receipt = share.receipt.as_ref();
    OrderHostView {
        host: host.clone(),
        phase: if superseded { Phase::Superseded } else { phase },
        code: receipt.and_then(|r| r.code.clone()),
        detail: receipt.and_then(|r| r.detail.clone()),
        remarks: receipt.map_or_else(Vec::new, |r| r.remarks.clone()),
        at_ms: at,
    }
}

/// The word for an action, as the command line spells it.
pub const fn action_word(action: &Action) -> &'static str {
    match action {
        Action::Contain { policy, .. } => match policy.profile {
            Profile::Cut | Profile::Observe => "cut",
            Profile::Isolate => "isolate",
            Profile::Dark => "dark",
        },
        Action::Adjust { .. } => "adjust",
        Action::Release { .. } => "release",
        Action::Block { .. } => "block",
        Action::Unblock { .. } => "unblock",
        Action::Report {} => "report",
    }
}
