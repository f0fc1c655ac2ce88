//! `digue apply`: sign the bytes of a plan, hand them to the controller, and wait for proof.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use digue_proto::bundle::OrderBundle;
use digue_proto::envelope::Envelope;
use digue_proto::fleet::view::{OrderState, OrderView, Phase};
use digue_proto::trust::Class;

use crate::app::{App, Session};
use crate::fleet::{self, Fleet};
use crate::follow::{self, Followed};
use crate::message::msg;
use crate::output;
use crate::plan::build::{canary, observed_state};
use crate::plan::collect;
use crate::plan::file::{Frozen, Plan, Read, read_bundle};
use crate::plan::show;
use crate::problem::{Exit, Outcome, Problem};
use crate::time;

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The plan file.
    plan: PathBuf,
    /// Signer of the context, or key file; may be repeated for several persons at this desk.
    #[arg(long, value_name = "NAME", required = true)]
    sign: Vec<String>,
    /// Wait until every host is settled.
    #[arg(long)]
    wait: bool,
    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = time::duration)]
    timeout: Duration,
    /// Send to the first N hosts, wait until they are verified, then to all.
    #[arg(long, value_name = "N")]
    canary: Option<usize>,
    /// How many of the first hosts may fail: a number or a percentage.
    #[arg(long, value_name = "N|P%", default_value = "0", requires = "canary")]
    max_failed: MaxFailed,
    /// If the fleet changed since the plan, compute it again instead of stopping.
    #[arg(long)]
    replan: bool,
}

/// `3` or `5%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MaxFailed {
    /// So many hosts.
    Count(usize),
    /// So many of a hundred.
    Percent(usize),
}

impl std::str::FromStr for MaxFailed {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = |_| format!("{text:?} is neither a number nor a percentage");
        match text.strip_suffix('%') {
            Some(percent) => match percent.parse().map_err(bad)? {
                percent @ 0..=100 => Ok(Self::Percent(percent)),
                _ => Err(format!("{text:?} is more than everything")),
            },
            None => text.parse().map(Self::Count).map_err(bad),
        }
    }
}

impl MaxFailed {
    const fn allows(self, failed: usize, of: usize) -> bool {
        match self {
            Self::Count(most) => failed <= most,
            Self::Percent(most) => failed * 100 <= most * of,
        }
    }
}

/// Runs `apply`.
pub(crate) async fn run(app: &App, args: Apply) -> Outcome<Exit> {
    let (plan, read) = Plan::read(&args.plan)?;
    let session = app.session().await?;
    let Some(read) = read else { return nothing_to_send(app, &session, &plan).await };
    let fleet = fleet::load(app, &session).await?;
    let moved = moved(&session, &fleet, &plan, &read);
    let (plan, read, fleet) = match moved {
        None => (plan, read, fleet),
        Some(_) if args.replan => {
            let (plan, fleet) = collect::plan(app, &session, &plan.request).await?;
            let Some(frozen) = &plan.frozen else {
                output::print(&show::plan(app, &plan, None, &session.trust))?;
                return Ok(without_order(&plan));
            };
            let read = read_bundle(&frozen.bundle())?;
            app.note(&msg!("apply-replanned"));
            (plan, read, fleet)
        }
        Some(problem) => return Err(problem),
    };
    let Some(frozen) = &plan.frozen else { return Ok(without_order(&plan)) };
    output::print(&show::plan(app, &plan, Some(&read), &session.trust))?;
    let keys = session.keys(app, &args.sign)?;
    app.confirm_count(&show::question(&read.order.action, read.leaves.len()), read.leaves.len())?;

    let first = match args.canary {
        None => None,
        Some(count) => Some(first_group(app, frozen, &read, count)?),
    };
    let whole = signed(app, &session, frozen, &read, &keys).await?;
    if let Some((group, group_read)) = first {
        let bundle = signed(app, &session, &group, &group_read, &keys).await?;
        let view = post(&session, &bundle).await?;
        if view.state != OrderState::Sealed {
            return Err(more_signatures(app, &view));
        }
        app.note(&msg!("canary-sent", count = group_read.leaves.len()));
        let followed =
            follow::follow(app, &session, group_read.order.order_id, &group_read.leaves, args.timeout)
                .await?;
        let unsettled = followed.view.hosts.iter().filter(|h| h.phase != Phase::Verified).count();
        let unconfirmed =
            follow::unconfirmed(&session, &fleet.inventory, &group_read.order, &followed.view).await?;
        let open = unsettled + unconfirmed.len();
        if !args.max_failed.allows(open, group_read.leaves.len()) {
            let concluded =
                follow::conclude(app, &session, &fleet.inventory, &group_read.order, &followed).await;
            app.note(&msg!("canary-stopped", count = open));
            return concluded;
        }
    }
    let view = post(&session, &whole).await?;
    if view.state != OrderState::Sealed {
        return Err(more_signatures(app, &view));
    }
    app.note(&msg!("order-sealed-now", id = view.order_id.to_string()));
    if !args.wait {
        app.note(&msg!("order-not-awaited", id = view.order_id.short()));
        return Ok(Exit::Done);
    }
    let followed: Followed = follow::follow(app, &session, view.order_id, &read.leaves, args.timeout).await?;
    follow::conclude(app, &session, &fleet.inventory, &read.order, &followed).await
}

/// Why the plan no longer fits the fleet, if it does not.
fn moved(session: &Session, fleet: &Fleet, plan: &Plan, read: &Read) -> Option<Problem> {
    let order = &read.order;
    if order.deployment_id != session.trust.deployment_id() {
        return Some(Problem::new("E0307", msg!("plan-other-deployment")));
    }
    if order.gen_epoch != session.trust.root().gen_epoch || order.root_version > session.trust.version() {
        return Some(Problem::new("E0651", msg!("plan-other-root", version = order.root_version)));
    }
    if order.not_after_ms < time::now() {
        return Some(Problem::new("E0652", msg!("plan-expired", at = time::date_clock(order.not_after_ms))));
    }
    let stands = |observed: &crate::plan::file::Observed| {
        let row = fleet.host(&observed.host)?;
        let listed = fleet.inventory.host(&observed.host)?;
        Some(observed_state(row, listed, order.stream, read.class) == observed.state)
    };
    let changed: Vec<_> = plan.observed.iter().filter(|o| stands(o) != Some(true)).map(|o| &o.host).collect();
    if changed.is_empty() {
        return None;
    }
    Some(Problem::new("E0651", msg!("plan-moved", list = show::names(changed.into_iter()))))
}

/// A plan without an order. What it says of the servers was measured when it was made, so it is made again
/// before anything is claimed of them.
async fn nothing_to_send(app: &App, session: &Session, plan: &Plan) -> Outcome<Exit> {
    let (now, _) = collect::plan(app, session, &plan.request).await?;
    if now.frozen.is_some() {
        let list = show::names(now.observed.iter().map(|o| &o.host));
        return Err(Problem::new("E0651", msg!("plan-moved", list = list)));
    }
    output::print(&show::plan(app, &now, None, &session.trust))?;
    Ok(without_order(&now))
}

/// Servers that were chosen and get no order are not done.
const fn without_order(plan: &Plan) -> Exit {
    if plan.left_out.is_empty() { Exit::Done } else { Exit::Partial }
}

fn first_group(app: &App, frozen: &Frozen, read: &Read, count: usize) -> Outcome<(Frozen, Read)> {
    if read.class == Class::Release {
        return Err(Problem::new("E0601", msg!("canary-release")));
    }
    if count == 0 || count >= read.leaves.len() {
        return Err(Problem::new("E0601", msg!("canary-count", count = count, targets = read.leaves.len())));
    }
    let group = canary(frozen, &read.order, count, collect::new_order_id()?)?;
    let group_read = read_bundle(&group.bundle())?;
    let list = show::names(group_read.leaves.iter().map(|l| &l.host_id).collect::<Vec<_>>().into_iter());
    app.note(&msg!("canary-first", list = list));
    Ok((group, group_read))
}

/// Signs the exact bytes of an order.
async fn signed(
    app: &App,
    session: &Session,
    frozen: &Frozen,
    read: &Read,
    keys: &[PathBuf],
) -> Outcome<OrderBundle> {
    let mut bundle = frozen.bundle();
    let tally = |envelope: &Envelope| session.trust.tally(envelope, read.class);
    app.add_signatures(&mut bundle.order, keys, session.trust.root(), tally).await?;
    not_too_early(session, read, &bundle.order)?;
    Ok(bundle)
}

async fn post(session: &Session, bundle: &OrderBundle) -> Outcome<OrderView> {
    session.client.post("/api/v1/orders", bundle).await
}

/// Refuses to hand in signatures that would set an order going which every host then refuses: a release
/// without verdict goes out at the threshold of its class, and the hosts ask for more persons.
pub(crate) fn not_too_early(session: &Session, read: &Read, envelope: &Envelope) -> Outcome<()> {
    let have = session.trust.tally(envelope, read.class).counted.len();
    let goes = session.trust.threshold(read.class.role());
    let need = show::needed(&session.trust, &read.order.action);
    if have >= goes && have < need {
        return Err(Problem::new("E0633", msg!("signatures-at-one-desk", have = have, need = need)));
    }
    Ok(())
}

/// What to do when an order needs more persons.
pub(crate) fn more_signatures(app: &App, view: &OrderView) -> Problem {
    let signers: Vec<String> = view.signers.iter().map(ToString::to_string).collect();
    app.note(&msg!(
        "order-awaits",
        id = view.order_id.to_string(),
        have = signers.len(),
        need = view.needed,
        names = signers.join(", "),
    ));
    Problem::new("E0633", msg!("order-next-signature", id = view.order_id.short()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_or_compared_as_a_share() {
        let allows = |text: &str, failed, of| text.parse::<MaxFailed>().expect("a limit").allows(failed, of);
        assert!(allows("1", 1, 3) && !allows("1", 2, 3));
        assert!(allows("50%", 1, 2) && !allows("50%", 2, 3));
        assert!("101%".parse::<MaxFailed>().is_err() && "x".parse::<MaxFailed>().is_err());
    }
}
