//! From folded documents to events: what was touched is noted, and told a moment later as it then is.
//!
//! Many documents of one order thus become one event. Time changes views too (a host falls silent, a
//! clean statement ends), so once a second the whole fleet is compared with what was last told.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use digue_proto::fleet::Fleet;
use digue_proto::fleet::view::{HostView, OrderView};
use digue_proto::id::{Digest, HostId, UnixMillis};
use serde::Serialize;
use tokio::sync::Notify;

use crate::events::{Events, Kind};

/// Changes of one moment are told together.
const GATHER: Duration = Duration::from_millis(20);
/// The same for orders with more hosts than [`MANY`], whose views are long.
const GATHER_MANY: Duration = Duration::from_millis(500);
/// See [`GATHER_MANY`].
const MANY: usize = 500;

#[derive(Default)]
struct Touched {
    hosts: BTreeSet<HostId>,
    orders: BTreeSet<Digest>,
}

/// What changed since it was last told.
pub(crate) struct Changes {
    /// The stream.
    pub(crate) events: Events,
    touched: Mutex<Touched>,
    told: Mutex<HashMap<HostId, HostView>>,
    wake: Notify,
}

#[derive(Serialize)]
struct HostEvent<'a> {
    host: &'a HostView,
}

#[derive(Serialize)]
struct OrderEvent<'a> {
    order: &'a OrderView,
}

#[derive(Serialize)]
struct InventoryEvent {
    version: u64,
}

impl Changes {
    /// Nothing has changed yet. Event numbers grow across restarts, so they begin at the time.
    pub(crate) fn new(now: UnixMillis) -> Self {
        Self {
            events: Events::new(now.0.saturating_mul(1000)),
            touched: Mutex::default(),
            told: Mutex::default(),
            wake: Notify::new(),
        }
    }

    fn touched(&self) -> MutexGuard<'_, Touched> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A host may look different.
    pub(crate) fn host(&self, host: &HostId) {
        self.touched().hosts.insert(host.clone());
        self.wake.notify_one();
    }

    /// An order may look different.
    pub(crate) fn order(&self, order: Digest) {
        self.touched().orders.insert(order);
        self.wake.notify_one();
    }

    /// Another inventory is in force.
    pub(crate) fn inventory(&self, version: u64) {
        self.push(Kind::Inventory, &InventoryEvent { version });
        self.wake.notify_one();
    }

    fn push<T: Serialize>(&self, kind: Kind, data: &T) {
        match serde_json::to_string(data) {
            Ok(json) => self.events.push(kind, json),
            Err(error) => tracing::error!(%error, "an event could not be written"),
        }
    }

    /// Waits until something was touched, and then a moment for more of it.
    pub(crate) async fn gather(&self, hosts: usize) {
        self.wake.notified().await;
        tokio::time::sleep(if hosts > MANY { GATHER_MANY } else { GATHER }).await;
    }

    /// Tells what was touched.
    pub(crate) fn tell(&self, fleet: &Fleet, now: UnixMillis) {
        let Touched { hosts, orders } = std::mem::take(&mut *self.touched());
        let views = hosts.iter().filter_map(|host| fleet.host_view(host, now));
        self.tell_hosts(views);
        for view in orders.into_iter().filter_map(|order| fleet.order_view(order)) {
            self.push(Kind::Order, &OrderEvent { order: &view });
        }
    }

    /// Tells every host that looks different from what was last told.
    pub(crate) fn tell_all(&self, fleet: &Fleet, now: UnixMillis) {
        self.tell_hosts(fleet.view(now).hosts.into_iter());
    }

    fn tell_hosts(&self, views: impl Iterator<Item = HostView>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        for view in views {
            let plain = without_contact(&view);
            if told.get(&view.name) != Some(&plain) {
                self.push(Kind::Host, &HostEvent { host: &view });
                told.insert(view.name.clone(), plain);
            }
        }
    }
}

/// A view without what changes with every heartbeat and interests nobody by itself.
fn without_contact(view: &HostView) -> HostView {
    HostView { last_contact_ms: None, clock_offset_ms: None, ..view.clone() }
}
