//! Fetching and verifying what a plan is computed from.

use std::collections::BTreeMap;

use digue_proto::envelope::Envelope;
use digue_proto::fleet::view::{HostView, OrderView};
use digue_proto::id::{Digest, OrderId};
use digue_proto::order::Head;
use digue_proto::policy::{Policy, Profile};
use digue_proto::statement::Stated;
use digue_proto::trust::InventoryHost;
use digue_proto::trust_chain::Trust;
use rand_core::{OsRng, RngCore as _};

use super::build::{Input, Known};
use super::file::Plan;
use super::{Request, What, build, show};
use crate::app::{App, Session};
use crate::client::api;
use crate::fleet::{self, Fleet};
use crate::message::msg;
use crate::problem::{OrProblem as _, Outcome, Problem};
use crate::reports;
use crate::time;

/// A new order's name.
pub(crate) fn new_order_id() -> Outcome<OrderId> {
    let mut bytes = [0u8; 16];
    OsRng.try_fill_bytes(&mut bytes).or_problem(|| Problem::of("E0605"))?;
    Ok(OrderId::from_bytes(bytes))
}

/// Every order that the controller knows.
pub(crate) async fn orders(session: &Session) -> Outcome<Vec<OrderView>> {
    let answer: api::Orders = session.client.get("/api/v1/orders").await?;
    Ok(answer.orders)
}

/// The clean statements in force, by digest.
async fn statements(session: &Session) -> Outcome<BTreeMap<Digest, Envelope>> {
    let answer: api::Statements = session.client.get("/api/v1/statements").await?;
    Ok(answer.statements.into_iter().map(|envelope| (envelope.digest(), envelope)).collect())
}

/// The statement that the view names for a host, if it really is one and fits the host.
fn fitting(
    trust: &Trust,
    row: &HostView,
    listed: &InventoryHost,
    known: &BTreeMap<Digest, Envelope>,
) -> Option<Result<Envelope, String>> {
    let digest = row.clean_statement?;
    let Some(envelope) = known.get(&digest) else {
        return Some(Err(format!("{} is missing", digest.short())));
    };
    let verified = match trust.verify_statement(envelope) {
        Ok(verified) => verified,
        Err(error) => return Some(Err(error.to_string())),
    };
    let statement = verified.value();
    let fits = statement.verdict == Stated::Clean
        && statement.host_id == listed.host_id
        && Some(&statement.host_key) == listed.fingerprint().as_ref()
        && statement.incarnation == listed.incarnation;
    if fits { Some(Ok(envelope.clone())) } else { Some(Err("it is about another host or key".to_owned())) }
}

/// Computes a plan from what the controller shows now, verified.
pub(crate) async fn plan(app: &App, session: &Session, request: &Request) -> Outcome<(Plan, Fleet)> {
    let fleet = fleet::load(app, session).await?;
    let chosen = request.selection.choose(&fleet.view.hosts)?;
    let releasing = matches!(request.what, What::Release { without_verdict: false });
    let statements = if releasing { statements(session).await? } else { BTreeMap::new() };
    let mut hosts = Vec::with_capacity(chosen.len());
    for row in chosen {
        let Some(listed) = fleet.inventory.host(&row.name) else { continue };
        // A host that never reported has nothing to fetch.
        let report = match row.reported_at_ms {
            Some(_) => reports::fetch(session, listed).await?,
            None => None,
        };
        let statement = if releasing { fitting(&session.trust, row, listed, &statements) } else { None };
        hosts.push(Known { row: row.clone(), listed: listed.clone(), report, statement });
    }
    let heads: Vec<Head> = fleet.view.hosts.iter().flat_map(|h| h.heads.iter().copied()).collect();
    let orders = orders(session).await?;
    let input = Input {
        request,
        hosts: &hosts,
        orders: &orders,
        heads: &heads,
        trust: &session.trust,
        inventory_version: fleet.inventory.version,
        now: time::now(),
        order_id: new_order_id()?,
    };
    let plan = build::build(&input)?;
    blocks_no_controller(session, &plan)?;
    if let What::Adjust { policy } = &request.what {
        warn_of_changes(app, policy, &hosts);
    }
    Ok((plan, fleet))
}

/// An adjustment replaces the whole containment: says what it opens beyond what holds now, and what it drops.
fn warn_of_changes(app: &App, policy: &Policy, hosts: &[Known]) {
    let (mut opens, mut closes) = (BTreeMap::new(), BTreeMap::new());
    let mut leaves_isolation = false;
    for (host, report) in hosts.iter().filter_map(|h| Some((&h.listed.host_id, h.report.as_ref()?))) {
        let (wider, narrower) = (policy.relaxes(&report.policy), report.policy.relaxes(policy));
        leaves_isolation |= report.policy.profile == Profile::Isolate && wider.contains(&"profile");
        for (found, groups) in [(wider, &mut opens), (narrower, &mut closes)] {
            if !found.is_empty() {
                groups.entry(found).or_insert_with(Vec::new).push(host);
            }
        }
    }
    for (what, list) in opens {
        let (what, list) = (show::relaxed(app, what.into_iter()), show::names(list.into_iter()));
        app.note(&msg!("adjust-opens", what = what, list = list));
    }
    if leaves_isolation {
        app.note(&msg!("adjust-stays-isolated"));
    }
    for (what, list) in closes {
        let (what, list) = (show::relaxed(app, what.into_iter()), show::names(list.into_iter()));
        app.note(&msg!("adjust-closes", what = what, list = list));
    }
}

/// A block list that covers a controller would be refused by every host: say so before anyone signs.
fn blocks_no_controller(session: &Session, plan: &Plan) -> Outcome<()> {
    let What::Block { networks } = &plan.request.what else { return Ok(()) };
    let controllers = &session.context.network.controllers;
    match controllers.iter().find(|c| networks.iter().any(|net| net.contains(&c.ip()))) {
        Some(controller) => {
            Err(Problem::new("E0653", msg!("block-controller", address = controller.to_string())))
        }
        None => Ok(()),
    }
}
