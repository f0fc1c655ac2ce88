//! Orders and policies in words. Everything is said from the parsed bytes that are signed, never from
//! what was asked for.

use digue_proto::policy::{Direction, Exception, OnLostManagement, Policy, Profile, Transport};

use crate::app::App;
use crate::message::msg;
use crate::time;

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
