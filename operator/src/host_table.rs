//! Rows of hosts, for `hosts list` and `status`.

use digue_proto::fleet::view::HostView;
use digue_proto::id::UnixMillis;
use digue_proto::trust::Label;

use crate::app::App;
use crate::message::{Message, msg};
use crate::output::{Column, Listing};
use crate::problem::{OrProblem as _, Outcome, Problem};
use crate::state_words as words;
use crate::time;

/// The value of a label, or nothing.
fn label<'a>(labels: &'a [Label], key: &str) -> &'a str {
    labels.iter().find(|l| l.key == key).map_or("", |l| l.value.as_str())
}

/// How long ago the host was last heard, by the controller's clock.
pub(crate) fn last_heard(app: &App, host: &HostView, now: UnixMillis) -> String {
    if !host.enrolled {
        return app.say(&msg!("host-never-enrolled"));
    }
    match host.last_contact_ms {
        None => app.say(&msg!("host-never-heard")),
        Some(at) => {
            let ago = time::elapsed(now.since(at), &app.say(&msg!("unit-day")));
            let said =
                if host.fresh { msg!("host-heard", ago = ago) } else { msg!("host-no-contact", ago = ago) };
            app.say(&said)
        }
    }
}

fn yes_no(app: &App, value: bool) -> String {
    app.say(&if value { msg!("yes") } else { msg!("no") })
}

/// A listing of `rows`, as of `now` by the controller's clock.
pub(crate) fn listing(app: &App, rows: &[&HostView], now: UnixMillis) -> Outcome<Listing> {
    let column = |title: &Message, machine, wide| Column { title: app.say(title), machine, wide };
    let mut listing = Listing {
        columns: vec![
            column(&msg!("column-host"), "name", false),
            column(&msg!("column-verdict"), "verdict", false),
            column(&msg!("column-links"), "links", false),
            column(&msg!("column-exposed"), "exposed", false),
            column(&msg!("column-heard"), "last_contact_ms", false),
            column(&msg!("column-level"), "level", false),
            column(&msg!("column-site"), "site", false),
            column(&msg!("column-role"), "role", true),
            column(&msg!("column-order"), "order_id", true),
            column(&msg!("column-remarks"), "remarks", true),
        ],
        json_key: "hosts",
        ..Listing::default()
    };
    for host in rows {
        let level = host.level.map_or_else(String::new, |level| format!("{level:?}"));
        let order = host.order_id.map_or_else(String::new, |id| id.short());
        let mut remarks: Vec<String> = host.lapsed.iter().cloned().collect();
        remarks.extend(host.drift.iter().cloned());
        remarks.extend(host.alarms.iter().cloned());
        remarks.extend(host.chain_gaps.iter().map(|gap| app.say(&msg!("host-gap", gap = gap))));
        let (site, role) = (label(&host.labels, "site").to_owned(), label(&host.labels, "role").to_owned());
        listing.rows.push(vec![
            host.name.to_string(),
            words::verdict_cell(app, host),
            words::links_cell(app, host),
            yes_no(app, host.exposed),
            last_heard(app, host, now),
            level.clone(),
            site.clone(),
            role.clone(),
            order,
            remarks.join("; "),
        ]);
        listing.values.push(vec![
            host.name.to_string(),
            words::verdict_name(host.verdict).to_owned(),
            words::links_name(host.links).to_owned(),
            host.exposed.to_string(),
            host.last_contact_ms.map_or_else(String::new, |at| at.0.to_string()),
            level,
            site,
            role,
            host.order_id.map_or_else(String::new, |id| id.to_string()),
            remarks.join("; "),
        ]);
        listing.names.push(host.name.to_string());
        listing.json.push(serde_json::to_value(host).or_problem(|| Problem::of("E0605"))?);
    }
    Ok(listing)
}
