//! What the kernel says of its own accord: rules changed, cards and routes changed.
//!
//! Our own transactions are heard too; the worker tells them apart, because it knows when it made them.

use std::future::pending;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::drivers::{DriverError, LinkChange, LinkMonitor, Place, RuleChange, RuleMonitor};
use crate::runtime::{CardNews, Event};

/// Until a monitor that failed is opened again.
const REOPEN: Duration = Duration::from_secs(5);
/// Changes of cards and routes come in bursts; the rules are made anew once a burst has ended.
const BURST: Duration = Duration::from_millis(50);
/// A burst that does not end is not waited for any longer.
const LONGEST_BURST: Duration = Duration::from_millis(500);

/// Watches until the runtime ends. A monitor that fails is opened again, and the rules are read back then.
pub async fn watch(lab: bool, events: mpsc::Sender<Event>) {
    tokio::join!(rules(lab, &events), cards(lab, &events));
    pending::<()>().await;
}

async fn rules(lab: bool, events: &mpsc::Sender<Event>) {
    loop {
        let watched = async {
            let mut monitor = open(|| RuleMonitor::open(&Place::current(lab)?))?;
            loop {
                let found = changes(&mut monitor, RuleMonitor::changes).await?;
                if !found.is_empty() && events.send(Event::Rules(found)).await.is_err() {
                    return Ok(());
                }
            }
        };
        let ended: Result<(), MonitorError> = watched.await;
        let Err(error) = ended else { return };
        tracing::error!(%error, "rule_monitor_failed");
        sleep(REOPEN).await;
        if events.send(Event::Rules(vec![RuleChange::Missed])).await.is_err() {
            return;
        }
    }
}

async fn cards(lab: bool, events: &mpsc::Sender<Event>) {
    loop {
        let watched = async {
            let mut monitor = open(|| LinkMonitor::open(&Place::current(lab)?))?;
            loop {
                let first = changes(&mut monitor, LinkMonitor::changes).await?;
                // A renamed card may have lost its chains, so cards do not wait; what follows is gathered.
                let (at_once, later): (Vec<_>, Vec<_>) =
                    first.into_iter().partition(|change| *change != LinkChange::Routes);
                if let Some(news) = news(&at_once)
                    && events.send(Event::Cards(news)).await.is_err()
                {
                    return Ok(());
                }
                let rest = burst(&mut monitor, later).await?;
                if let Some(news) = news(&rest)
                    && events.send(Event::Cards(news)).await.is_err()
                {
                    return Ok(());
                }
            }
        };
        let ended: Result<(), MonitorError> = watched.await;
        let Err(error) = ended else { return };
        tracing::error!(%error, "card_monitor_failed");
        sleep(REOPEN).await;
        let detail = "the kernel's news of cards were not heard for a while".to_owned();
        if events.send(Event::Cards(CardNews { detail, lost: true })).await.is_err() {
            return;
        }
    }
}

/// Gathers what follows closely.
async fn burst(
    monitor: &mut AsyncFd<Watched<LinkMonitor>>,
    mut all: Vec<LinkChange>,
) -> Result<Vec<LinkChange>, MonitorError> {
    let end = Instant::now() + LONGEST_BURST;
    loop {
        tokio::select! {
            more = changes(monitor, LinkMonitor::changes) => all.extend(more?),
            () = sleep(BURST) => return Ok(all),
            () = sleep_until(end) => return Ok(all),
        }
    }
}

/// Says in words what happened; `None` if nothing did.
fn news(changes: &[LinkChange]) -> Option<CardNews> {
    let lost = |change: &LinkChange| matches!(change, LinkChange::Gone { .. } | LinkChange::Missed);
    // What is gone comes first: a crowd of new cards must not push it out of the text.
    let mut words: Vec<(bool, String)> = changes.iter().map(|c| (!lost(c), describe(c))).collect();
    words.sort_unstable();
    words.dedup();
    words.truncate(10);
    let detail = words.into_iter().map(|(_, word)| word).collect::<Vec<_>>().join("; ");
    (!changes.is_empty()).then(|| CardNews { detail, lost: changes.iter().any(lost) })
}

fn describe(change: &LinkChange) -> String {
    match change {
        LinkChange::Card { name, ifindex } => format!("card {name} ({ifindex}) appeared or changed"),
        LinkChange::Gone { name, ifindex } => format!("card {name} ({ifindex}) is gone"),
        LinkChange::Routes => "routes changed".to_owned(),
        LinkChange::TrafficControl { ifindex } => format!("traffic control of card {ifindex} changed"),
        LinkChange::Missed => "the kernel dropped news of cards".to_owned(),
    }
}

/// Why a monitor stopped hearing.
#[derive(Debug, thiserror::Error)]
enum MonitorError {
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error("waiting for the kernel: {0}")]
    Wait(#[from] std::io::Error),
}

/// A monitor as the event loop wants it.
struct Watched<M>(M);

impl<M: AsFd> AsRawFd for Watched<M> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

fn open<M: AsFd>(make: impl FnOnce() -> Result<M, DriverError>) -> Result<AsyncFd<Watched<M>>, MonitorError> {
    #[expect(deprecated, reason = "the safe constructor; a monitor never changes its descriptor")]
    let watched = AsyncFd::with_interest(Watched(make()?), tokio::io::Interest::READABLE);
    Ok(watched?)
}

async fn changes<M: AsFd, C>(
    monitor: &mut AsyncFd<Watched<M>>,
    read: impl Fn(&mut M) -> Result<Vec<C>, DriverError>,
) -> Result<Vec<C>, MonitorError> {
    let mut ready = monitor.readable_mut().await?;
    let found = read(&mut ready.get_inner_mut().0);
    ready.clear_ready();
    Ok(found?)
}
