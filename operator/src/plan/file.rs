//! The plan file: the exact bytes that will be signed, whom they are for, and what was observed.

use std::path::Path;

use digue_proto::bundle::{LeafBytes, OrderBundle};
use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::fleet::view::API_VERSION;
use digue_proto::id::{Digest, HostId, UnixMillis};
use digue_proto::order::{LeafV1, OrderV1};
use digue_proto::strict;
use digue_proto::trust::Class;
use serde::{Deserialize, Serialize};

use super::Request;
use crate::files;
use crate::message::msg;
use crate::problem::{OrProblem as _, Outcome, Problem};

/// Largest plan file, in bytes.
const MAX_PLAN: usize = 64 * 1024 * 1024;

/// Why a chosen host gets no order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Why {
    /// It has no agent.
    NeverEnrolled,
    /// It is not confirmed clean.
    NotClean,
    /// It is confirmed clean, but the statement does not verify here.
    Statement(String),
    /// It never told a challenge.
    NoChallenge,
    /// The order would open something.
    WouldRelax(String),
    /// It is not contained.
    NotContained,
    /// It is contained already, and the order would reopen by itself.
    DrillOnContained,
}

/// A chosen host without an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LeftOut {
    /// The host.
    pub(crate) host: HostId,
    /// Why.
    pub(crate) why: Why,
}

/// What a target looked like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Observed {
    /// The host.
    pub(crate) host: HostId,
    /// Digest of what the plan relies on.
    pub(crate) state: Digest,
}

/// The order of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Frozen {
    /// Its bytes, without signatures.
    pub(crate) order: Envelope,
    /// The leaves, in the order of the tree.
    pub(crate) leaves: Vec<LeafBytes>,
    /// The clean statements that the leaves rely on.
    pub(crate) statements: Vec<Envelope>,
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// [`API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub(crate) api_version: String,
    /// `plan`.
    pub(crate) kind: String,
    /// When it was computed.
    pub(crate) created_at_ms: UnixMillis,
    /// The signed inventory that it is based on.
    pub(crate) inventory_version: u64,
    /// What was asked for.
    pub(crate) request: Request,
    /// The order; absent if there is nothing to do.
    pub(crate) frozen: Option<Frozen>,
    /// What the targets looked like; sorted by host.
    pub(crate) observed: Vec<Observed>,
    /// Targets without contact: the order waits for them.
    pub(crate) stale: Vec<HostId>,
    /// Chosen hosts that are in the wanted state already.
    pub(crate) unchanged: Vec<HostId>,
    /// Chosen hosts that get no order.
    pub(crate) left_out: Vec<LeftOut>,
}

/// The kind of file.
pub(crate) const KIND: &str = "plan";

/// The order of a plan or bundle, parsed from the bytes that are signed and checked against its leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    /// The order.
    pub(crate) order: OrderV1,
    /// Its targets.
    pub(crate) leaves: Vec<LeafV1>,
    /// The class that its payload type stands for.
    pub(crate) class: Class,
    /// SHA-256 of its bytes.
    pub(crate) digest: Digest,
    /// Its payload type.
    pub(crate) payload_type: PayloadType,
}

/// Parses a bundle for showing it before it is signed.
///
/// Fails if the bytes are no order, the leaves are not those that the bytes bind, a statement is missing,
/// or the signatures would be made for another class than the action needs.
pub(crate) fn read_bundle(bundle: &OrderBundle) -> Outcome<Read> {
    let inconsistent = || Problem::new("E0661", msg!("order-inconsistent"));
    let order = bundle.read_unverified().or_problem(inconsistent)?;
    let leaves = bundle.targets(&order).or_problem(inconsistent)?;
    bundle.deliveries(&order).or_problem(inconsistent)?;
    let payload_type = bundle.order.payload_type;
    let needed = order.action.class();
    match Class::of(payload_type) {
        Some(class) if class == needed => {
            Ok(Read { order, leaves, class, digest: bundle.order.digest(), payload_type })
        }
        Some(_) | None => Err(inconsistent().because(format!("{payload_type} is not the class {needed:?}"))),
    }
}

impl Frozen {
    /// The order as it is handed to the controller.
    pub(crate) fn bundle(&self) -> OrderBundle {
        OrderBundle {
            order: self.order.clone(),
            leaves: self.leaves.clone(),
            statements: self.statements.clone(),
        }
    }
}

impl Plan {
    /// Reads a plan file and checks that it is consistent in itself.
    pub(crate) fn read(path: &Path) -> Outcome<(Self, Option<Read>)> {
        let bad = || Problem::new("E0650", msg!("plan-bad", path = path.display().to_string()));
        let bytes = files::read(path)?;
        let plan: Self = strict::from_slice(&bytes, MAX_PLAN).or_problem(bad)?;
        if plan.api_version != API_VERSION || plan.kind != KIND {
            return Err(bad().because(format!("apiVersion {:?}, kind {:?}", plan.api_version, plan.kind)));
        }
        let Some(frozen) = &plan.frozen else { return Ok((plan, None)) };
        if !frozen.order.signatures.is_empty() {
            return Err(bad().because("it holds signatures"));
        }
        let read = read_bundle(&frozen.bundle())
            .map_err(|problem| bad().because(problem.cause.unwrap_or_default()))?;
        let same = read.leaves.iter().map(|l| &l.host_id).eq(plan.observed.iter().map(|o| &o.host));
        if !same {
            return Err(bad().because("the observed hosts are not the targets"));
        }
        Ok((plan, Some(read)))
    }

    /// The file's bytes: indented, so that a person or `jq` can read them.
    pub(crate) fn to_bytes(&self) -> Outcome<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self).or_problem(|| Problem::of("E0605"))?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}
