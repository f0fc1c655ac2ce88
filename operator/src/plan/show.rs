//! Orders and policies in words. Everything is said from the parsed bytes that are signed, never from
//! what was asked for.

use digue_proto::id::HostId;
use digue_proto::order::{Action, LeafV1};
use digue_proto::policy::{BlockList, Direction, Exception, OnLostManagement, Policy, Profile, Transport};
use digue_proto::trust::{Class, WITHOUT_VERDICT_MINIMUM};
use digue_proto::trust_chain::Trust;
use digue_proto::words::fingerprint_words;

use super::file::{Plan, Read, Why};
use crate::app::App;
use crate::message::{Message, msg};
use crate::output::printable;
use crate::time;

/// Most names printed in one line.
const MAX_NAMES: usize = 12;

/// What a policy leaves open, one line each.
pub(crate) fn stays_open(app: &App, policy: &Policy) -> Vec<String> {
    let mut lines = Vec::new();
    match policy.profile {
        Profile::Observe => return vec![app.say(&msg!("open-everything"))],
        Profile::Dark => return vec![app.say(&msg!("open-nothing"))],
        Profile::Cut | Profile::Isolate => {}
    }
    let controllers: Vec<String> = policy.controllers.iter().map(ToString::to_string).collect();
    lines.push(app.say(&msg!("open-controllers", list = controllers.join(", "))));
    if policy.profile == Profile::Cut && !policy.internal.is_empty() {
        let internal: Vec<String> = policy.internal.iter().map(ToString::to_string).collect();
        lines.push(app.say(&msg!("open-internal", list = internal.join(", "))));
    }
    lines.extend(policy.exceptions.iter().map(|e| exception(app, e)));
    lines
}

fn exception(app: &App, exception: &Exception) -> String {
    let transport = match exception.transport {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    let flow = format!("{transport}/{}", exception.port);
    let peer = exception.peer.to_string();
    let said = match exception.direction {
        Direction::Inbound => msg!("open-inbound", flow = flow, peer = peer),
        Direction::Outbound => msg!("open-outbound", flow = flow, peer = peer),
    };
    let until = exception
        .until_ms
        .map_or_else(String::new, |at| app.say(&msg!("open-until", at = time::date_clock(at))));
    format!("{} ({}: {}{until})", app.say(&said), exception.owner, exception.reason)
}

/// What happens when no controller can be reached.
pub(crate) fn lost_management(app: &App, policy: &Policy) -> String {
    match policy.on_lost_management {
        OnLostManagement::Hold => app.say(&msg!("lost-hold")),
        OnLostManagement::ReopenAfter(seconds) => {
            let after = time::elapsed(u64::from(seconds) * 1000, &app.say(&msg!("unit-day")));
            app.say(&msg!("lost-reopen", after = after))
        }
    }
}

/// Names, shortened if there are many.
pub(crate) fn names<'a>(hosts: impl ExactSizeIterator<Item = &'a HostId>) -> String {
    let count = hosts.len();
    let mut list: Vec<String> = hosts.take(MAX_NAMES).map(ToString::to_string).collect();
    if count > MAX_NAMES {
        list.push(format!("+{}", count - MAX_NAMES));
    }
    list.join(", ")
}

fn networks(list: &BlockList) -> String {
    let networks: Vec<String> = list.networks.iter().map(ToString::to_string).collect();
    if networks.is_empty() { "-".to_owned() } else { networks.join(", ") }
}

/// The action in words, with the number of hosts.
pub(crate) fn effect(action: &Action, count: usize) -> Message {
    match action {
        Action::Contain { policy, .. } => match policy.profile {
            Profile::Cut => msg!("effect-cut", count = count),
            Profile::Isolate => msg!("effect-isolate", count = count),
            Profile::Dark | Profile::Observe => msg!("effect-dark", count = count),
        },
        Action::Adjust { .. } => msg!("effect-adjust", count = count),
        Action::Release { .. } => msg!("effect-release", count = count),
        Action::Block { .. } => msg!("effect-block", count = count),
        Action::Unblock { .. } => msg!("effect-unblock", count = count),
        Action::Report {} => msg!("effect-report", count = count),
    }
}

/// What to type before the order is signed.
pub(crate) fn question(action: &Action, count: usize) -> Message {
    match action {
        Action::Contain { policy, .. } => match policy.profile {
            Profile::Cut => msg!("confirm-cut", count = count),
            Profile::Isolate => msg!("confirm-isolate", count = count),
            Profile::Dark | Profile::Observe => msg!("confirm-dark", count = count),
        },
        Action::Adjust { .. } => msg!("confirm-adjust", count = count),
        Action::Release { .. } => msg!("confirm-release", count = count),
        Action::Block { .. } => msg!("confirm-block", count = count),
        Action::Unblock { .. } => msg!("confirm-unblock", count = count),
        Action::Report {} => msg!("confirm-report", count = count),
    }
}

/// Distinct persons that an order needs.
pub(crate) fn needed(trust: &Trust, action: &Action) -> usize {
    let threshold = trust.threshold(action.class().role());
    let without_verdict = matches!(action, Action::Release { without_verdict: true });
    threshold.max(if without_verdict { WITHOUT_VERDICT_MINIMUM } else { 0 })
}

const fn class_word(class: Class) -> &'static str {
    class.role().as_str()
}

/// An order in words, from its parsed bytes: what it does, to whom, what stays open, until when, who must
/// sign.
pub(crate) fn order(app: &App, read: &Read, trust: &Trust) -> Vec<String> {
    let order = &read.order;
    let targets: Vec<&LeafV1> = read.leaves.iter().collect();
    let mut lines = vec![
        app.say(&msg!("order-title", id = order.order_id.short(), digest = read.digest.to_string())),
        app.say(&msg!("order-words", words = fingerprint_words(&read.digest))),
    ];
    let who = if targets.is_empty() {
        app.say(&msg!("order-everyone"))
    } else {
        names(targets.iter().map(|leaf| &leaf.host_id))
    };
    let effect = app.say(&effect(&order.action, targets.len()));
    lines.push(app.say(&msg!("order-effect", effect = effect, who = who)));
    match &order.action {
        Action::Contain { policy, allow_self_cut } => {
            lines.extend(contained(app, policy));
            if *allow_self_cut {
                lines.push(app.say(&msg!("order-self-cut")));
            }
        }
        Action::Adjust { policy } => lines.extend(contained(app, policy)),
        Action::Release { without_verdict } => {
            let clean = targets.iter().filter(|leaf| leaf.clean.is_some()).count();
            lines.push(app.say(&if *without_verdict {
                msg!("order-without-verdict")
            } else {
                msg!("order-with-verdict", count = clean)
            }));
        }
        Action::Block { blocked } | Action::Unblock { blocked } => {
            lines.push(app.say(&msg!("order-blocked", list = networks(blocked))));
        }
        Action::Report {} => {}
    }
    let (incident, reason) = (printable(&order.incident), printable(&order.reason));
    lines.push(app.say(&msg!("order-why", incident = incident, reason = reason)));
    lines.push(app.say(&msg!("order-until", at = time::date_clock(order.not_after_ms))));
    let (needed, class) = (needed(trust, &order.action), class_word(read.class));
    lines.push(app.say(&msg!("order-signatures", count = needed, class = class)));
    lines
}

fn contained(app: &App, policy: &Policy) -> Vec<String> {
    let mut lines = vec![app.say(&msg!("order-stays-open"))];
    lines.extend(stays_open(app, policy).into_iter().map(|line| format!("  {}", printable(&line))));
    lines.push(app.say(&msg!("order-lost", what = lost_management(app, policy))));
    lines
}

/// What an order would open, in the reader's language.
pub(crate) fn relaxed<'a>(app: &App, what: impl Iterator<Item = &'a str>) -> String {
    let words = what.map(|word| match word {
        "profile" => app.say(&msg!("relaxes-profile")),
        "internal networks" => app.say(&msg!("relaxes-internal")),
        "controllers" => app.say(&msg!("relaxes-controllers")),
        "exceptions" => app.say(&msg!("relaxes-exceptions")),
        "on_lost_management" => app.say(&msg!("relaxes-lost")),
        "blocked networks" => app.say(&msg!("relaxes-blocked")),
        other => other.to_owned(),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn why(app: &App, why: &Why) -> String {
    app.say(&match why {
        Why::NeverEnrolled => msg!("why-never-enrolled"),
        Why::NotClean => msg!("why-not-clean"),
        Why::Statement(detail) => msg!("why-statement", detail = detail),
        Why::NoChallenge => msg!("why-no-challenge"),
        Why::WouldRelax(what) => msg!("why-would-relax", what = relaxed(app, what.split(", "))),
        Why::NotContained => msg!("why-not-contained"),
        Why::DrillOnContained => msg!("why-drill"),
    })
}

/// A plan in words: the order, then what becomes of the other chosen hosts.
pub(crate) fn plan(app: &App, plan: &Plan, read: Option<&Read>, trust: &Trust) -> String {
    let chosen = plan.observed.len() + plan.unchanged.len() + plan.left_out.len();
    let mut lines = vec![app.say(&msg!(
        "plan-counts",
        chosen = app.say(&msg!("count-servers", count = chosen)),
        targets = plan.observed.len(),
        unchanged = plan.unchanged.len(),
        left = plan.left_out.len(),
    ))];
    match read {
        Some(read) => lines.extend(order(app, read, trust)),
        None => lines.push(app.say(&msg!("plan-nothing"))),
    }
    if !plan.unchanged.is_empty() {
        lines.push(app.say(&msg!("plan-unchanged", list = names(plan.unchanged.iter()))));
    }
    if !plan.stale.is_empty() {
        lines.push(app.say(&msg!("plan-stale", list = names(plan.stale.iter()))));
    }
    let mut reasons: Vec<&Why> = Vec::new();
    for left in &plan.left_out {
        if !reasons.contains(&&left.why) {
            reasons.push(&left.why);
        }
    }
    for reason in reasons {
        let hosts: Vec<&HostId> =
            plan.left_out.iter().filter(|l| l.why == *reason).map(|l| &l.host).collect();
        let list = names(hosts.into_iter());
        lines.push(app.say(&msg!("plan-left-out", list = list, why = printable(&why(app, reason)))));
    }
    if plan.left_out.iter().any(|left| left.why == Why::NotClean) {
        lines.push(app.say(&msg!("plan-next-verdict")));
    }
    lines.join("\n")
}
