//! Computing a plan. Nothing here asks the time, the network or a random source.

use std::collections::{BTreeMap, BTreeSet};

use digue_proto::bundle::LeafBytes;
use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::fleet::view::{API_VERSION, HostView, OrderState, OrderView, Verdict};
use digue_proto::id::{Challenge, Digest, HostId, OrderId, UnixMillis};
use digue_proto::merkle;
use digue_proto::order::{Action, Head, LeafV1, OrderV1, Stream, Target};
use digue_proto::policy::BlockList;
use digue_proto::report::{Links, ReportV1};
use digue_proto::strict;
use digue_proto::trust::{Class, InventoryHost};
use digue_proto::trust_chain::Trust;
use ipnet::IpNet;

use super::file::{Frozen, KIND, LeftOut, Observed, Plan, Why};
use super::{Request, What};
use crate::message::msg;
use crate::problem::{OrProblem as _, Outcome, Problem};

/// One chosen host and everything known of it.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Its row of the view.
    pub(crate) row: HostView,
    /// Its entry of the signed inventory.
    pub(crate) listed: InventoryHost,
    /// Its last report, verified; absent if it never reported.
    pub(crate) report: Option<ReportV1>,
    /// For releases: the clean statement, verified, or why there is none.
    pub(crate) statement: Option<Result<Envelope, String>>,
}

/// Everything that a plan is computed from.
pub(crate) struct Input<'a> {
    /// What is asked for.
    pub(crate) request: &'a Request,
    /// The chosen hosts, sorted by name.
    pub(crate) hosts: &'a [Known],
    /// Every order that the controller knows.
    pub(crate) orders: &'a [OrderView],
    /// The heads of every host of the inventory.
    pub(crate) heads: &'a [Head],
    /// The trust root in force.
    pub(crate) trust: &'a Trust,
    /// The version of the signed inventory.
    pub(crate) inventory_version: u64,
    /// The time.
    pub(crate) now: UnixMillis,
    /// The order's name, drawn by the caller.
    pub(crate) order_id: OrderId,
}

/// The payload type of a class of orders.
const fn payload_type(class: Class) -> PayloadType {
    match class {
        Class::Query => PayloadType::Query,
        Class::Protect => PayloadType::Protect,
        Class::Release | Class::Root | Class::Inventory | Class::Clean | Class::Suspect => {
            PayloadType::Release
        }
    }
}

/// The action, with the block list put together from what is blocked now.
fn action(request: &Request, hosts: &[Known]) -> Outcome<Action> {
    let blocked = || -> BTreeSet<IpNet> {
        hosts
            .iter()
            .filter_map(|h| h.report.as_ref())
            .flat_map(|r| r.blocked.networks.iter().copied())
            .collect()
    };
    Ok(match &request.what {
        What::Contain { policy, allow_self_cut } => {
            Action::Contain { policy: policy.clone(), allow_self_cut: *allow_self_cut }
        }
        What::Adjust { policy } => Action::Adjust { policy: policy.clone() },
        What::Release { without_verdict } => Action::Release { without_verdict: *without_verdict },
        What::Block { networks } => {
            let all: BTreeSet<IpNet> = blocked().into_iter().chain(networks.iter().copied()).collect();
            Action::Block { blocked: BlockList { networks: all.into_iter().collect() } }
        }
        What::Unblock { networks } => {
            let now = blocked();
            if let Some(unknown) = networks.iter().find(|net| !now.contains(net)) {
                return Err(Problem::new("E0653", msg!("unblock-unknown", network = unknown.to_string())));
            }
            let rest = now.into_iter().filter(|net| !networks.contains(net)).collect();
            Action::Unblock { blocked: BlockList { networks: rest } }
        }
        What::Report {} => Action::Report {},
    })
}

/// What happens to one chosen host.
enum Fate {
    Target,
    Unchanged,
    LeftOut(Why),
}

fn fate(host: &Known, action: &Action) -> Fate {
    if host.listed.host_key.is_none() {
        return Fate::LeftOut(Why::NeverEnrolled);
    }
    let settled = |links: Links| host.row.fresh && host.row.links == Some(links) && host.row.drift.is_empty();
    let relaxing = action.class() == Class::Release;
    match (action, &host.report) {
        (Action::Contain { policy, .. }, Some(report)) if report.policy.contains() => {
            if report.policy == *policy && settled(Links::Cut) {
                return Fate::Unchanged;
            }
            if relaxing {
                return Fate::LeftOut(Why::DrillOnContained);
            }
            let relaxed = policy.relaxes(&report.policy);
            if !relaxed.is_empty() {
                return Fate::LeftOut(Why::WouldRelax(relaxed.join(", ")));
            }
        }
        (Action::Adjust { policy }, report) => match report {
            Some(report) if report.policy.contains() => {
                if report.policy == *policy && settled(Links::Cut) {
                    return Fate::Unchanged;
                }
            }
            Some(_) | None => return Fate::LeftOut(Why::NotContained),
        },
        (Action::Release { .. }, Some(report)) if !report.policy.contains() && settled(Links::Open) => {
            return Fate::Unchanged;
        }
        (Action::Block { blocked } | Action::Unblock { blocked }, Some(report))
            if host.row.fresh && report.blocked == *blocked && host.row.drift.is_empty() =>
        {
            return Fate::Unchanged;
        }
        _ => {}
    }
    if let Action::Release { without_verdict: false } = action {
        if !host.row.fresh || host.row.verdict != Verdict::Clean {
            return Fate::LeftOut(Why::NotClean);
        }
        match &host.statement {
            Some(Ok(_)) => {}
            Some(Err(why)) => return Fate::LeftOut(Why::Statement(why.clone())),
            None => return Fate::LeftOut(Why::NotClean),
        }
    }
    if relaxing && challenge(host).is_none() {
        return Fate::LeftOut(Why::NoChallenge);
    }
    Fate::Target
}

/// The host's challenge. Its signed report is the word that counts; a receipt may have brought a newer one.
fn challenge(host: &Known) -> Option<Challenge> {
    host.row.challenge.or_else(|| host.report.as_ref().and_then(|r| r.challenge))
}

fn leaf(host: &Known, action: &Action) -> Outcome<LeafV1> {
    let host_key = host.listed.fingerprint().ok_or_else(|| Problem::of("E0653"))?;
    let clean = match (action, &host.statement) {
        (Action::Release { without_verdict: false }, Some(Ok(envelope))) => Some(envelope.digest()),
        _ => None,
    };
    let challenge = challenge(host).filter(|_| action.class() == Class::Release);
    Ok(LeafV1 { host_id: host.listed.host_id.clone(), host_key, challenge, clean })
}

/// Digest of what a plan relies on about one target. Signs of life and remarks are not in it: they change
/// all the time and change nothing of the plan.
pub(crate) fn observed_state(row: &HostView, listed: &InventoryHost, stream: Stream, class: Class) -> Digest {
    let head = row.heads.iter().find(|h| h.stream == stream).map_or((0, 0), Head::order);
    let key = listed.fingerprint().map_or_else(String::new, |f| f.to_string());
    let mut parts = vec![
        listed.host_id.to_string(),
        key,
        listed.incarnation.to_string(),
        format!("{:?}", row.links),
        format!("{head:?}"),
        row.order_id.map_or_else(String::new, |id| id.to_string()),
        row.drift.is_empty().to_string(),
    ];
    if class == Class::Release {
        parts.push(row.challenge.map_or_else(String::new, |c| c.to_string()));
        parts.push(row.clean_statement.map_or_else(String::new, |d| d.to_string()));
        parts.push(row.boot_id.clone().unwrap_or_default());
    }
    let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
    Digest::of_parts(&parts)
}

/// One more than every number of the stream that anyone has used, and one in reserve for a first group
/// that is sent ahead (`apply --canary`).
fn generation(input: &Input<'_>, stream: Stream) -> u64 {
    let epoch = input.trust.root().gen_epoch;
    let heads =
        input.heads.iter().filter(|h| h.stream == stream && h.gen_epoch == epoch).map(|h| h.generation);
    let orders = input.orders.iter().filter(|o| o.stream == stream).map(|o| o.generation);
    heads.chain(orders).max().unwrap_or(0).saturating_add(2)
}

/// For each other stream the newest order that every target should have: a host that has not learns that
/// it missed one. An order that not all targets were sent cannot be named without false alarms.
fn other_heads(input: &Input<'_>, stream: Stream, targets: &[HostId]) -> Vec<Head> {
    let root = input.trust.root();
    let current = |o: &&OrderView| {
        o.state == OrderState::Sealed && (root.version == 1 || o.issued_at_ms >= root.issued_at_ms)
    };
    let newest = |other: Stream| {
        let mut newest: BTreeMap<&HostId, u64> = BTreeMap::new();
        for order in input.orders.iter().filter(current).filter(|o| o.stream == other) {
            for host in &order.hosts {
                let known = newest.entry(&host.host).or_default();
                *known = order.generation.max(*known);
            }
        }
        newest
    };
    let others = Stream::ALL.into_iter().filter(|other| *other != stream);
    let heads = others.map(|other| {
        let newest = newest(other);
        let generation = targets.iter().map(|host| newest.get(host).copied().unwrap_or(0)).min().unwrap_or(0);
        Head { stream: other, gen_epoch: root.gen_epoch, generation }
    });
    heads.filter(|head| head.generation > 0).collect()
}

/// Computes a plan.
pub(crate) fn build(input: &Input<'_>) -> Outcome<Plan> {
    let impossible = || Problem::new("E0653", msg!("plan-impossible"));
    let action = action(input.request, input.hosts)?;
    action.validate().or_problem(impossible)?;
    let (stream, class) = (action.stream(), action.class());
    let mut plan = Plan {
        api_version: API_VERSION.to_owned(),
        kind: KIND.to_owned(),
        created_at_ms: input.now,
        inventory_version: input.inventory_version,
        request: input.request.clone(),
        frozen: None,
        observed: Vec::new(),
        stale: Vec::new(),
        unchanged: Vec::new(),
        left_out: Vec::new(),
    };
    let mut leaves = Vec::new();
    let mut statements: BTreeMap<Digest, Envelope> = BTreeMap::new();
    for host in input.hosts {
        let name = host.listed.host_id.clone();
        match fate(host, &action) {
            Fate::Unchanged => plan.unchanged.push(name),
            Fate::LeftOut(why) => plan.left_out.push(LeftOut { host: name, why }),
            Fate::Target => {
                let leaf = leaf(host, &action)?;
                if let (Some(digest), Some(Ok(envelope))) = (leaf.clean, &host.statement) {
                    statements.insert(digest, envelope.clone());
                }
                leaves.push(LeafBytes(strict::to_vec(&leaf).or_problem(impossible)?));
                plan.observed.push(Observed {
                    host: name.clone(),
                    state: observed_state(&host.row, &host.listed, stream, class),
                });
                if !host.row.fresh {
                    plan.stale.push(name);
                }
            }
        }
    }
    if leaves.is_empty() {
        return Ok(plan);
    }
    let targets: Vec<HostId> = plan.observed.iter().map(|o| o.host.clone()).collect();
    let order = OrderV1 {
        deployment_id: input.trust.deployment_id(),
        order_id: input.order_id,
        root_version: input.trust.version(),
        stream,
        gen_epoch: input.trust.root().gen_epoch,
        generation: generation(input, stream),
        issued_at_ms: input.now,
        not_after_ms: input.now.plus(input.request.ttl_ms),
        incident: input.request.incident.clone(),
        action,
        target: Target::List { root: merkle::root(&leaves), count: leaves.len() as u64 },
        heads: other_heads(input, stream, &targets),
        reason: input.request.reason.clone(),
    };
    order.validate().or_problem(impossible)?;
    let payload = strict::to_vec(&order).or_problem(impossible)?;
    let order = Envelope { payload_type: payload_type(class), payload, signatures: Vec::new() };
    plan.frozen = Some(Frozen { order, leaves, statements: statements.into_values().collect() });
    Ok(plan)
}

/// The same order for the first `count` targets only, one number below the whole one.
pub(crate) fn canary(frozen: &Frozen, order: &OrderV1, count: usize, order_id: OrderId) -> Outcome<Frozen> {
    let impossible = || Problem::new("E0653", msg!("plan-impossible"));
    let leaves: Vec<LeafBytes> = frozen.leaves.iter().take(count).cloned().collect();
    let first = OrderV1 {
        order_id,
        generation: order.generation.saturating_sub(1),
        target: Target::List { root: merkle::root(&leaves), count: leaves.len() as u64 },
        ..order.clone()
    };
    first.validate().or_problem(impossible)?;
    let payload = strict::to_vec(&first).or_problem(impossible)?;
    let order = Envelope { payload, ..frozen.order.clone() };
    Ok(Frozen { order, leaves, statements: Vec::new() })
}
