//! Verifying everything that the controller stored, from the pinned root upwards and without its help.
//!
//! Each document is judged by the trust root and the inventory that stood before it, as the agents did.
//! Deliberately absent: anything the controller says about a document. Only its place in the sequence and
//! its time of arrival are taken from there.

use std::collections::{BTreeMap, BTreeSet};

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::fleet::Fleet;
use digue_proto::fleet::view::{FleetView, HostView};
use digue_proto::id::{Digest, HostId, UnixMillis};
use digue_proto::key::PublicKey;
use digue_proto::report::{Outcome, ReceiptV1, ReportV1};
use digue_proto::trust_chain::Trust;
use digue_proto::verify::{Verified, VerifyError, verify_host};
use serde::Serialize;

use crate::client::api::StoredEnvelope;

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// Place in the store, if it concerns one document.
    pub(crate) seq: Option<u64>,
    /// The host, if it concerns one.
    pub(crate) host: Option<HostId>,
    /// What does not hold; not translated, like all machine output.
    pub(crate) what: String,
}

/// One document of a host's chain.
#[derive(Debug, Clone, Copy)]
struct Link {
    digest: Digest,
    prev: Option<Digest>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Found {
    /// Documents read.
    pub(crate) documents: u64,
    /// Documents by type.
    pub(crate) by_type: BTreeMap<String, u64>,
    /// Chains of hosts.
    pub(crate) chains: usize,
    /// Orders and statements that still await signatures.
    pub(crate) awaiting: usize,
    /// What does not hold.
    pub(crate) failures: Vec<Failure>,
}

/// Folds the store, document after document.
pub(crate) struct Auditor {
    pinned: Digest,
    held: Vec<Envelope>,
    roots: usize,
    fleet: Fleet,
    chains: BTreeMap<(HostId, PublicKey), BTreeMap<u64, Link>>,
    orders: BTreeMap<Digest, bool>,
    statements: BTreeMap<Digest, bool>,
    answers: Vec<(u64, HostId, Digest)>,
    last_seq: u64,
    found: Found,
}

impl Auditor {
    /// Starts from the pinned digest and the roots held here.
    pub(crate) fn new(pinned: Digest, held: Vec<Envelope>) -> Self {
        Self {
            pinned,
            held,
            roots: 0,
            fleet: Fleet::default(),
            chains: BTreeMap::new(),
            orders: BTreeMap::new(),
            statements: BTreeMap::new(),
            answers: Vec::new(),
            last_seq: 0,
            found: Found {
                documents: 0,
                by_type: BTreeMap::new(),
                chains: 0,
                awaiting: 0,
                failures: Vec::new(),
            },
        }
    }

    fn fail(&mut self, seq: Option<u64>, host: Option<&HostId>, what: impl Into<String>) {
        self.found.failures.push(Failure { seq, host: host.cloned(), what: what.into() });
    }

    /// Takes the next document of the store.
    pub(crate) fn take(&mut self, stored: &StoredEnvelope) {
        let seq = stored.seq;
        if seq != self.last_seq + 1 {
            let what = format!(
                "entries {} to {} of the store are missing",
                self.last_seq + 1,
                seq.saturating_sub(1)
            );
            self.fail(Some(seq), None, what);
        }
        self.last_seq = seq;
        self.found.documents += 1;
        let kind = stored.envelope.payload_type;
        *self.found.by_type.entry(kind.to_string()).or_default() += 1;
        let judged = match kind {
            PayloadType::Root => self.root(&stored.envelope),
            PayloadType::Inventory => self.inventory(&stored.envelope),
            PayloadType::Query | PayloadType::Protect | PayloadType::Release => self.order(&stored.envelope),
            PayloadType::Clean | PayloadType::Suspect => self.statement(stored),
            PayloadType::Receipt | PayloadType::Report => self.host_document(stored),
            PayloadType::Heartbeat | PayloadType::Enrol => Err("a document that is never stored".to_owned()),
        };
        if let Err(what) = judged {
            self.fail(Some(seq), stored.host_id.as_ref(), format!("{kind}: {what}"));
        }
    }

    fn trust(&self) -> Result<&Trust, String> {
        self.fleet.trust().ok_or_else(|| "it stands before any trust root".to_owned())
    }

    fn root(&mut self, envelope: &Envelope) -> Result<(), String> {
        let next = match self.fleet.trust() {
            None => Trust::initial(envelope, &self.pinned),
            Some(trust) => trust.next(envelope),
        };
        let next = next.map_err(|e| e.to_string())?;
        let held = self.held.get(self.roots).map(Envelope::digest);
        self.roots += 1;
        self.fleet.set_trust(next);
        if held.is_some_and(|held| held != envelope.digest()) {
            return Err("it is not the root of this version that is held here".to_owned());
        }
        Ok(())
    }

    fn inventory(&mut self, envelope: &Envelope) -> Result<(), String> {
        let verified = self.trust()?.verify_inventory(envelope).map_err(|e| e.to_string())?;
        let before = self.fleet.inventory().map_or(0, |i| i.value().version);
        let version = verified.value().version;
        if version <= before {
            return Err(format!("version {version} does not follow {before}"));
        }
        self.fleet.set_inventory(verified);
        Ok(())
    }

    fn order(&mut self, envelope: &Envelope) -> Result<(), String> {
        let complete = match self.trust()?.verify_order(envelope) {
            Ok(_) => true,
            // Stored as it came; the signatures that complete it are stored as they come.
            Err(VerifyError::Threshold { .. }) => false,
            Err(error) => return Err(error.to_string()),
        };
        *self.orders.entry(envelope.digest()).or_default() |= complete;
        Ok(())
    }

    fn statement(&mut self, stored: &StoredEnvelope) -> Result<(), String> {
        let envelope = &stored.envelope;
        let complete = match self.trust()?.verify_statement(envelope) {
            Ok(_) => true,
            Err(VerifyError::Threshold { .. } | VerifyError::NoForensic) => false,
            Err(error) => return Err(error.to_string()),
        };
        *self.statements.entry(envelope.digest()).or_default() |= complete;
        let offer = self.fleet.offer_statement(envelope).map_err(|e| e.to_string())?;
        self.fleet.commit_statement(offer, stored.received_at_ms);
        Ok(())
    }

    fn host_document(&mut self, stored: &StoredEnvelope) -> Result<(), String> {
        let host = stored.host_id.clone().ok_or_else(|| "stored without a host".to_owned())?;
        let deployment = self.trust()?.deployment_id();
        let listed = self.fleet.inventory().and_then(|i| i.value().host(&host).cloned());
        let key =
            listed.and_then(|h| h.host_key).ok_or_else(|| "the inventory names no key for it".to_owned())?;
        let at = stored.received_at_ms;
        if stored.envelope.payload_type == PayloadType::Receipt {
            let receipt: Verified<ReceiptV1> =
                verify_host(&stored.envelope, &key, deployment).map_err(|e| e.to_string())?;
            let value = receipt.value();
            self.link(stored.seq, &host, &key, &value.host_id, value.seq, receipt.digest(), value.prev)?;
            if matches!(value.outcome, Outcome::Acknowledged {} | Outcome::Applied {} | Outcome::Verified {})
            {
                self.answers.push((stored.seq, host, value.order));
            }
            // What a late document does not change is no failure.
            let _late = self.fleet.apply_receipt(&receipt, &key, at);
        } else {
            let report: Verified<ReportV1> =
                verify_host(&stored.envelope, &key, deployment).map_err(|e| e.to_string())?;
            let value = report.value();
            self.link(stored.seq, &host, &key, &value.host_id, value.seq, report.digest(), value.prev)?;
            let _late = self.fleet.apply_report(&report, &key, at);
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one link")]
    fn link(
        &mut self,
        at: u64,
        host: &HostId,
        key: &PublicKey,
        named: &HostId,
        seq: u64,
        digest: Digest,
        prev: Option<Digest>,
    ) -> Result<(), String> {
        if named != host {
            return Err(format!("it speaks for {named}"));
        }
        let chain = self.chains.entry((host.clone(), key.clone())).or_default();
        match chain.insert(seq, Link { digest, prev }) {
            Some(other) if other.digest != digest => Err(format!(
                "entry {at}: two documents of this host claim number {seq}: a cloned key or a restored machine"
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Ends the fold: chains, answers and what still waits.
    pub(crate) fn finish(mut self) -> (Found, Fleet) {
        let chains = std::mem::take(&mut self.chains);
        self.found.chains = chains.len();
        for ((host, _), chain) in &chains {
            for what in chain_failures(chain) {
                self.fail(None, Some(host), what);
            }
        }
        for (seq, host, order) in std::mem::take(&mut self.answers) {
            if self.orders.get(&order) != Some(&true) {
                let what =
                    format!("it obeyed order {}, which is not stored with enough signatures", order.short());
                self.fail(Some(seq), Some(&host), what);
            }
        }
        let waiting = |list: &BTreeMap<Digest, bool>| list.values().filter(|complete| !**complete).count();
        self.found.awaiting = waiting(&self.orders) + waiting(&self.statements);
        if self.roots < self.held.len() {
            let what = format!("{} trust roots held here are not stored", self.held.len() - self.roots);
            self.fail(None, None, what);
        }
        (self.found, self.fleet)
    }
}

/// Gaps and broken links of one chain.
fn chain_failures(chain: &BTreeMap<u64, Link>) -> Vec<String> {
    let mut failures = Vec::new();
    let mut before: Option<(u64, Link)> = None;
    for (seq, link) in chain {
        let expected = before.map_or(1, |(last, _)| last + 1);
        if *seq > expected {
            failures.push(format!("its documents {expected} to {} are missing", seq - 1));
        }
        match before {
            Some((last, previous)) if last + 1 == *seq && link.prev != Some(previous.digest) => {
                failures.push(format!("its document {seq} does not follow document {last}"));
            }
            None if *seq == 1 && link.prev.is_some() => {
                failures.push("its document 1 names one before it".to_owned());
            }
            Some(_) | None => {}
        }
        before = Some((*seq, *link));
    }
    failures
}

/// What the controller shows and the stored documents do not bear out. Only rows that were the same
/// before and after the documents were read are compared.
pub(crate) fn claims(before: &FleetView, after: &FleetView, fleet: &Fleet, now: UnixMillis) -> Vec<Failure> {
    let steady: BTreeSet<&HostId> = before
        .hosts
        .iter()
        .filter(|row| after.hosts.iter().any(|other| other.name == row.name && same(row, other)))
        .map(|row| &row.name)
        .collect();
    let mut failures = Vec::new();
    for row in after.hosts.iter().filter(|row| steady.contains(&row.name)) {
        let mut claim = |what: &str| {
            failures.push(Failure { seq: None, host: Some(row.name.clone()), what: what.to_owned() });
        };
        match fleet.host_view(&row.name, now) {
            None => claim("the controller shows it; no stored inventory names it"),
            Some(own) => {
                if own.heads != row.heads || own.order_id != row.order_id {
                    claim("the controller shows another order in force than its last stored report");
                }
                if row.clean_statement.is_some() && row.clean_statement != own.clean_statement {
                    claim("the controller shows a clean statement that the stored documents do not bear out");
                }
            }
        }
    }
    failures
}

fn same(one: &HostView, other: &HostView) -> bool {
    one.heads == other.heads && one.order_id == other.order_id && one.clean_statement == other.clean_statement
}

#[cfg(test)]
mod tests {
    use digue_proto::id::Nonce;
    use digue_proto::order::{Action, OrderV1, Stream, Target};
    use digue_proto::report::Clocks;
    use digue_proto::strict;
    use digue_proto::trust::InventoryHost;

    use super::*;
    use crate::fleet::tests::{inventory_host, inventory_of};
    use crate::keygen::{self, KeyType};

    fn chain(links: &[(u64, &[u8], Option<&[u8]>)]) -> BTreeMap<u64, Link> {
        let link = |(seq, own, prev): &(u64, &[u8], Option<&[u8]>)| {
            (*seq, Link { digest: Digest::of(own), prev: prev.map(Digest::of) })
        };
        links.iter().map(link).collect()
    }

    #[test]
    fn a_whole_chain_holds_and_a_gap_or_a_broken_link_does_not() {
        let whole = chain(&[(1, b"a", None), (2, b"b", Some(b"a")), (3, b"c", Some(b"b"))]);
        assert!(chain_failures(&whole).is_empty());
        let gap = chain(&[(1, b"a", None), (4, b"d", Some(b"c"))]);
        assert_eq!(chain_failures(&gap), ["its documents 2 to 3 are missing"]);
        let broken = chain(&[(1, b"a", None), (2, b"b", Some(b"x"))]);
        assert_eq!(chain_failures(&broken), ["its document 2 does not follow document 1"]);
        let beheaded = chain(&[(2, b"b", Some(b"a"))]);
        assert_eq!(chain_failures(&beheaded), ["its documents 1 to 1 are missing"]);
    }

    /// A root, an inventory with one host, an order, and three documents of the host.
    async fn store(folder: &std::path::Path) -> (Trust, Vec<StoredEnvelope>) {
        let trust = crate::tests::trust(folder, Digest::of(b"controller")).await;
        let key =
            keygen::make(&folder.join("srv-001"), KeyType::Ed25519, "srv-001", true).await.expect("a key");
        let host = InventoryHost { host_key: Some(key.clone()), ..inventory_host("srv-001", 1) };
        let mut inventory = inventory_of(vec![host]);
        inventory.deployment_id = trust.deployment_id();
        let order = OrderV1 {
            deployment_id: trust.deployment_id(),
            order_id: Nonce::from_bytes([1; 16]),
            root_version: 1,
            stream: Stream::Query,
            gen_epoch: 1,
            generation: 1,
            issued_at_ms: UnixMillis(1),
            not_after_ms: UnixMillis(2),
            incident: "i".to_owned(),
            action: Action::Report {},
            target: Target::All {},
            heads: Vec::new(),
            reason: "r".to_owned(),
        };
        let order_payload = strict::to_vec(&order).expect("bytes");
        let clocks = Clocks { wall_ms: UnixMillis(1), boottime_ms: 1, boot_id: "b".to_owned() };
        let receipt = |seq, prev, outcome| ReceiptV1 {
            deployment_id: trust.deployment_id(),
            host_id: "srv-001".parse().expect("name"),
            seq,
            prev,
            clocks: clocks.clone(),
            order: Digest::of(&order_payload),
            order_id: Some(order.order_id),
            outcome,
            remarks: Vec::new(),
            root_version: 1,
            challenge: None,
        };
        let first = strict::to_vec(&receipt(1, None, Outcome::Acknowledged {})).expect("bytes");
        let second = receipt(2, Some(Digest::of(&first)), Outcome::Applied {});
        let second = strict::to_vec(&second).expect("bytes");
        let third = receipt(3, Some(Digest::of(&second)), Outcome::Verified {});
        let third = strict::to_vec(&third).expect("bytes");
        let inventory = strict::to_vec(&inventory).expect("bytes");
        let documents = [
            (PayloadType::Inventory, &["alice"][..], inventory),
            (PayloadType::Query, &["bruno"], order_payload),
            (PayloadType::Receipt, &["srv-001"], first),
            (PayloadType::Receipt, &["srv-001"], second),
            (PayloadType::Receipt, &["srv-001"], third),
        ];
        let mut stored = vec![(trust.envelope().clone(), false)];
        for (kind, by, payload) in documents {
            stored
                .push((crate::tests::sealed(folder, by, kind, payload).await, kind == PayloadType::Receipt));
        }
        let stored = stored.into_iter().zip(1u64..).map(|((envelope, of_host), seq)| StoredEnvelope {
            seq,
            received_at_ms: UnixMillis(seq),
            envelope,
            host_id: of_host.then(|| "srv-001".parse().expect("name")),
        });
        (trust.clone(), stored.collect())
    }

    fn audited(trust: &Trust, stored: &[StoredEnvelope]) -> Vec<String> {
        let mut auditor = Auditor::new(trust.deployment_id(), vec![trust.envelope().clone()]);
        stored.iter().for_each(|document| auditor.take(document));
        auditor.finish().0.failures.into_iter().map(|failure| failure.what).collect()
    }

    #[tokio::test]
    async fn an_untouched_store_holds_and_one_changed_byte_anywhere_does_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let (trust, stored) = store(folder.path()).await;
        assert_eq!(audited(&trust, &stored), Vec::<String>::new());
        for at in 0..stored.len() {
            let mut changed = stored.clone();
            let envelope = &mut changed[at].envelope;
            let last = envelope.payload.len() - 3;
            envelope.payload[last] ^= 1;
            assert!(!audited(&trust, &changed).is_empty(), "a change in document {} went unnoticed", at + 1);
        }
    }

    #[tokio::test]
    async fn a_document_that_was_left_out_or_never_logged_shows() {
        let folder = tempfile::tempdir().expect("a folder");
        let (trust, stored) = store(folder.path()).await;
        let without = |at: usize| {
            let mut rest = stored.clone();
            rest.remove(at);
            rest.iter_mut().zip(1u64..).for_each(|(document, seq)| document.seq = seq);
            audited(&trust, &rest)
        };
        // E3: the order was never logged, but hosts obeyed it.
        assert!(without(2).iter().all(|what| what.contains("obeyed order")), "{:?}", without(2));
        assert!(
            without(4).iter().any(|what| what.contains("documents 2 to 2 are missing")),
            "{:?}",
            without(4)
        );
        // The newest document of a chain leaves no trace by itself; the next heartbeat or report does.
        assert_eq!(without(5), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_chain_of_roots_that_is_not_the_one_held_here_fails() {
        let folder = tempfile::tempdir().expect("a folder");
        let (trust, stored) = store(folder.path()).await;
        let other_folder = tempfile::tempdir().expect("a folder");
        let other = crate::tests::trust(other_folder.path(), Digest::of(b"controller")).await;
        assert!(audited(&other, &stored).iter().any(|what| what.contains("pinned")));
        assert!(!audited(&trust, &stored[1..]).is_empty());
    }

    #[test]
    fn a_store_without_a_root_or_with_a_hole_fails() {
        let stored = |seq| StoredEnvelope {
            seq,
            received_at_ms: UnixMillis(1),
            envelope: Envelope {
                payload_type: PayloadType::Inventory,
                payload: b"{}".to_vec(),
                signatures: Vec::new(),
            },
            host_id: None,
        };
        let mut auditor = Auditor::new(Digest::of(b"root"), Vec::new());
        auditor.take(&stored(1));
        auditor.take(&stored(3));
        let (found, _) = auditor.finish();
        let whats: Vec<&str> = found.failures.iter().map(|f| f.what.as_str()).collect();
        assert!(whats[0].contains("before any trust root"), "{whats:?}");
        assert!(whats.iter().any(|w| w.contains("entries 2 to 2")), "{whats:?}");
    }
}
