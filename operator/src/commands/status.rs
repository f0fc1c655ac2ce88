//! `digue status`: the fleet in one sentence, as a list, as a stream of changes, or as an expectation.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::{Args, ValueEnum};
use digue_proto::fleet::view::{FleetView, HostView, Summary, Verdict};
use digue_proto::id::HostId;
use digue_proto::report::Links;
use serde::Deserialize;
use serde_json::json;

use crate::app::{App, Session};
use crate::client::events::Events;
use crate::expect::Expectation;
use crate::fleet::{self, Fleet};
use crate::host_table;
use crate::message::msg;
use crate::output::{self, Format};
use crate::problem::{Exit, OrProblem as _, Outcome, Problem};
use crate::proofs;
use crate::selector::Labels;
use crate::state_words as words;
use crate::time;

/// How often a watch compares the whole fleet, for changes that no event announces (a host falling
/// silent, for instance).
const COMPARE_EVERY: Duration = Duration::from_secs(15);
/// How long good news from the stream waits for more of it, before all of it is verified at once.
const VERIFY_AFTER: Duration = Duration::from_millis(500);
/// Shortest and longest wait before a lost stream is opened again.
const RECONNECT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));

/// States by which hosts are filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum State {
    /// Neither confirmed clean nor verified cut.
    Exposed,
    /// Confirmed clean.
    Clean,
    /// Examined, nothing found.
    NoFinding,
    /// Suspect.
    Suspect,
    /// Compromised.
    Compromised,
    /// Not assessed, or lapsed.
    Unassessed,
    /// Links open.
    Open,
    /// Links cut, verified, in contact.
    Cut,
    /// Cut failed or drifted.
    Failed,
    /// Enrolled, without contact.
    Stale,
    /// In the inventory, without a key.
    NeverEnrolled,
}

impl State {
    fn holds(self, host: &HostView) -> bool {
        match self {
            Self::Exposed => host.exposed,
            Self::Clean => host.fresh && host.verdict == Verdict::Clean,
            Self::NoFinding => host.verdict == Verdict::NoFinding,
            Self::Suspect => host.verdict == Verdict::Suspect,
            Self::Compromised => host.verdict == Verdict::Compromised,
            Self::Unassessed => host.verdict == Verdict::Unassessed,
            Self::Open => host.links == Some(Links::Open),
            Self::Cut => host.fresh && host.links == Some(Links::Cut),
            Self::Failed => host.links == Some(Links::Failed),
            Self::Stale => host.enrolled && !host.fresh,
            Self::NeverEnrolled => !host.enrolled,
        }
    }
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Only servers with these labels: k=v, k!=v, joined by commas.
    #[arg(short = 'l', long = "label", value_name = "K=V")]
    labels: Vec<Labels>,
    /// Only servers in this state; may be repeated, one is enough.
    #[arg(long, value_enum)]
    state: Vec<State>,
    /// Print one line a change, until interrupted.
    #[arg(long, conflicts_with = "expect")]
    watch: bool,
    /// Exit with 1 unless this holds: 'clean>=80% and exposed==0'.
    #[arg(long, value_name = "EXPR")]
    expect: Option<Expectation>,
    /// Output format.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Status {
    fn chosen<'a>(&self, fleet: &'a Fleet) -> Vec<&'a HostView> {
        let labels = |h: &HostView| self.labels.iter().all(|l| l.hold(&h.labels));
        let state = |h: &HostView| self.state.is_empty() || self.state.iter().any(|s| s.holds(h));
        fleet.view.hosts.iter().filter(|h| labels(h) && state(h)).collect()
    }
}

/// Runs `status`.
pub(crate) async fn run(app: &App, args: Status) -> Outcome<Exit> {
    let session = app.session().await?;
    let fleet = fleet::load(app, &session).await?;
    if args.watch {
        return watch(app, &session, fleet, &args).await;
    }
    let rows = args.chosen(&fleet);
    let mut listing = host_table::listing(app, &rows, fleet.view.computed_at_ms)?;
    match args.output {
        Format::Table | Format::Wide => {
            output::print(&headline(app, &fleet.view))?;
            if !args.labels.is_empty() || !args.state.is_empty() || args.output == Format::Wide {
                listing.print(args.output)?;
            }
        }
        Format::Json => {
            listing.json_more = vec![
                ("computed_at_ms", json!(fleet.view.computed_at_ms)),
                ("inventory_version", json!(fleet.view.inventory_version)),
                ("summary", json!(fleet.view.summary)),
            ];
            listing.print(args.output)?;
        }
        Format::Jsonl | Format::Csv | Format::Name => listing.print(args.output)?,
    }
    let Some(expectation) = &args.expect else { return Ok(Exit::Done) };
    let unmet = expectation.unmet(&fleet.view.summary);
    if unmet.is_empty() {
        return Ok(Exit::Done);
    }
    Err(Problem::new("E0671", msg!("expect-unmet", list = unmet.join("; "))))
}

/// The answer first: how many are confirmed clean of how many that should be there, and what is exposed.
pub(crate) fn headline(app: &App, view: &FleetView) -> String {
    let Summary {
        expected,
        enrolled: _,
        clean,
        no_finding,
        suspect,
        compromised,
        unassessed,
        exposed,
        cut,
        failed,
        stale,
        never_enrolled,
    } = view.summary;
    let at = time::clock(view.computed_at_ms);
    let first = msg!(
        "status-answer",
        clean = clean,
        expected = expected,
        exposed = exposed,
        at = at,
        zone = time::zone()
    );
    let parts = [
        msg!("status-cut", count = cut),
        msg!("status-failed", count = failed),
        msg!("status-compromised", count = compromised),
        msg!("status-suspect", count = suspect),
        msg!("status-no-finding", count = no_finding),
        msg!("status-unassessed", count = unassessed),
        msg!("status-stale", count = stale),
        msg!("status-never", count = never_enrolled),
    ];
    let parts: Vec<String> = parts.iter().map(|part| app.say(part)).collect();
    let separator = format!(" {} ", app.glyphs.dot());
    format!("{}\n{}", app.glyphs.bold(&app.say(&first)), parts.join(&separator))
}

#[derive(Debug, Deserialize)]
struct HostEvent {
    host: HostView,
}

/// Whether the controller answers. While it does not, nothing on the screen is current, and that is said.
#[derive(Debug, Default)]
struct Outage {
    said: bool,
}

impl Outage {
    fn begins(&mut self, app: &App, session: &Session) {
        if !self.said {
            let at = time::clock(time::now());
            app.note(&msg!("watch-lost", at = at, address = session.client.address()));
        }
        self.said = true;
    }

    fn ends(&mut self, app: &App, view: &FleetView) {
        if std::mem::take(&mut self.said) {
            app.note_text(&headline(app, view));
        }
    }
}

/// Prints what changes, one line a change, also over lost connections.
async fn watch(app: &App, session: &Session, fleet: Fleet, args: &Status) -> Outcome<Exit> {
    if !matches!(args.output, Format::Jsonl | Format::Json) {
        output::print(&headline(app, &fleet.view))?;
    }
    let mut known: BTreeMap<HostId, HostView> =
        fleet.view.hosts.into_iter().map(|h| (h.name.clone(), h)).collect();
    let mut events = Events::open(&session.client).await?;
    let mut compare_at = tokio::time::Instant::now() + COMPARE_EVERY;
    let mut pause = RECONNECT.0;
    let mut outage = Outage::default();
    loop {
        let event = match tokio::time::timeout_at(compare_at, events.next()).await {
            Err(_) => None,
            Ok(Ok(event)) => {
                pause = RECONNECT.0;
                Some(event)
            }
            Ok(Err(problem)) if problem.exit() == Exit::Unreachable => {
                outage.begins(app, session);
                // What fell silent meanwhile is asked for as soon as somebody answers.
                compare_at = tokio::time::Instant::now();
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(RECONNECT.1);
                continue;
            }
            Ok(Err(problem)) => return Err(problem),
        };
        match event {
            Some(event) if event.kind == "host" => {
                let unreadable =
                    || Problem::new("E0623", msg!("controller-unreadable", path = "/api/v1/events"));
                let HostEvent { host } = serde_json::from_str(&event.data).or_problem(unreadable)?;
                // A host that the signed inventory does not name, or with another key, waits for the
                // comparison, which says so.
                let agrees =
                    |old: &HostView| old.host_key == host.host_key && old.incarnation == host.incarnation;
                let shown = |h: &HostView| (h.links, h.verdict, h.fresh, h.exposed);
                let news = known.get(&host.name).map(shown) != Some(shown(&host));
                if news && proofs::reassures(&host) {
                    // Good news is shown once the documents behind it were read and verified.
                    compare_at = compare_at.min(tokio::time::Instant::now() + VERIFY_AFTER);
                } else if known.get(&host.name).is_some_and(agrees) {
                    change(app, args, &mut known, host)?;
                }
            }
            Some(event) if event.kind == "order" || event.kind == "ping" => {}
            Some(_) | None => {
                compare_at = tokio::time::Instant::now() + COMPARE_EVERY;
                match fleet::load(app, session).await {
                    Ok(now) => {
                        outage.ends(app, &now.view);
                        for host in now.view.hosts {
                            change(app, args, &mut known, host)?;
                        }
                    }
                    Err(problem) if problem.exit() == Exit::Unreachable => outage.begins(app, session),
                    Err(problem) => return Err(problem),
                }
            }
        }
    }
}

fn change(app: &App, args: &Status, known: &mut BTreeMap<HostId, HostView>, new: HostView) -> Outcome<()> {
    let old = known.insert(new.name.clone(), new.clone());
    let matches = |h: &HostView| {
        args.labels.iter().all(|l| l.hold(&h.labels))
            && (args.state.is_empty() || args.state.iter().any(|s| s.holds(h)))
    };
    if !matches(&new) && !old.as_ref().is_some_and(matches) {
        return Ok(());
    }
    for line in changes(app, old.as_ref(), &new) {
        if matches!(args.output, Format::Jsonl | Format::Json) {
            let value = serde_json::to_string(&new).or_problem(|| Problem::of("E0605"))?;
            return output::print(&value);
        }
        output::print(&format!("{}  {:<12} {line}", time::clock(time::now()), new.name))?;
    }
    Ok(())
}

/// What is different, one text a change; empty if nothing that people look at is.
fn changes(app: &App, old: Option<&HostView>, new: &HostView) -> Vec<String> {
    let Some(old) = old else { return vec![app.say(&msg!("watch-new"))] };
    let arrow = app.glyphs.arrow();
    let mut lines = Vec::new();
    if old.links != new.links {
        let order = new
            .order_id
            .map_or_else(String::new, |id| format!("   {} {}", app.say(&msg!("word-order")), id.short()));
        let (from, to) = (app.say(&words::links(old.links)), app.say(&words::links(new.links)));
        lines.push(format!("{from} {arrow} {to}{order}"));
    }
    if old.verdict != new.verdict {
        let by: Vec<String> = new.verdict_by.iter().map(ToString::to_string).collect();
        let signed = if by.is_empty() { String::new() } else { format!("   {}", by.join(", ")) };
        let lapsed =
            new.lapsed.as_ref().map_or_else(String::new, |why| format!("   {}", output::printable(why)));
        let (from, to) = (app.say(&words::verdict(old.verdict)), app.say(&words::verdict(new.verdict)));
        lines.push(format!("{from} {arrow} {to}{signed}{lapsed}"));
    }
    if old.fresh != new.fresh {
        lines.push(app.say(&if new.fresh { msg!("watch-back") } else { msg!("watch-silent") }));
    }
    let news = |now: &[String], before: &[String]| -> Vec<String> {
        now.iter().filter(|text| !before.contains(text)).map(|text| output::printable(text)).collect()
    };
    lines.extend(news(&new.drift, &old.drift));
    lines.extend(news(&new.alarms, &old.alarms));
    lines
}
