//! Which agents are connected, and the bounded queues towards them.
//!
//! One connection a host key: the newest wins. A queue that is full loses the frame, not the order: the
//! fleet still holds it and it is offered again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use digue_proto::id::{Digest, HostId};
use digue_proto::key::PublicKey;
use tokio::sync::{mpsc, watch};

/// Frames that may wait for one agent.
const QUEUE: usize = 64;
/// A connection displaced this often...
const FLAPPING_TIMES: usize = 3;
/// ...within this time raises the alarm: two machines may share one key.
const FLAPPING_WITHIN: Duration = Duration::from_secs(120);
/// An order that was sent and not answered is sent again after this time.
const SEND_AGAIN: Duration = Duration::from_secs(15);

/// A frame on its way to an agent.
#[derive(Debug, Clone)]
pub(crate) struct Outgoing {
    /// The frame with its length.
    pub(crate) frame: Bytes,
    /// The order in it, if it carries one.
    pub(crate) order: Option<Digest>,
}

struct Connection {
    id: u64,
    key: PublicKey,
    queue: mpsc::Sender<Box<Outgoing>>,
    /// Dropped to end the connection.
    _alive: watch::Sender<()>,
    offered: HashMap<Digest, Instant>,
}

#[derive(Default)]
struct Connections {
    next: u64,
    by_host: HashMap<HostId, Connection>,
    displaced: HashMap<HostId, VecDeque<Instant>>,
}

/// The connected agents.
#[derive(Default)]
pub(crate) struct Hub(Mutex<Connections>);

/// One agent's side of the hub.
pub(crate) struct Seat {
    /// Tells this connection from later ones of the same host.
    pub(crate) id: u64,
    /// What to send.
    pub(crate) outgoing: mpsc::Receiver<Box<Outgoing>>,
    /// For what answers the agent itself.
    pub(crate) queue: mpsc::Sender<Box<Outgoing>>,
    /// Errs as soon as the connection has to end.
    pub(crate) alive: watch::Receiver<()>,
    /// Whether connections of this host displace each other.
    pub(crate) flapping: bool,
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the place of a host, with what has to be sent before anything else; whoever held it is
    /// disconnected. `None` if `first` is longer than a queue.
    pub(crate) fn join(
        &self,
        host: &HostId,
        key: &PublicKey,
        first: Vec<Bytes>,
        now: Instant,
    ) -> Option<Seat> {
        let (queue, outgoing) = mpsc::channel(QUEUE);
        for frame in first {
            queue.try_send(Box::new(Outgoing { frame, order: None })).ok()?;
        }
        let (alive_sender, alive) = watch::channel(());
        let mut connections = self.lock();
        connections.next += 1;
        let id = connections.next;
        let connection = Connection {
            id,
            key: key.clone(),
            queue: queue.clone(),
            _alive: alive_sender,
            offered: HashMap::new(),
        };
        let displaced = connections.by_host.insert(host.clone(), connection).is_some();
        let flapping = displaced && {
            let times = connections.displaced.entry(host.clone()).or_default();
            times.push_back(now);
            times.retain(|at| now.duration_since(*at) < FLAPPING_WITHIN);
            times.len() >= FLAPPING_TIMES
        };
        Some(Seat { id, outgoing, queue, alive, flapping })
    }

    /// Gives the place up, unless a newer connection has taken it.
    pub(crate) fn leave(&self, host: &HostId, id: u64) {
        let mut connections = self.lock();
        if connections.by_host.get(host).is_some_and(|c| c.id == id) {
            connections.by_host.remove(host);
        }
    }

    /// The hosts that are connected, with the key of each connection.
    pub(crate) fn connected(&self) -> Vec<(HostId, PublicKey)> {
        self.lock().by_host.iter().map(|(host, c)| (host.clone(), c.key.clone())).collect()
    }

    /// How many agents are connected.
    pub(crate) fn count(&self) -> usize {
        self.lock().by_host.len()
    }

    /// Whether an order may be sent to a host now: it is connected, and the order was not sent to it by
    /// this connection a moment ago.
    pub(crate) fn wants(&self, host: &HostId, order: Digest, now: Instant) -> bool {
        self.lock().by_host.get(host).is_some_and(|connection| {
            connection.offered.get(&order).is_none_or(|at| now.duration_since(*at) >= SEND_AGAIN)
        })
    }

    /// Queues a frame; says whether there was room. Without room nothing is lost: it is offered again.
    pub(crate) fn offer(&self, host: &HostId, outgoing: Outgoing, now: Instant) -> bool {
        let mut connections = self.lock();
        let Some(connection) = connections.by_host.get_mut(host) else { return false };
        let order = outgoing.order;
        let queued = connection.queue.try_send(Box::new(outgoing)).is_ok();
        if let Some(order) = order.filter(|_| queued) {
            connection.offered.insert(order, now);
        }
        queued
    }

    /// Queues a frame for every connected agent.
    pub(crate) fn broadcast(&self, frame: &Bytes) {
        for connection in self.lock().by_host.values() {
            let outgoing = Outgoing { frame: frame.clone(), order: None };
            if connection.queue.try_send(Box::new(outgoing)).is_err() {
                tracing::debug!("a full queue: the agent learns of it when it connects again");
            }
        }
    }

    /// Ends the connections for which `stays` does not hold.
    pub(crate) fn keep_only(&self, stays: impl Fn(&HostId, &PublicKey) -> bool) {
        self.lock().by_host.retain(|host, connection| stays(host, &connection.key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> HostId {
        "srv-001".parse().expect("name")
    }
    fn key() -> PublicKey {
        let spki = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).expect("key");
        let spki = rcgen::PublicKeyData::subject_public_key_info(&spki);
        PublicKey::from_ed25519_spki(&spki).expect("key")
    }
    fn order(n: u8) -> Outgoing {
        Outgoing { frame: Bytes::from_static(b"frame"), order: Some(Digest::of(&[n])) }
    }

    #[test]
    fn the_newest_connection_wins_and_the_older_one_does_not_free_its_place() {
        let (hub, key, now) = (Hub::default(), key(), Instant::now());
        let join = || hub.join(&host(), &key, Vec::new(), now).expect("seat");
        let mut first = join();
        let second = join();
        assert!(first.alive.has_changed().is_err(), "the first was not told to end");
        assert!(second.alive.has_changed().is_ok());
        hub.leave(&host(), first.id);
        assert_eq!(hub.count(), 1);
        assert!(hub.offer(&host(), order(1), now));
        assert!(first.outgoing.try_recv().is_err());
        hub.leave(&host(), second.id);
        assert_eq!(hub.count(), 0);
    }

    #[test]
    fn d10_connections_that_displace_each_other_again_and_again_raise_an_alarm() {
        let (hub, key, mut now) = (Hub::default(), key(), Instant::now());
        let join = |now| hub.join(&host(), &key, Vec::new(), now).expect("seat");
        let flapping: Vec<bool> = (0..4).map(|_| join(now).flapping).collect();
        assert_eq!(flapping, [false, false, false, true]);
        now += FLAPPING_WITHIN;
        assert!(!join(now).flapping);
    }

    #[test]
    fn a_full_queue_refuses_a_frame_and_the_order_is_wanted_again_at_once() {
        let (hub, key, now) = (Hub::default(), key(), Instant::now());
        let _seat = hub.join(&host(), &key, Vec::new(), now).expect("seat");
        let queued = (0..=255).take_while(|n| hub.offer(&host(), order(*n), now)).count();
        assert_eq!(queued, QUEUE);
        assert!(hub.wants(&host(), Digest::of(&[64]), now));
        assert!(!hub.wants(&host(), Digest::of(&[3]), now));
        assert!(hub.wants(&host(), Digest::of(&[3]), now + SEND_AGAIN));
    }
}
