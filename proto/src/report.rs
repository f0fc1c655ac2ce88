//! What hosts sign: receipts, reports, heartbeats and enrolment requests. Version 1 of their forms.
//!
//! Receipts and reports form one chain a host (`seq`, `prev`): a missing one shows. Heartbeats stand
//! outside the chain, repeat its head, and only the latest is kept (3.0.13).

use serde::{Deserialize, Serialize};

use crate::id::{Challenge, Digest, HostId, Nonce, OrderId, UnixMillis};
use crate::key::PublicKey;
use crate::order::{Head, Stream};
use crate::policy::{BlockList, Policy};

/// What a host's clocks said. Order of events comes from the chain, not from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clocks {
    /// The wall clock; an intruder can set it.
    pub wall_ms: UnixMillis,
    /// CLOCK_BOOTTIME in milliseconds; not settable.
    pub boottime_ms: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}

/// The state of a host's external links as measured by its agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Links {
    /// No containment is in force.
    Open,
    /// A containment is in force but not yet verified.
    Cutting,
    /// A containment is in force and verified.
    Cut,
    /// A release is being carried out.
    Releasing,
    /// The containment ordered is not the one found, or could not be applied.
    Failed,
}

impl Links {
    /// The value as it stands in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Cutting => "cutting",
            Self::Cut => "cut",
            Self::Releasing => "releasing",
            Self::Failed => "failed",
        }
    }
}

/// How far a host's kernel and rights let a containment hold (04, trap 33); measured, never read off a
/// version number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Level {
    /// Nothing works.
    #[default]
    L0,
    /// Rules on IP traffic.
    L1,
    /// Also on raw frames and bridged guests.
    L2,
    /// Also tables that only their owner can remove.
    L3,
    /// Also destruction of established sessions.
    L4,
}

/// What came of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Check {
    /// Not tried.
    NotDone {},
    /// Held, with what was seen.
    Passed {
        /// What was seen.
        detail: String,
        /// When.
        at_ms: UnixMillis,
    },
    /// Did not hold.
    Failed {
        /// What was seen.
        detail: String,
        /// When.
        at_ms: UnixMillis,
    },
    /// Cannot be tried on this host, and why.
    NotPossible {
        /// Why.
        detail: String,
    },
}

impl Check {
    /// Whether it held.
    pub const fn passed(&self) -> bool {
        matches!(self, Self::Passed { .. })
    }
    /// Whether it was tried and did not hold.
    pub const fn failed(&self) -> bool {
        matches!(self, Self::Failed { .. })
    }
}

/// The four proofs of section 4.5.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proofs {
    /// (a) The rules read back equal the rules meant.
    pub read_back: Check,
    /// (b) Forbidden probes from the host fail, and the canary counters moved.
    pub probes: Check,
    /// (c) A probe from another machine fails. Filled in by who tried it, never by the host.
    pub outside: Check,
    /// (d) A new management connection works.
    pub management: Check,
}

impl Proofs {
    /// Nothing was tried.
    pub const fn none() -> Self {
        Self {
            read_back: Check::NotDone {},
            probes: Check::NotDone {},
            outside: Check::NotDone {},
            management: Check::NotDone {},
        }
    }

    /// Whether what the host itself can prove is proven: read-back and management hold, no probe got
    /// through. A host without a route to probe by may not be able to try (b); it says so.
    pub const fn verified(&self) -> bool {
        self.read_back.passed()
            && self.management.passed()
            && (self.probes.passed() || matches!(self.probes, Check::NotPossible { .. }))
    }
}

/// What came of an order on this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// Admitted and written to disk; nothing is done yet.
    Acknowledged {},
    /// Carried out, and the read-back agrees.
    Applied {},
    /// Also proven (section 4.5 a, b, d).
    Verified {},
    /// Carried out in part or not at all.
    Failed {
        /// What failed.
        detail: String,
    },
    /// Not admitted.
    Refused {
        /// A stable code, see [`crate::host::Refusal::code`].
        code: String,
        /// Why, in words.
        detail: String,
    },
}

/// A host's answer to an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptV1 {
    /// The deployment.
    pub deployment_id: Digest,
    /// The host.
    pub host_id: HostId,
    /// Place in the host's chain, from 1.
    pub seq: u64,
    /// Digest of the document before it in the chain; absent for the first.
    pub prev: Option<Digest>,
    /// The host's clocks.
    pub clocks: Clocks,
    /// Digest of the order's payload.
    pub order: Digest,
    /// The order's name; absent when the payload was never parsed (bad signatures).
    pub order_id: Option<OrderId>,
    /// What came of it.
    pub outcome: Outcome,
    /// Remarks that are not refusals: expired by the local clock, streams with a gap.
    pub remarks: Vec<String>,
    /// The trust root in force.
    pub root_version: u64,
    /// The challenge that the next relaxing order must repeat.
    pub challenge: Option<Challenge>,
}

/// Something that an operator must see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alarm {
    /// A stable name: `rules_removed`, `link_moved`, `state_unreadable`, …
    pub kind: String,
    /// What was seen; text from the host, to be shown as such.
    pub detail: String,
    /// When.
    pub at_ms: UnixMillis,
}

/// A host's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReportV1 {
    /// The deployment.
    pub deployment_id: Digest,
    /// The host.
    pub host_id: HostId,
    /// Place in the host's chain, from 1.
    pub seq: u64,
    /// Digest of the document before it in the chain; absent for the first.
    pub prev: Option<Digest>,
    /// The host's clocks.
    pub clocks: Clocks,
    /// The agent's version.
    pub agent_version: String,
    /// What its kernel supports.
    pub level: Level,
    /// Why it is not higher.
    pub level_detail: Vec<String>,
    /// The trust root in force.
    pub root_version: u64,
    /// Its digest, so that a withheld root shows.
    pub root_digest: Digest,
    /// The newest order of each stream; sorted by stream.
    pub heads: Vec<Head>,
    /// The order that brought about the policy in force.
    pub order_id: Option<OrderId>,
    /// The state of the links, measured.
    pub links: Links,
    /// The policy in force.
    pub policy: Policy,
    /// The block list in force.
    pub blocked: BlockList,
    /// Digest of the rules meant; absent when there are none.
    pub rules_meant: Option<Digest>,
    /// Digest of the rules read back; absent when nothing could be read.
    pub rules_observed: Option<Digest>,
    /// Where they differ, in words.
    pub drift: Vec<String>,
    /// The proofs.
    pub proofs: Proofs,
    /// Sessions cut by the containment: sockets destroyed, conntrack entries flushed.
    pub sessions_cut: u64,
    /// Alarms that still hold.
    pub alarms: Vec<Alarm>,
    /// The challenge that the next relaxing order must repeat.
    pub challenge: Option<Challenge>,
}

/// A host's sign of life. Only the latest is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeartbeatV1 {
    /// The deployment.
    pub deployment_id: Digest,
    /// The host.
    pub host_id: HostId,
    /// The last number of the host's chain.
    pub seq: u64,
    /// Digest of the chain's last document; absent before the first.
    pub head: Option<Digest>,
    /// The host's clocks; `boottime_ms` grows with every heartbeat of one boot.
    pub clocks: Clocks,
    /// The state of the links.
    pub links: Links,
    /// Whether the rules in the kernel still equal the rules meant, as of this heartbeat.
    pub rules_hold: bool,
    /// The nonce that the controller gave for this connection: proves that this is not an old heartbeat.
    pub echo: Option<Nonce>,
}

/// A server's request to enter the inventory, signed by the key that it asks to enter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolV1 {
    /// The deployment that it trusts.
    pub deployment_id: Digest,
    /// The name that it asks for.
    pub host_id: HostId,
    /// Its key.
    pub host_key: PublicKey,
    /// The controller key that it sees; the operator compares it with the root.
    pub controller_spki_sha256: Digest,
    /// HMAC-SHA-256 under the join secret, see [`crate::enrol`]. The controller cannot make it.
    pub mac: Digest,
    /// When.
    pub at_ms: UnixMillis,
}

impl Head {
    /// The number to compare: epoch first.
    pub const fn order(&self) -> (u64, u64) {
        (self.gen_epoch, self.generation)
    }
    /// Where a stream stands before its first order.
    pub const fn start(stream: Stream) -> Self {
        Self { stream, gen_epoch: 0, generation: 0 }
    }
}
