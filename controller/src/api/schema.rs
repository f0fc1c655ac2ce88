//! The forms of the API's answers, for its description only.
//!
//! The types themselves live in the core, which knows nothing of descriptions. A test compares each form
//! here with what is really written.
#![expect(dead_code, reason = "these types are read by the description's derive and by nothing else")]

use utoipa::ToSchema;

/// A signed document: a type, the exact bytes that were signed, and SSH signatures over them.
#[derive(ToSchema)]
pub(super) struct Envelope {
    /// The namespace of the signatures: `digue-protect.v1`, `digue-receipt.v1`, …
    payload_type: String,
    /// The exact bytes that were signed, in base64.
    payload: String,
    /// Armoured SSHSIG signatures.
    signatures: Vec<String>,
}

/// The verdict on a host after all lapse rules. `no_finding` is a machine's result and is not clean.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Verdict {
    Unassessed,
    NoFinding,
    Suspect,
    Compromised,
    Clean,
}

/// The links of a host as measured.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Links {
    Open,
    Cutting,
    Cut,
    Releasing,
    Failed,
}

/// How far the host's kernel lets a containment hold.
#[derive(ToSchema)]
pub(super) enum Level {
    L0,
    L1,
    L2,
    L3,
    L4,
}

/// How strong a clean statement is.
#[derive(ToSchema)]
pub(super) enum Assurance {
    L1,
    L2,
    L3,
}

/// A sequence of orders of which only the newest matters.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Stream {
    Net,
    Block,
    Query,
}

/// A label of a host.
#[derive(ToSchema)]
pub(super) struct Label {
    key: String,
    value: String,
}

/// The newest accepted order of a stream.
#[derive(ToSchema)]
pub(super) struct Head {
    stream: Stream,
    gen_epoch: u64,
    generation: u64,
}

/// One server of the signed inventory, as measured.
#[derive(ToSchema)]
pub(super) struct HostView {
    /// Its name.
    name: String,
    /// Whether an agent's key stands in the inventory.
    enrolled: bool,
    /// The key's SHA-256 fingerprint.
    #[schema(required)]
    host_key: Option<String>,
    /// Raised when the server is rebuilt.
    incarnation: u64,
    labels: Vec<Label>,
    verdict: Verdict,
    /// Why the verdict is not what was last stated.
    #[schema(required)]
    lapsed: Option<String>,
    /// Who stated it.
    verdict_by: Vec<String>,
    #[schema(required)]
    assurance: Option<Assurance>,
    /// As last measured; null if nothing was ever measured. Never what was ordered.
    #[schema(required)]
    links: Option<Links>,
    /// Whether a signed sign of life is younger than 90 seconds.
    fresh: bool,
    /// Not (clean) and not (cut, verified), both fresh.
    exposed: bool,
    #[schema(required)]
    level: Option<Level>,
    /// The proofs of the last report, each `not_done`, `passed`, `failed` or `not_possible`.
    #[schema(required, value_type = Option<Object>)]
    proofs: Option<()>,
    /// Where the rules found differ from the rules meant.
    drift: Vec<String>,
    /// Alarms, as the host or the controller words them.
    alarms: Vec<String>,
    /// By the controller's clock, in milliseconds since 1970.
    #[schema(required)]
    last_contact_ms: Option<u64>,
    /// By the host's clock, in milliseconds since 1970.
    #[schema(required)]
    reported_at_ms: Option<u64>,
    #[schema(required)]
    boot_id: Option<String>,
    #[schema(required)]
    clock_offset_ms: Option<i64>,
    #[schema(required)]
    root_version: Option<u64>,
    /// The order that brought about the policy in force.
    #[schema(required)]
    order_id: Option<String>,
    /// Orders sent or waiting that the host has not confirmed.
    unconfirmed: Vec<String>,
    heads: Vec<Head>,
    /// The host's unspent challenge.
    #[schema(required)]
    challenge: Option<String>,
    /// Holes in the host's chain of documents, as `first-last`.
    chain_gaps: Vec<String>,
    /// The newest valid clean statement.
    #[schema(required)]
    clean_statement: Option<String>,
}

/// The counts over the whole inventory.
#[derive(ToSchema)]
pub(super) struct Summary {
    expected: u64,
    enrolled: u64,
    clean: u64,
    no_finding: u64,
    suspect: u64,
    compromised: u64,
    unassessed: u64,
    exposed: u64,
    cut: u64,
    failed: u64,
    stale: u64,
    never_enrolled: u64,
}

/// The fleet at one time.
#[derive(ToSchema)]
pub(super) struct FleetView {
    #[schema(rename = "apiVersion")]
    api_version: String,
    computed_at_ms: u64,
    inventory_version: u64,
    summary: Summary,
    hosts: Vec<HostView>,
}

#[derive(ToSchema)]
pub(super) struct HostAnswer {
    #[schema(rename = "apiVersion")]
    api_version: String,
    host: HostView,
    /// The last report, parsed; it proves nothing, the envelope does.
    #[schema(required, value_type = Option<Object>)]
    report: Option<()>,
    #[schema(required)]
    report_envelope: Option<Envelope>,
}

/// What a host's row rests on.
#[derive(ToSchema)]
pub(super) struct Proof {
    host: String,
    /// The last report.
    #[schema(required)]
    report: Option<Envelope>,
    /// The last heartbeat, if it is newer than the report.
    #[schema(required)]
    heartbeat: Option<Envelope>,
}

#[derive(ToSchema)]
pub(super) struct ProofsAnswer {
    #[schema(rename = "apiVersion")]
    api_version: String,
    proofs: Vec<Proof>,
    /// Where the next page starts (`after`); null at the end.
    #[schema(required)]
    next: Option<String>,
}

/// How far an order has come on one host.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Phase {
    Waiting,
    Sent,
    Acknowledged,
    Applied,
    Verified,
    Failed,
    Refused,
    Superseded,
}

#[derive(ToSchema)]
pub(super) struct OrderHostView {
    host: String,
    phase: Phase,
    #[schema(required)]
    code: Option<String>,
    #[schema(required)]
    detail: Option<String>,
    remarks: Vec<String>,
    #[schema(required)]
    at_ms: Option<u64>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum OrderState {
    AwaitingSignatures,
    Sealed,
    Cancelled,
}

/// An order and its progress.
#[derive(ToSchema)]
pub(super) struct OrderView {
    order_id: String,
    digest: String,
    state: OrderState,
    payload_type: String,
    stream: Stream,
    generation: u64,
    action: String,
    incident: String,
    reason: String,
    issued_at_ms: u64,
    not_after_ms: u64,
    signers: Vec<String>,
    needed: u64,
    hosts: Vec<OrderHostView>,
}

/// An order, its frozen targets and the clean statements that they rely on.
#[derive(ToSchema)]
pub(super) struct OrderBundle {
    order: Envelope,
    /// The leaves' bytes in base64, in the order of the tree; empty for an order to all.
    leaves: Vec<String>,
    statements: Vec<Envelope>,
}

#[derive(ToSchema)]
pub(super) struct OrdersAnswer {
    #[schema(rename = "apiVersion")]
    api_version: String,
    orders: Vec<OrderView>,
}

#[derive(ToSchema)]
pub(super) struct OrderAnswer {
    #[schema(rename = "apiVersion")]
    api_version: String,
    order: OrderView,
    bundle: OrderBundle,
}

#[derive(ToSchema)]
pub(super) struct RootsAnswer {
    #[schema(rename = "apiVersion")]
    api_version: String,
    roots: Vec<Envelope>,
}

#[derive(ToSchema)]
pub(super) struct InventoryAnswer {
    #[schema(rename = "apiVersion")]
    api_version: String,
    #[schema(required)]
    inventory: Option<Envelope>,
}

/// A root or inventory that is in force.
#[derive(ToSchema)]
pub(super) struct AcceptedAnswer {
    #[schema(rename = "apiVersion")]
    api_version: String,
    version: u64,
    digest: String,
}

#[derive(ToSchema)]
pub(super) struct StoredEnvelope {
    /// Its place, from 1.
    seq: u64,
    received_at_ms: u64,
    envelope: Envelope,
    #[schema(required)]
    host_id: Option<String>,
}

#[derive(ToSchema)]
pub(super) struct EnvelopesAnswer {
    #[schema(rename = "apiVersion")]
    api_version: String,
    envelopes: Vec<StoredEnvelope>,
    /// What to pass as `after` for the next page; null if this is the last.
    #[schema(required)]
    next: Option<u64>,
}

#[derive(ToSchema)]
pub(super) struct StatementsAnswer {
    #[schema(rename = "apiVersion")]
    api_version: String,
    statements: Vec<Envelope>,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum StatementState {
    AwaitingSignatures,
    Accepted,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(super) enum Stated {
    Clean,
    Suspect,
    Compromised,
}

/// A statement and its signatures so far.
#[derive(ToSchema)]
pub(super) struct StatementProgress {
    digest: String,
    host_id: String,
    verdict: Stated,
    state: StatementState,
    signers: Vec<String>,
    needed: u64,
    /// Only in the list of approvals.
    envelope: Option<Envelope>,
}

#[derive(ToSchema)]
pub(super) struct ApprovalsAnswer {
    #[schema(rename = "apiVersion")]
    api_version: String,
    orders: Vec<OrderView>,
    statements: Vec<StatementProgress>,
}

#[derive(ToSchema)]
pub(super) struct Enrolment {
    envelope: Envelope,
    host_id: String,
    host_key: String,
    fingerprint: String,
    received_at_ms: u64,
    peer: String,
}

#[derive(ToSchema)]
pub(super) struct EnrolmentsAnswer {
    #[schema(rename = "apiVersion")]
    api_version: String,
    enrolments: Vec<Enrolment>,
}
