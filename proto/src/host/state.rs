//! What a host must still know after a crash. Written as a whole, in one synced write, before acting.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::host::effect::Document;
use crate::id::{Digest, OrderId, UnixMillis};
use crate::limits::MAX_ENVELOPE;
use crate::order::{Head, Stream};
use crate::policy::{BlockList, OnLostManagement, Policy};
use crate::report::Alarm;
use crate::strict::{self, StrictError};

/// Orders whose last receipt is kept, so that a repeat gets the same answer (C1).
pub(super) const REMEMBERED_ORDERS: usize = 16;
/// Documents, and bytes of documents, kept for a controller that cannot be reached or never says that it
/// has stored them. Beyond that no refusal and no report is written, and nothing that opens is admitted.
const MAX_OUTBOX: (usize, usize) = (512, 4 << 20);
/// What is kept on top of that for the receipts of orders that close.
const MAX_OUTBOX_RECEIPTS: (usize, usize) = (128, 1 << 20);
/// Beyond this a document's number was not counted but made up.
const MAX_SEQ: u64 = 1 << 48;
/// Alarms kept, and alarms of one kind: what anyone can trigger must not push out the rest.
const MAX_ALARMS: (usize, usize) = (64, 4);

/// The newest order that a stream accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamState {
    /// Its number.
    pub head: Head,
    /// Digest of its payload.
    pub order: Digest,
    /// Its name.
    pub order_id: OrderId,
}

/// How far the order that is being carried out has come (3.6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// To be applied, or being applied when the host stopped: it is applied again.
    Applying,
    /// Applied and read back, not yet proven.
    Applied,
}

/// An order that is being carried out: at most one a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Journal {
    /// Its stream.
    pub stream: Stream,
    /// Digest of its payload.
    pub order: Digest,
    /// Its name.
    pub order_id: OrderId,
    /// How far it has come.
    pub stage: Stage,
    /// Whether it opens.
    pub releasing: bool,
    /// Remarks that each receipt repeats.
    pub remarks: Vec<String>,
}

/// An order that was accepted, and its last receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remembered {
    /// Digest of its payload.
    pub order: Digest,
    /// The last receipt for it.
    pub receipt: Document,
}

/// When the kernel lifts a containment by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollback {
    /// The boot in which `deadline_ms` counts.
    pub boot_id: String,
    /// CLOCK_BOOTTIME in milliseconds.
    pub deadline_ms: u64,
    /// Seconds that each contact with management adds.
    pub seconds: u32,
}

/// The durable state of a host, version 1 of its form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostState {
    /// The version of this form.
    pub form: u32,
    /// The newest trust root accepted.
    pub root_version: u64,
    /// Sorted by stream; a stream without an order is absent.
    pub streams: Vec<StreamState>,
    /// The policy in force, or being brought into force.
    pub policy: Policy,
    /// The block list in force, or being brought into force.
    pub blocked: BlockList,
    /// The order that asked for `policy`.
    pub net_order: Option<OrderId>,
    /// What is being carried out; at most one entry a stream.
    pub journal: Vec<Journal>,
    /// Set while the kernel holds a rollback timer.
    pub rollback: Option<Rollback>,
    /// Orders accepted lately, oldest first.
    pub remembered: Vec<Remembered>,
    /// The last number of the chain.
    pub seq: u64,
    /// Digest of the chain's last document.
    pub chain_head: Option<Digest>,
    /// Documents that no controller has confirmed to have stored, oldest first.
    pub outbox: Vec<Document>,
    /// The wall clock is never believed to be earlier than this.
    pub time_floor_ms: UnixMillis,
    /// Alarms that still hold.
    pub alarms: Vec<Alarm>,
}

impl HostState {
    /// The state of a host that never received an order.
    pub const fn fresh() -> Self {
        Self {
            form: 1,
            root_version: 0,
            streams: Vec::new(),
            policy: Policy::open(),
            blocked: BlockList { networks: Vec::new() },
            net_order: None,
            journal: Vec::new(),
            rollback: None,
            remembered: Vec::new(),
            seq: 0,
            chain_head: None,
            outbox: Vec::new(),
            time_floor_ms: UnixMillis(0),
            alarms: Vec::new(),
        }
    }

    /// Reads a state written by [`Self::to_bytes`].
    ///
    /// # Errors
    /// [`StrictError`]; the caller must then treat the host as contained (invariant 9).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StrictError> {
        let state: Self = strict::from_slice(bytes, MAX_ENVELOPE)?;
        if state.form != 1 {
            return Err(StrictError::Json(format!("state form {} is unknown to this version", state.form)));
        }
        let policy = state.policy.validate().and_then(|()| state.blocked.validate());
        policy.map_err(|e| StrictError::Json(e.to_string()))?;
        match state.contradiction() {
            Some(what) => Err(StrictError::Json(format!("the state contradicts itself: {what}"))),
            None => Ok(state),
        }
    }

    /// What cannot be true together. A contradiction never means open (invariant 9).
    fn contradiction(&self) -> Option<&'static str> {
        let lasts = |r: &Rollback| self.policy.on_lost_management != OnLostManagement::ReopenAfter(r.seconds);
        if self.rollback.as_ref().is_some_and(lasts) {
            return Some("a rollback without a policy that reopens");
        }
        let numbers = self.outbox.iter().map(|d| d.seq);
        if self.seq > MAX_SEQ || !numbers.is_sorted_by(|a, b| a.is_some() && a < b) {
            return Some("the numbers of its documents");
        }
        let astray = |last: &Document| match last.seq.cmp(&Some(self.seq)) {
            Ordering::Less => false,
            Ordering::Equal => Some(last.digest()) != self.chain_head,
            Ordering::Greater => true,
        };
        if self.outbox.last().is_some_and(astray) {
            return Some("the outbox does not end at the head of the chain");
        }
        None
    }

    /// The state as bytes.
    ///
    /// # Errors
    /// Never in practice, see [`strict::to_vec`].
    pub fn to_bytes(&self) -> Result<Vec<u8>, StrictError> {
        strict::to_vec(self)
    }

    /// Where a stream stands.
    pub fn head(&self, stream: Stream) -> Head {
        self.stream(stream).map_or(Head::start(stream), |s| s.head)
    }

    /// The newest order of a stream.
    pub fn stream(&self, stream: Stream) -> Option<&StreamState> {
        self.streams.iter().find(|s| s.head.stream == stream)
    }

    pub(crate) fn set_stream(&mut self, new: StreamState) {
        self.streams.retain(|s| s.head.stream != new.head.stream);
        self.streams.push(new);
        self.streams.sort_by_key(|s| s.head.stream);
    }

    pub(crate) fn raise_alarm(&mut self, kind: &str, detail: &str, at_ms: UnixMillis) {
        let detail = super::line(detail);
        self.alarms.retain(|a| a.kind != kind || a.detail != detail);
        let of_kind = self.alarms.iter().filter(|a| a.kind == kind).count();
        let surplus = if of_kind >= MAX_ALARMS.1 {
            self.alarms.iter().position(|a| a.kind == kind)
        } else {
            (self.alarms.len() >= MAX_ALARMS.0).then_some(0)
        };
        if let Some(oldest) = surplus {
            self.alarms.remove(oldest);
        }
        self.alarms.push(Alarm { kind: kind.to_owned(), detail, at_ms });
    }

    /// Whether only receipts of accepted orders may still be written.
    pub(crate) fn outbox_full(&self) -> bool {
        self.outbox_beyond(MAX_OUTBOX)
    }

    /// Whether not even those may.
    pub(crate) fn outbox_jammed(&self) -> bool {
        let (documents, bytes) = MAX_OUTBOX;
        self.outbox_beyond((documents + MAX_OUTBOX_RECEIPTS.0, bytes + MAX_OUTBOX_RECEIPTS.1))
    }

    fn outbox_beyond(&self, (documents, bytes): (usize, usize)) -> bool {
        let held: usize = self.outbox.iter().map(|d| d.payload.len()).sum();
        self.outbox.len() >= documents || held >= bytes
    }
}

/// What was found on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// Nothing: this host was never contained.
    Absent,
    /// A state.
    State(Box<HostState>),
    /// Something that cannot be read: this host counts as contained.
    Unreadable(String),
}
