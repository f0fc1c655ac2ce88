//! The answers of `/api/v1` that are not types of the core. Additions are allowed, so unknown members
//! are ignored; whatever matters inside is an envelope that the caller verifies.

use digue_proto::bundle::OrderBundle;
use digue_proto::envelope::Envelope;
use digue_proto::fleet::view::OrderView;
use digue_proto::id::{Digest, HostId, PersonId, UnixMillis};
use digue_proto::key::{Fingerprint, PublicKey};
use serde::{Deserialize, Serialize};

/// `GET /roots`.
#[derive(Debug, Deserialize)]
pub(crate) struct Roots {
    /// The chain, from version 1.
    pub(crate) roots: Vec<Envelope>,
}

/// `GET /inventory`.
#[derive(Debug, Deserialize)]
pub(crate) struct Inventory {
    /// The newest one; absent before the first.
    pub(crate) inventory: Option<Envelope>,
}

/// `GET /hosts/{id}`.
#[derive(Debug, Deserialize)]
pub(crate) struct HostDetail {
    /// Its last report, signed by it.
    pub(crate) report_envelope: Option<Envelope>,
}

/// What a host's row rests on, signed by the host.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Proof {
    /// The host, as the controller says; the documents name it themselves.
    pub(crate) host: HostId,
    /// Its last report.
    pub(crate) report: Option<Envelope>,
    /// Its last heartbeat, if that is newer.
    pub(crate) heartbeat: Option<Envelope>,
}

/// `GET /proofs`.
#[derive(Debug, Deserialize)]
pub(crate) struct Proofs {
    /// A page, sorted by host.
    pub(crate) proofs: Vec<Proof>,
    /// Where the next page starts; absent at the end.
    pub(crate) next: Option<HostId>,
}

/// `GET /orders`.
#[derive(Debug, Deserialize)]
pub(crate) struct Orders {
    /// Every order, newest first or last as the controller likes.
    pub(crate) orders: Vec<OrderView>,
}

/// `GET /orders/{id}`.
#[derive(Debug, Deserialize)]
pub(crate) struct OrderDetail {
    /// Its progress.
    pub(crate) order: OrderView,
    /// Its bytes, leaves and statements.
    pub(crate) bundle: OrderBundle,
}

/// Body of `POST …/signatures`.
#[derive(Debug, Serialize)]
pub(crate) struct NewSignature<'a> {
    /// The armoured signature.
    pub(crate) signature: &'a str,
}

/// `GET /statements`.
#[derive(Debug, Deserialize)]
pub(crate) struct Statements {
    /// Statements, some of them perhaps below their threshold.
    pub(crate) statements: Vec<Envelope>,
}

/// Answer to a posted statement.
#[derive(Debug, Deserialize)]
pub(crate) struct StatementState {
    /// Digest of its payload.
    pub(crate) digest: Digest,
    /// `awaiting_signatures` or `accepted`.
    pub(crate) state: String,
    /// Whose signatures count.
    #[serde(default)]
    pub(crate) signers: Vec<PersonId>,
    /// How many distinct persons are needed.
    #[serde(default)]
    pub(crate) needed: u64,
}

/// A request to enter the inventory.
#[derive(Debug, Deserialize)]
pub(crate) struct Enrolment {
    /// The signed request.
    pub(crate) envelope: Envelope,
    /// The host that it names; not trusted.
    pub(crate) host_id: HostId,
    /// The key that it names; not trusted.
    pub(crate) host_key: PublicKey,
    /// The key's fingerprint, which also names the request.
    pub(crate) fingerprint: Fingerprint,
    /// Address that it came from.
    #[serde(default)]
    pub(crate) peer: String,
}

/// `GET /enrolments`.
#[derive(Debug, Deserialize)]
pub(crate) struct Enrolments {
    /// Requests that wait.
    pub(crate) enrolments: Vec<Enrolment>,
}

/// One entry of the controller's append-only store.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct StoredEnvelope {
    /// Its place, from 1.
    pub(crate) seq: u64,
    /// When it arrived, by the controller's clock.
    pub(crate) received_at_ms: UnixMillis,
    /// The document.
    pub(crate) envelope: Envelope,
    /// The host that signed it; absent for what people signed.
    pub(crate) host_id: Option<HostId>,
}

/// `GET /envelopes`.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelopes {
    /// A page.
    pub(crate) envelopes: Vec<StoredEnvelope>,
    /// Where the next page starts; absent at the end.
    pub(crate) next: Option<u64>,
}

/// A statement that waits for signatures, with its bytes.
#[derive(Debug, Deserialize)]
pub(crate) struct WaitingStatement {
    /// Digest of its payload.
    pub(crate) digest: Digest,
    /// Its bytes and the signatures so far.
    pub(crate) envelope: Envelope,
    /// How many distinct persons are needed.
    pub(crate) needed: u64,
}

/// `GET /approvals`.
#[derive(Debug, Deserialize)]
pub(crate) struct Approvals {
    /// Orders.
    pub(crate) orders: Vec<OrderView>,
    /// Statements.
    pub(crate) statements: Vec<WaitingStatement>,
}
