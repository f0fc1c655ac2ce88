//! The words of states, the same in every list, line and prompt.

use digue_proto::fleet::view::{HostView, OrderState, OrderView, Phase, Verdict};
use digue_proto::report::Links;

use crate::app::App;
use crate::message::{Message, msg};

/// A verdict.
pub(crate) fn verdict(verdict: Verdict) -> Message {
    match verdict {
        Verdict::Unassessed => msg!("verdict-unassessed"),
        Verdict::NoFinding => msg!("verdict-no-finding"),
        Verdict::Suspect => msg!("verdict-suspect"),
        Verdict::Compromised => msg!("verdict-compromised"),
        Verdict::Clean => msg!("verdict-clean"),
    }
}

/// The links.
pub(crate) fn links(links: Option<Links>) -> Message {
    match links {
        None => msg!("links-unmeasured"),
        Some(Links::Open) => msg!("links-open"),
        Some(Links::Cutting) => msg!("links-cutting"),
        Some(Links::Cut) => msg!("links-cut"),
        Some(Links::Releasing) => msg!("links-releasing"),
        Some(Links::Failed) => msg!("links-failed"),
    }
}

/// A phase of an order on a host.
pub(crate) fn phase(phase: Phase) -> Message {
    match phase {
        Phase::Waiting => msg!("phase-waiting"),
        Phase::Sent => msg!("phase-sent"),
        Phase::Acknowledged => msg!("phase-acknowledged"),
        Phase::Applied => msg!("phase-applied"),
        Phase::Verified => msg!("phase-verified"),
        Phase::Failed => msg!("phase-failed"),
        Phase::Refused => msg!("phase-refused"),
        Phase::Superseded => msg!("phase-superseded"),
    }
}

/// A state of an order.
fn order_state(state: OrderState) -> Message {
    match state {
        OrderState::AwaitingSignatures => msg!("order-awaiting"),
        OrderState::Sealed => msg!("order-sealed"),
        OrderState::Cancelled => msg!("order-cancelled"),
    }
}

/// How far an order has come: its state, or that every host of it proved it.
pub(crate) fn order_progress(order: &OrderView) -> Message {
    let everywhere = !order.hosts.is_empty() && order.hosts.iter().all(|h| h.phase == Phase::Verified);
    if order.state == OrderState::Sealed && everywhere {
        msg!("order-all-verified")
    } else {
        order_state(order.state)
    }
}

/// The name of a state of an order in the API.
pub(crate) const fn order_state_name(state: OrderState) -> &'static str {
    match state {
        OrderState::AwaitingSignatures => "awaiting_signatures",
        OrderState::Sealed => "sealed",
        OrderState::Cancelled => "cancelled",
    }
}

/// The name of a verdict in the API.
pub(crate) const fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unassessed => "unassessed",
        Verdict::NoFinding => "no_finding",
        Verdict::Suspect => "suspect",
        Verdict::Compromised => "compromised",
        Verdict::Clean => "clean",
    }
}

/// The name of the links in the API.
pub(crate) const fn links_name(links: Option<Links>) -> &'static str {
    match links {
        None => "unmeasured",
        Some(links) => links.as_str(),
    }
}

/// A verdict with its mark. A host without contact shows the mark of no contact in front: what is known
/// of it is old.
pub(crate) fn verdict_cell(app: &App, host: &HostView) -> String {
    let stale = if host.fresh { "" } else { app.glyphs.stale() };
    let mark = app.glyphs.verdict(host.verdict);
    format!("{stale}{mark} {}", app.say(&verdict(host.verdict)))
}

/// The links with their mark.
pub(crate) fn links_cell(app: &App, host: &HostView) -> String {
    let mark = app.glyphs.links(host.links);
    format!("{mark} {}", app.say(&links(host.links)))
}
