//! What a host must still know after a crash. Written as a whole, in one synced write, before acting.

use serde::{Deserialize, Serialize};

use crate::host::effect::Document;
use crate::id::{Digest, OrderId, UnixMillis};
use crate::limits::MAX_ENVELOPE;
use crate::order::{Head, Stream};
use crate::policy::{BlockList, Policy};
use crate::report::Alarm;
use crate::strict::{self, StrictError};

/// Orders whose last receipt is kept, so that a repeat gets the same answer (C1).
pub(super) const REMEMBERED_ORDERS: usize = 16;
/// Documents kept for a controller that cannot be reached; refusals stop being written before that.
pub(super) const MAX_OUTBOX: usize = 512;
/// Alarms kept.
pub(super) const MAX_ALARMS: usize = 64;

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
        Ok(state)
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
        let detail: String = detail.chars().take(300).collect();
        self.alarms.retain(|a| a.kind != kind || a.detail != detail);
        if self.alarms.len() >= MAX_ALARMS {
            self.alarms.remove(0);
        }
        self.alarms.push(Alarm { kind: kind.to_owned(), detail, at_ms });
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
