//! What changed, numbered, for whoever watches: a bounded ring that a client can rejoin.
//!
//! Deliberately absent: anything a client could not also read by a plain request. A client that was
//! away for longer than the ring reaches is told to start over (`resync`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Most events kept.
const KEPT: usize = 8192;
/// Most bytes of events kept.
const KEPT_BYTES: usize = 16 * 1024 * 1024;

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A host's view changed.
    Host,
    /// An order's view changed.
    Order,
    /// Another inventory is in force.
    Inventory,
    /// Events were missed: read everything anew.
    Resync,
}

impl Kind {
    /// The name on the wire.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Order => "order",
            Self::Inventory => "inventory",
            Self::Resync => "resync",
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its number; grows, also across restarts.
    pub(crate) id: u64,
    /// What it is about.
    pub(crate) kind: Kind,
    /// JSON.
    pub(crate) data: Arc<str>,
}

struct Ring {
    events: VecDeque<Event>,
    bytes: usize,
    next: u64,
}

/// The events of this run.
pub(crate) struct Events {
    ring: Mutex<Ring>,
    newest: watch::Sender<u64>,
}

impl Events {
    /// An empty ring whose numbers begin at `start`.
    pub(crate) fn new(start: u64) -> Self {
        let ring = Ring { events: VecDeque::new(), bytes: 0, next: start };
        Self { ring: Mutex::new(ring), newest: watch::Sender::new(start.saturating_sub(1)) }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event.
    pub(crate) fn push(&self, kind: Kind, data: String) {
        let mut ring = self.lock();
        let id = ring.next;
        ring.next += 1;
        ring.bytes += data.len();
        ring.events.push_back(Event { id, kind, data: data.into() });
        while (ring.events.len() > KEPT || ring.bytes > KEPT_BYTES) && ring.events.len() > 1 {
            let gone = ring.events.pop_front().map_or(0, |event| event.data.len());
            ring.bytes -= gone;
        }
        drop(ring);
        self.newest.send_replace(id);
    }

    /// A place in the stream: behind `last`, or at its end.
    pub(crate) fn watch(&self, last: Option<u64>) -> Cursor {
        Cursor {
            last: last.unwrap_or_else(|| self.lock().next.saturating_sub(1)),
            news: self.newest.subscribe(),
        }
    }

    /// Everything behind the cursor; one `resync` if some of it is gone or was never of this run.
    pub(crate) fn since(&self, cursor: &mut Cursor) -> Vec<Event> {
        let ring = self.lock();
        let newest = ring.next.saturating_sub(1);
        let oldest = ring.events.front().map_or(ring.next, |event| event.id);
        if cursor.last > newest || cursor.last.saturating_add(1) < oldest {
            cursor.last = newest;
            return vec![Event { id: newest, kind: Kind::Resync, data: "{}".into() }];
        }
        let from = ring.events.partition_point(|event| event.id <= cursor.last);
        cursor.last = newest;
        ring.events.range(from..).cloned().collect()
    }
}

/// How far one client has read.
pub(crate) struct Cursor {
    last: u64,
    news: watch::Receiver<u64>,
}

impl Cursor {
    /// Waits until there is something behind the cursor; `false` if nothing will ever come.
    pub(crate) async fn news(&mut self) -> bool {
        let last = self.last;
        self.news.wait_for(|newest| *newest > last).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(events: &[Event]) -> Vec<(u64, Kind)> {
        events.iter().map(|e| (e.id, e.kind)).collect()
    }

    #[test]
    fn a_client_that_comes_back_gets_exactly_what_it_missed() {
        let events = Events::new(100);
        let mut cursor = events.watch(None);
        for n in 0..3 {
            events.push(Kind::Host, n.to_string());
        }
        let all = [(100, Kind::Host), (101, Kind::Host), (102, Kind::Host)];
        assert_eq!(ids(&events.since(&mut cursor)), all);
        assert!(events.since(&mut cursor).is_empty());
        assert_eq!(ids(&events.since(&mut events.watch(Some(100)))), all[1..]);
    }

    #[test]
    fn a_client_from_too_long_ago_or_from_another_run_is_told_to_start_over_once() {
        let events = Events::new(100);
        for _ in 0..=KEPT {
            events.push(Kind::Order, "{}".to_owned());
        }
        for last in [5, 99, u64::MAX] {
            let mut cursor = events.watch(Some(last));
            assert_eq!(ids(&events.since(&mut cursor)), [(100 + KEPT as u64, Kind::Resync)]);
            assert!(events.since(&mut cursor).is_empty());
        }
    }

    #[test]
    fn the_ring_is_bounded_in_bytes_too() {
        let events = Events::new(1);
        for _ in 0..40 {
            events.push(Kind::Order, "x".repeat(1024 * 1024));
        }
        assert!(events.lock().bytes <= KEPT_BYTES);
    }
}
