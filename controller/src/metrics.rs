//! Figures for Prometheus. Gauges are taken from the view at each scrape, so that they cannot disagree
//! with any screen; counters count what passed. No host or order stands in a counter's labels, no
//! address in any.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use digue_proto::fleet::view::{FleetView, OrderState, OrderView, Phase, Verdict};
use digue_proto::id::{Digest, HostId};
use digue_proto::report::{Links, Outcome};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::documents::HostDocument;

/// Hosts beyond which no series a host is written.
const MAX_HOST_SERIES: usize = 2000;
/// Orders whose durations are still measured.
const MAX_MEASURED: usize = 1024;
/// Upper bounds of the phase durations, in seconds.
const SECONDS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 600.0];

type Text = String;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HostsLabels {
    verdict: &'static str,
    links: &'static str,
    freshness: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HostLabels {
    host: Text,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabels {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    action: &'static str,
    result: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    action: &'static str,
    phase: Answer,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: Text,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabels {
    version: &'static str,
}

/// What a receipt says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
enum Answer {
    Acknowledged,
    Applied,
    Verified,
    Failed,
    Refused,
}

/// The counters of this run.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    orders: Family<ResultLabels, Counter>,
    drifts: Counter,
    rejected: Family<ReasonLabels, Counter>,
    sessions_ended: Family<ReasonLabels, Counter>,
    /// Watchers of the event stream.
    pub(crate) sse_clients: Gauge,
    durations: Durations,
}

#[derive(Debug)]
struct Durations {
    by_phase: Family<PhaseLabels, Histogram, fn() -> Histogram>,
    sealed: Mutex<BTreeMap<Digest, Instant>>,
}

impl Default for Durations {
    fn default() -> Self {
        Self { by_phase: Family::new_with_constructor(|| Histogram::new(SECONDS)), sealed: Mutex::default() }
    }
}

impl Metrics {
    /// An order was sealed now.
    pub(crate) fn sealed(&self, order: Digest, now: Instant) {
        let mut sealed = self.durations.sealed.lock().unwrap_or_else(PoisonError::into_inner);
        if sealed.len() >= MAX_MEASURED {
            let oldest = sealed.iter().min_by_key(|(_, at)| **at).map(|(digest, _)| *digest);
            oldest.map(|digest| sealed.remove(&digest));
        }
        sealed.insert(order, now);
    }

    /// A document changed the view; `action` is the word of the order that it answers.
    pub(crate) fn heard(&self, document: &HostDocument, action: Option<&'static str>) {
        match document {
            HostDocument::Receipt(receipt) => {
                let (phase, action) = (answer(&receipt.value().outcome), action.unwrap_or("unknown"));
                self.orders.get_or_create(&ResultLabels { action, result: phase }).inc();
                let sealed = self.durations.sealed.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(at) = sealed.get(&receipt.value().order) {
                    let seconds = at.elapsed().as_secs_f64();
                    self.durations.by_phase.get_or_create(&PhaseLabels { action, phase }).observe(seconds);
                }
            }
            HostDocument::Report(report) => {
                if !report.value().drift.is_empty() {
                    self.drifts.inc();
                }
            }
        }
    }

    /// A signature or document was refused; `reason` is a stable code.
    pub(crate) fn rejected(&self, reason: &str) {
        self.rejected.get_or_create(&ReasonLabels { reason: reason.to_owned() }).inc();
    }

    /// A connection ended in an unusual way.
    pub(crate) fn session_ended(&self, reason: &'static str) {
        self.sessions_ended.get_or_create(&ReasonLabels { reason: reason.to_owned() }).inc();
    }

    /// Everything, as text.
    pub(crate) fn scrape(
        &self,
        view: &FleetView,
        orders: &[OrderView],
        connected: usize,
        store_healthy: bool,
    ) -> Result<String, std::fmt::Error> {
        let mut registry = Registry::with_prefix("digue");
        let build = Family::<BuildLabels, Gauge>::default();
        build.get_or_create(&BuildLabels { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build_info", "The version that runs", build);
        register_fleet(&mut registry, view);
        register_orders(&mut registry, orders);
        let number = |registry: &mut Registry, name: &str, help: &str, value: i64| {
            let gauge = Gauge::<i64>::default();
            gauge.set(value);
            registry.register(name, help, gauge);
        };
        number(&mut registry, "agents_connected", "Connections of hosts of the inventory", count(connected));
        number(&mut registry, "store_healthy", "1 if the last write succeeded", i64::from(store_healthy));
        registry.register("orders", "Receipts that changed the view, by outcome", self.orders.clone());
        registry.register(
            "ruleset_drift",
            "Reports of rules that differ from the rules meant",
            self.drifts.clone(),
        );
        registry.register(
            "signatures_rejected",
            "Documents and signatures refused, by code",
            self.rejected.clone(),
        );
        registry.register("sessions_ended", "Connections ended for cause", self.sessions_ended.clone());
        registry.register("sse_clients", "Watchers of the event stream", self.sse_clients.clone());
        registry.register_with_unit(
            "order_phase_duration",
            "From the moment an order was signed to a host's receipt",
            Unit::Seconds,
            self.durations.by_phase.clone(),
        );
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

const fn answer(outcome: &Outcome) -> Answer {
    match outcome {
        Outcome::Acknowledged {} => Answer::Acknowledged,
        Outcome::Applied {} => Answer::Applied,
        Outcome::Verified {} => Answer::Verified,
        Outcome::Failed { .. } => Answer::Failed,
        Outcome::Refused { .. } => Answer::Refused,
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn whole(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Unassessed => "unassessed",
        Verdict::NoFinding => "no_finding",
        Verdict::Suspect => "suspect",
        Verdict::Compromised => "compromised",
        Verdict::Clean => "clean",
    }
}

fn register_fleet(registry: &mut Registry, view: &FleetView) {
    let hosts = Family::<HostsLabels, Gauge>::default();
    for host in &view.hosts {
        let labels = HostsLabels {
            verdict: verdict(host.verdict),
            links: host.links.map_or("unknown", Links::as_str),
            freshness: if host.fresh { "fresh" } else { "stale" },
        };
        hosts.get_or_create(&labels).inc();
    }
    registry.register("hosts", "Hosts of the signed inventory", hosts);
    for (name, help, value) in [
        ("hosts_expected", "Hosts of the signed inventory", view.summary.expected),
        ("hosts_exposed", "Hosts neither confirmed clean nor cut and verified", view.summary.exposed),
        ("inventory_version", "The inventory in force", view.inventory_version),
    ] {
        let gauge = Gauge::<i64>::default();
        gauge.set(whole(value));
        registry.register(name, help, gauge);
    }
    if view.hosts.len() > MAX_HOST_SERIES {
        return;
    }
    let contact = Family::<HostLabels, Gauge<f64, std::sync::atomic::AtomicU64>>::default();
    let offset = Family::<HostLabels, Gauge<f64, std::sync::atomic::AtomicU64>>::default();
    let labels = |host: &HostId| HostLabels { host: host.as_str().to_owned() };
    for host in &view.hosts {
        if let Some(at) = host.last_contact_ms {
            contact.get_or_create(&labels(&host.name)).set(seconds(whole(at.0)));
        }
        if let Some(ms) = host.clock_offset_ms {
            offset.get_or_create(&labels(&host.name)).set(seconds(ms));
        }
    }
    let help = "When a host was last heard";
    registry.register_with_unit("host_last_report_timestamp", help, Unit::Seconds, contact);
    let help = "A host's wall clock minus the controller's";
    registry.register_with_unit("host_clock_offset", help, Unit::Seconds, offset);
}

#[expect(clippy::cast_precision_loss, reason = "a double holds milliseconds exactly for 285,000 years")]
fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

fn register_orders(registry: &mut Registry, orders: &[OrderView]) {
    let open = Family::<StateLabels, Gauge>::default();
    for order in orders {
        let unconfirmed = order.hosts.iter().any(|host| host.phase < Phase::Acknowledged);
        let state = match order.state {
            OrderState::AwaitingSignatures => "awaiting_signatures",
            OrderState::Sealed if unconfirmed => "unconfirmed",
            OrderState::Sealed | OrderState::Cancelled => continue,
        };
        open.get_or_create(&StateLabels { state }).inc();
    }
    registry.register("orders_open", "Orders that wait for signatures or for hosts", open);
}
