//! What goes into the host core and what comes out of it.

use crate::envelope::{Envelope, PayloadType};
use crate::frame::Delivery;
use crate::host::state::HostState;
use crate::id::{Digest, Nonce, UnixMillis};
use crate::policy::{BlockList, Policy};
use crate::report::{Check, Clocks};

/// The time and the entropy of one call: the core has neither clock nor randomness of its own.
#[derive(Debug, Clone)]
pub struct Now {
    /// The host's clocks.
    pub clocks: Clocks,
    /// Sixteen bytes that nobody can guess and that no earlier call had.
    pub entropy: [u8; 16],
}

/// Something that happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// An order arrived, by net or by courier: the core does not care which.
    Deliver(Box<Delivery>),
    /// Trust roots arrived.
    Roots(Vec<Envelope>),
    /// [`Effect::Apply`] was carried out.
    Applied(Box<Applied>),
    /// [`Effect::Prove`] was carried out.
    Proved(Box<Proved>),
    /// [`Effect::ReadBack`] was carried out.
    ReadBack(Observed),
    /// The kernel says that someone else changed firewall rules.
    RulesChanged {
        /// Process id and name, as the kernel gave them.
        by: String,
    },
    /// A network card appeared, vanished, was renamed or moved.
    CardsChanged {
        /// What the kernel said.
        detail: String,
    },
    /// Something was found by which this host's traffic can get around the rules.
    WayAround {
        /// What, and where.
        detail: String,
    },
    /// A controller answered: its nonce for heartbeats.
    Connected(Nonce),
    /// The connection ended.
    Disconnected,
    /// The controller has this document on disk.
    Stored(Digest),
    /// It is time for a heartbeat; carries a read-back of just now.
    HeartbeatDue(Observed),
    /// A few seconds went by.
    Tick,
}

/// What an executor must do, in the order given, before it handles the next input.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Write the state to disk and sync it. At most one a call, before everything but trust roots. If it
    /// fails, none of the effects after it may be carried out (invariant 7), and none was before it: put
    /// back the `Host` from before the call and give the input again.
    Persist(Box<HostState>),
    /// Write a trust root to disk and sync it; it follows those already there. Comes before everything
    /// else; writing one that is there already is no error. If it fails, the same holds as for
    /// [`Effect::Persist`].
    PersistRoot(Box<Envelope>),
    /// Make the kernel's rules those of this policy, then read them back.
    Apply(Box<Apply>),
    /// Send probes that must fail and open a new management connection, then report.
    Prove(Prove),
    /// Read the rules back and compare them with those meant.
    ReadBack,
    /// Restart the kernel's rollback timer: management was reached.
    RearmRollback {
        /// Seconds until the kernel lifts the containment by itself.
        seconds: u32,
    },
    /// Sign the document with the host key and hand it to the link. Those with a sequence number stay in
    /// the outbox of the state until the controller has stored them.
    Send(Document),
    /// Tell the log. Security decisions only; never needed for correctness.
    Note {
        /// A stable event name.
        event: &'static str,
        /// In words.
        detail: String,
    },
}

/// Puts the effects of one call in the order in which they are safe: what must be on disk, then what the
/// log should know, then the kernel, then what the controller hears. The cut comes before the signing of
/// its acknowledgement, which would delay it.
pub(super) fn in_order(effects: Vec<Effect>, persist: Option<Effect>) -> Vec<Effect> {
    let (mut roots, mut notes, mut sends) = (Vec::new(), Vec::new(), Vec::new());
    let (mut apply, mut read_back, mut rearm, mut prove) = (None, None, None, None);
    for effect in effects {
        match effect {
            Effect::Persist(_) => {}
            Effect::PersistRoot(_) => roots.push(effect),
            Effect::Note { .. } => notes.push(effect),
            // Of several only the last still asks for what is wanted.
            Effect::Apply(_) => apply = Some(effect),
            Effect::ReadBack => read_back = Some(effect),
            Effect::RearmRollback { .. } => rearm = Some(effect),
            Effect::Prove(_) => prove = Some(effect),
            Effect::Send(_) => sends.push(effect),
        }
    }
    // An application starts the kernel's timer itself.
    let rearm = rearm.filter(|_| apply.is_none());
    let kernel = apply.into_iter().chain(read_back).chain(rearm);
    roots.into_iter().chain(persist).chain(notes).chain(kernel).chain(sends).chain(prove).collect()
}

/// A containment to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Apply {
    /// Repeated in the answer, so that an answer to an older request is told from this one's.
    pub request: u64,
    /// The policy; expired exceptions are already left out.
    pub policy: Policy,
    /// The block list.
    pub blocked: BlockList,
    /// End established sessions that the policy does not allow: before opening, and after closing.
    pub end_sessions: bool,
}

/// What [`Effect::Apply`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Of the request.
    pub request: u64,
    /// What was read back, or why nothing could be applied.
    pub result: Result<Observed, String>,
    /// Sockets destroyed.
    pub sessions_cut: u64,
    /// The full rules were refused by the kernel and the minimal profile holds instead; why.
    pub fallback: Option<String>,
}

/// The rules as read back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Observed {
    /// Digest of the rules meant; absent when none are.
    pub meant: Option<Digest>,
    /// Digest of the rules found; absent when nothing could be read.
    pub found: Option<Digest>,
    /// Where they differ, in words; empty when they are equal.
    pub drift: Vec<String>,
}

/// Proofs to gather.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prove {
    /// Repeated in the answer.
    pub request: u64,
    /// Whether probes must fail; an open host has nothing to probe.
    pub contained: bool,
}

/// What [`Effect::Prove`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    /// Of the request.
    pub request: u64,
    /// Proof (b).
    pub probes: Check,
    /// Proof (d).
    pub management: Check,
}

/// A document to sign.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Its place in the host's chain; absent for heartbeats.
    pub seq: Option<u64>,
    /// Its type.
    pub payload_type: PayloadType,
    /// Its exact bytes.
    #[serde(with = "crate::strict::base64_bytes")]
    pub payload: Vec<u8>,
}

impl Document {
    /// SHA-256 of its bytes.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.payload)
    }
}

impl Now {
    /// The wall clock.
    pub const fn wall(&self) -> UnixMillis {
        self.clocks.wall_ms
    }
}
