//! What the API, the command line and the console show. One function computes it; they only print it.
//!
//! Unsigned and versioned by `apiVersion`; only additions are allowed.

use serde::{Deserialize, Serialize};

use crate::id::{Challenge, Digest, HostId, OrderId, PersonId, UnixMillis};
use crate::key::Fingerprint;
use crate::order::{Head, Stream};
use crate::report::{Level, Links, Proofs};
use crate::statement::Assurance;
use crate::trust::Label;

/// The value of `apiVersion` in every answer.
pub const API_VERSION: &str = "digue/v1";

/// The verdict on a host. `NoFinding` is a machine's result and is not clean.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nobody and nothing has examined it, or what was known has lapsed.
    Unassessed,
    /// Examined by machine, nothing found.
    NoFinding,
    /// Stated suspect.
    Suspect,
    /// Stated compromised.
    Compromised,
    /// Stated clean by the people whom the trust root asks for, and still valid.
    Clean,
}

/// One server of the signed inventory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostView {
    /// Its name.
    pub name: HostId,
    /// Whether an agent's key stands in the inventory.
    pub enrolled: bool,
    /// The agent's key.
    pub host_key: Option<Fingerprint>,
    /// Its incarnation.
    pub incarnation: u64,
    /// Its labels.
    pub labels: Vec<Label>,
    /// The verdict, after all lapse rules.
    pub verdict: Verdict,
    /// Why the verdict is not what was last stated; absent if it is.
    pub lapsed: Option<String>,
    /// Who stated it.
    pub verdict_by: Vec<PersonId>,
    /// How strong a clean statement is.
    pub assurance: Option<Assurance>,
    /// The links as last measured; absent if nothing was ever measured. Never what was ordered.
    pub links: Option<Links>,
    /// Whether a signed sign of life is younger than `STALE_SECONDS`.
    pub fresh: bool,
    /// Not (clean) and not (cut, verified), both fresh.
    pub exposed: bool,
    /// The level of containment that its kernel supports; absent before the first report.
    pub level: Option<Level>,
    /// Which proofs hold.
    pub proofs: Option<Proofs>,
    /// Where the rules found differ from the rules meant.
    pub drift: Vec<String>,
    /// Alarms, as the host words them.
    pub alarms: Vec<String>,
    /// When the last signed document or heartbeat arrived, by the controller's clock.
    pub last_contact_ms: Option<UnixMillis>,
    /// When the last report was made, by the host's clock.
    pub reported_at_ms: Option<UnixMillis>,
    /// The host's boot.
    pub boot_id: Option<String>,
    /// The host's wall clock minus the controller's, in milliseconds, at the last document.
    pub clock_offset_ms: Option<i64>,
    /// The trust root that the host holds.
    pub root_version: Option<u64>,
    /// The order that brought about the policy in force.
    pub order_id: Option<OrderId>,
    /// Orders sent or waiting that the host has not confirmed.
    pub unconfirmed: Vec<OrderId>,
    /// The newest accepted order of each stream.
    pub heads: Vec<Head>,
    /// The host's unspent challenge: a release must repeat it.
    pub challenge: Option<Challenge>,
    /// Holes in the host's chain of documents, as `first-last`.
    pub chain_gaps: Vec<String>,
    /// The newest valid clean statement, which a release attaches.
    pub clean_statement: Option<Digest>,
}

/// The counts. Computed in one place so that no two screens disagree.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Summary {
    /// Hosts of the signed inventory: the denominator.
    pub expected: u64,
    /// With a key in the inventory.
    pub enrolled: u64,
    /// Confirmed clean and fresh.
    pub clean: u64,
    /// Examined by machine, nothing found.
    pub no_finding: u64,
    /// Suspect.
    pub suspect: u64,
    /// Compromised.
    pub compromised: u64,
    /// Not assessed, or lapsed.
    pub unassessed: u64,
    /// Exposed.
    pub exposed: u64,
    /// Cut, verified and fresh.
    pub cut: u64,
    /// Cut failed or drifted.
    pub failed: u64,
    /// Enrolled but without contact.
    pub stale: u64,
    /// In the inventory without a key.
    pub never_enrolled: u64,
}

/// The whole fleet at one time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetView {
    /// [`API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// When it was computed, by the controller's clock.
    pub computed_at_ms: UnixMillis,
    /// The signed inventory that it counts.
    pub inventory_version: u64,
    /// The counts.
    pub summary: Summary,
    /// Every host, sorted by name.
    pub hosts: Vec<HostView>,
}

/// How far an order has come on one host. Each step is a fact of its own, signed by the host from
/// `acknowledged` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// In the outbox; nothing is known of the host.
    Waiting,
    /// Written to a connection; proves nothing.
    Sent,
    /// Receipt: on the host's disk.
    Acknowledged,
    /// Receipt: carried out and read back.
    Applied,
    /// Receipt: proven.
    Verified,
    /// Receipt: not carried out.
    Failed,
    /// Receipt: not admitted.
    Refused,
    /// A newer order of the stream was accepted by the host.
    Superseded,
}

/// One host's progress on one order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderHostView {
    /// The host.
    pub host: HostId,
    /// The phase.
    pub phase: Phase,
    /// A stable code, if refused.
    pub code: Option<String>,
    /// Why, if refused or failed.
    pub detail: Option<String>,
    /// Remarks from the receipt.
    pub remarks: Vec<String>,
    /// When the phase was reached, by the controller's clock.
    pub at_ms: Option<UnixMillis>,
}

/// Where an order as a whole stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// Fewer signatures than its class needs.
    AwaitingSignatures,
    /// Signed; on its way.
    Sealed,
    /// Withdrawn before it was signed.
    Cancelled,
}

/// One order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderView {
    /// Its name.
    pub order_id: OrderId,
    /// Digest of its payload.
    pub digest: Digest,
    /// Its state.
    pub state: OrderState,
    /// The SSHSIG namespace of its signatures.
    pub payload_type: crate::envelope::PayloadType,
    /// Its stream.
    pub stream: Stream,
    /// Its number.
    pub generation: u64,
    /// In words: cut, isolate, dark, adjust, release, block, unblock, report.
    pub action: String,
    /// Its incident.
    pub incident: String,
    /// Its reason.
    pub reason: String,
    /// When it was made.
    pub issued_at_ms: UnixMillis,
    /// When it expires.
    pub not_after_ms: UnixMillis,
    /// Whose signatures count so far.
    pub signers: Vec<PersonId>,
    /// How many distinct persons are needed.
    pub needed: u64,
    /// Progress on each host; until it is sealed, only hosts that somebody sent it to all the same.
    pub hosts: Vec<OrderHostView>,
}
