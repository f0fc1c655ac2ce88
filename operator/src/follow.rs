//! Following an order until every host is settled: what was ordered, received, applied and verified are
//! four facts, and only the last one ends the waiting well.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use digue_proto::fleet::view::{OrderHostView, OrderState, OrderView, Phase};
use digue_proto::id::{HostId, OrderId};
use digue_proto::order::{Action, LeafV1, OrderV1};
use digue_proto::report::{Links, ReportV1};
use digue_proto::trust::InventoryV1;
use serde::Deserialize;
use tokio::time::Instant;

use crate::app::{App, Session};
use crate::client::api::OrderDetail;
use crate::client::events::Events;
use crate::message::msg;
use crate::output;
use crate::problem::{Exit, Outcome, Problem};
use crate::reports;
use crate::state_words as words;
use crate::time;

/// How often the order is asked for when no event comes.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How long a failed host may still come round (its agent tries again) once all others are settled.
const FAILED_GRACE: Duration = Duration::from_secs(10);
/// How long a host's report may come after its receipt.
const REPORT_GRACE: Duration = Duration::from_secs(15);
/// Pause between two looks at a late report.
const REPORT_PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, Deserialize)]
struct OrderEvent {
    order: OrderView,
}

/// How many hosts reached what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    targets: usize,
    sent: usize,
    acknowledged: usize,
    applied: usize,
    verified: usize,
    failed: usize,
    refused: usize,
    superseded: usize,
    waiting: usize,
}

impl Counts {
    /// Counts the hosts of an order; a later phase includes the earlier ones.
    pub(crate) fn of(hosts: &[OrderHostView]) -> Self {
        let mut counts = Self { targets: hosts.len(), ..Self::default() };
        for host in hosts {
            let (sent, acknowledged, applied) = match host.phase {
                Phase::Waiting => (0, 0, 0),
                Phase::Sent | Phase::Refused | Phase::Superseded => (1, 0, 0),
                Phase::Acknowledged | Phase::Failed => (1, 1, 0),
                Phase::Applied | Phase::Verified => (1, 1, 1),
            };
            counts.sent += sent;
            counts.acknowledged += acknowledged;
            counts.applied += applied;
            counts.waiting += usize::from(host.phase == Phase::Waiting);
            counts.verified += usize::from(host.phase == Phase::Verified);
            counts.failed += usize::from(host.phase == Phase::Failed);
            counts.refused += usize::from(host.phase == Phase::Refused);
            counts.superseded += usize::from(host.phase == Phase::Superseded);
        }
        counts
    }

    const fn settled(self) -> bool {
        self.targets > 0 && self.verified + self.refused + self.superseded == self.targets
    }

    const fn settled_but_for_failures(self) -> bool {
        self.targets > 0 && self.verified + self.refused + self.superseded + self.failed == self.targets
    }

    fn line(self, app: &App, id: OrderId, since: Duration) -> String {
        let elapsed = time::elapsed(time::millis(since), &app.say(&msg!("unit-day")));
        format!("{}    {elapsed}", self.summary(app, id))
    }

    /// The counts in one line.
    pub(crate) fn summary(self, app: &App, id: OrderId) -> String {
        let dot = app.glyphs.dot();
        let mut parts = vec![
            app.say(&msg!("progress-sent", id = id.short(), sent = self.sent, targets = self.targets)),
            app.say(&msg!("progress-acknowledged", count = self.acknowledged)),
            app.say(&msg!("progress-applied", count = self.applied)),
            app.say(&msg!("progress-verified", count = self.verified)),
            app.say(&msg!("progress-failed", count = self.failed)),
        ];
        if self.refused > 0 {
            parts.push(app.say(&msg!("progress-refused", count = self.refused)));
        }
        if self.superseded > 0 {
            parts.push(app.say(&msg!("progress-superseded", count = self.superseded)));
        }
        parts.push(app.say(&msg!("progress-no-contact", count = self.waiting)));
        parts.join(&format!(" {dot} "))
    }
}

/// A progress line: redrawn on a terminal, appended elsewhere.
struct Progress {
    redraw: bool,
    last: Option<Counts>,
    started: Instant,
}

impl Progress {
    fn new() -> Self {
        let dumb = std::env::var("TERM").is_ok_and(|t| t == "dumb");
        Self { redraw: std::io::stderr().is_terminal() && !dumb, last: None, started: Instant::now() }
    }

    fn show(&mut self, app: &App, id: OrderId, counts: Counts) {
        if self.last == Some(counts) && !self.redraw {
            return;
        }
        self.last = Some(counts);
        let line = counts.line(app, id, self.started.elapsed());
        if self.redraw {
            // A closed standard error must not stop the waiting.
            let _closed =
                write!(std::io::stderr(), "\r\x1b[K{line}").and_then(|()| std::io::stderr().flush());
        } else {
            app.note_text(&line);
        }
    }

    fn end(&self, app: &App) {
        if self.redraw {
            app.note_text("");
        }
    }
}

/// Asks for one order.
pub(crate) async fn ask(session: &Session, id: OrderId) -> Outcome<OrderDetail> {
    session.client.get(&format!("/api/v1/orders/{id}")).await
}

/// How the waiting ended.
pub(crate) struct Followed {
    /// The order as last seen.
    pub(crate) view: OrderView,
    /// Whether the time ran out.
    pub(crate) timed_out: bool,
}

/// Progress on exactly the hosts that were signed: one that the controller adds counts for nothing, and one
/// that it leaves out is waited for. An order to all (no leaves) is taken as shown.
fn bound(mut view: OrderView, leaves: &[LeafV1]) -> OrderView {
    if leaves.is_empty() {
        return view;
    }
    let shown = std::mem::take(&mut view.hosts).into_iter();
    let mut shown: BTreeMap<HostId, OrderHostView> = shown.map(|h| (h.host.clone(), h)).collect();
    let silent = |host: &HostId| OrderHostView {
        host: host.clone(),
        phase: Phase::Waiting,
        code: None,
        detail: None,
        remarks: Vec::new(),
        at_ms: None,
    };
    let host = |leaf: &LeafV1| shown.remove(&leaf.host_id).unwrap_or_else(|| silent(&leaf.host_id));
    view.hosts = leaves.iter().map(host).collect();
    view
}

/// Follows an order until it is settled or the time is over.
pub(crate) async fn follow(
    app: &App,
    session: &Session,
    id: OrderId,
    leaves: &[LeafV1],
    timeout: Duration,
) -> Outcome<Followed> {
    let deadline = Instant::now() + timeout;
    let mut progress = Progress::new();
    // The stream is opened before the order is asked for: nothing falls in between.
    let mut events = Events::open(&session.client).await?;
    let mut view = bound(ask(session, id).await?.order, leaves);
    let mut failing_since: Option<Instant> = None;
    loop {
        if view.state == OrderState::Cancelled {
            progress.end(app);
            return Err(Problem::new("E0652", msg!("order-was-cancelled", id = id.short())));
        }
        let counts = Counts::of(&view.hosts);
        progress.show(app, id, counts);
        if counts.settled() {
            progress.end(app);
            return Ok(Followed { view, timed_out: false });
        }
        if !counts.settled_but_for_failures() {
            failing_since = None;
        } else if failing_since.get_or_insert_with(Instant::now).elapsed() >= FAILED_GRACE {
            progress.end(app);
            return Ok(Followed { view, timed_out: false });
        }
        if Instant::now() >= deadline {
            progress.end(app);
            return Ok(Followed { view, timed_out: true });
        }
        let look_again = (Instant::now() + ASK_EVERY).min(deadline);
        if let Some(newer) = next_view(&mut events, id, look_again).await? {
            view = bound(newer, leaves);
            continue;
        }
        // Neither the stream nor an answer for this long: ask, and go on waiting if nobody answers.
        match ask(session, id).await {
            Ok(detail) => view = bound(detail.order, leaves),
            Err(problem) if problem.exit() == Exit::Unreachable => {
                tokio::time::sleep(Duration::from_secs(1)).await
            }
            Err(problem) => return Err(problem),
        }
    }
}

/// The next view of this order from the stream, or nothing until `until`.
async fn next_view(events: &mut Events<'_>, id: OrderId, until: Instant) -> Outcome<Option<OrderView>> {
    loop {
        let event = match tokio::time::timeout_at(until, events.next()).await {
            Err(_) => return Ok(None),
            Ok(Ok(event)) => event,
            Ok(Err(problem)) if problem.exit() == Exit::Unreachable => {
                tokio::time::sleep_until(until).await;
                return Ok(None);
            }
            Ok(Err(problem)) => return Err(problem),
        };
        if event.kind == "resync" {
            return Ok(None);
        }
        if event.kind == "order"
            && let Ok(OrderEvent { order }) = serde_json::from_str(&event.data)
            && order.order_id == id
        {
            return Ok(Some(order));
        }
    }
}

/// Whether a host's own signed report says what a verified order means.
fn report_agrees(report: &ReportV1, order: &OrderV1) -> bool {
    let head = (order.gen_epoch, order.generation);
    let accepted = report.heads.iter().any(|h| h.stream == order.stream && h.order() >= head);
    let superseded = report.heads.iter().any(|h| h.stream == order.stream && h.order() > head);
    let state = match &order.action {
        Action::Contain { policy, .. } | Action::Adjust { policy } => {
            report.policy == *policy && report.links == Links::Cut && report.proofs.verified()
        }
        Action::Release { .. } => !report.policy.contains() && report.links == Links::Open,
        Action::Block { blocked } | Action::Unblock { blocked } => {
            report.blocked == *blocked && report.drift.is_empty()
        }
        Action::Report {} => true,
    };
    accepted && (superseded || state)
}

/// Reads the signed report of each host that the controller calls verified, so that its word alone does
/// not end the waiting (C14). Returns the hosts whose report does not say so.
pub(crate) async fn unconfirmed(
    session: &Session,
    inventory: &InventoryV1,
    order: &OrderV1,
    view: &OrderView,
) -> Outcome<Vec<String>> {
    let deadline = Instant::now() + REPORT_GRACE;
    let verified = view.hosts.iter().filter(|h| h.phase == Phase::Verified);
    let mut open: Vec<_> = verified.map(|h| h.host.clone()).collect();
    loop {
        let mut still = Vec::new();
        for host in open {
            let report = match inventory.host(&host) {
                Some(listed) => reports::fetch(session, listed).await?,
                None => None,
            };
            if !report.is_some_and(|report| report_agrees(&report, order)) {
                still.push(host);
            }
        }
        if still.is_empty() || Instant::now() >= deadline {
            return Ok(still.iter().map(ToString::to_string).collect());
        }
        open = still;
        tokio::time::sleep(REPORT_PAUSE).await;
    }
}

/// Says how an order ended, and the exit code that belongs to it.
pub(crate) async fn conclude(
    app: &App,
    session: &Session,
    inventory: &InventoryV1,
    order: &OrderV1,
    followed: &Followed,
) -> Outcome<Exit> {
    let view = &followed.view;
    for host in
        view.hosts.iter().filter(|h| matches!(h.phase, Phase::Failed | Phase::Refused | Phase::Superseded))
    {
        let detail = output::printable(host.detail.as_deref().unwrap_or_default());
        let code = host
            .code
            .as_deref()
            .map_or_else(String::new, |code| format!(" (digue-{})", output::printable(code)));
        let phase = app.say(&words::phase(host.phase));
        app.note_text(&format!("{} {}: {phase} {detail}{code}", app.glyphs.holds(false), host.host));
    }
    let waiting: Vec<_> = view.hosts.iter().filter(|h| h.phase == Phase::Waiting).map(|h| &h.host).collect();
    if !waiting.is_empty() {
        app.note(&msg!("order-waits-for", list = crate::plan::show::names(waiting.into_iter())));
    }
    let between = |phase| matches!(phase, Phase::Sent | Phase::Acknowledged | Phase::Applied);
    let unsettled: Vec<String> = view
        .hosts
        .iter()
        .filter(|h| between(h.phase))
        .map(|h| format!("{} ({})", h.host, app.say(&words::phase(h.phase))))
        .collect();
    if !unsettled.is_empty() {
        let id = order.order_id.short();
        app.note(&msg!("order-unsettled", list = unsettled.join(", "), id = id));
    }
    let unconfirmed = unconfirmed(session, inventory, order, view).await?;
    let counts = Counts::of(&view.hosts);
    let confirmed = counts.verified - unconfirmed.len();
    output::print(&app.say(&msg!("order-result", confirmed = confirmed, targets = counts.targets)))?;
    if !unconfirmed.is_empty() {
        let list = unconfirmed.join(", ");
        return Err(Problem::new("E0691", msg!("order-unconfirmed", list = list)));
    }
    if confirmed == counts.targets {
        return Ok(Exit::Done);
    }
    let open = counts.targets - confirmed;
    Err(Problem::new(if followed.timed_out { "E0690" } else { "E0691" }, msg!("order-open", count = open)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, phase: Phase) -> OrderHostView {
        OrderHostView {
            host: name.parse().expect("name"),
            phase,
            code: None,
            detail: None,
            remarks: Vec::new(),
            at_ms: None,
        }
    }

    #[test]
    fn a_later_phase_counts_for_the_earlier_ones_and_an_unsent_order_for_none() {
        let hosts = [host("a", Phase::Verified), host("b", Phase::Acknowledged), host("c", Phase::Waiting)];
        let counts = Counts::of(&hosts);
        assert_eq!(
            (counts.sent, counts.acknowledged, counts.applied, counts.verified, counts.waiting),
            (2, 2, 1, 1, 1)
        );
        assert!(!counts.settled());
    }

    #[test]
    fn a_refused_host_is_settled_and_a_failed_one_may_come_round() {
        assert!(Counts::of(&[host("a", Phase::Verified), host("b", Phase::Refused)]).settled());
        let failed = Counts::of(&[host("a", Phase::Verified), host("b", Phase::Failed)]);
        assert!(!failed.settled() && failed.settled_but_for_failures());
        assert!(!Counts::of(&[]).settled());
    }

    #[test]
    fn a_host_that_the_controller_leaves_out_of_an_order_is_waited_for_and_an_added_one_is_not_counted() {
        let key = crate::fleet::tests::inventory_host("a", 1).fingerprint().expect("a key");
        let leaf = |name: &str| LeafV1 {
            host_id: name.parse().expect("name"),
            host_key: key.clone(),
            challenge: None,
            clean: None,
        };
        let view = OrderView {
            order_id: digue_proto::id::Nonce::from_bytes([1; 16]),
            digest: digue_proto::id::Digest::of(b"o"),
            state: OrderState::Sealed,
            payload_type: digue_proto::envelope::PayloadType::Protect,
            stream: digue_proto::order::Stream::Net,
            generation: 1,
            action: "cut".to_owned(),
            incident: String::new(),
            reason: String::new(),
            issued_at_ms: digue_proto::id::UnixMillis(1),
            not_after_ms: digue_proto::id::UnixMillis(2),
            signers: Vec::new(),
            needed: 1,
            hosts: vec![host("a", Phase::Verified), host("ghost", Phase::Verified)],
        };
        assert!(Counts::of(&view.hosts).settled());
        let counts = Counts::of(&bound(view, &[leaf("a"), leaf("b")]).hosts);
        assert_eq!((counts.targets, counts.verified, counts.waiting), (2, 1, 1));
        assert!(!counts.settled());
    }
}
