//! The projection of the fleet into what people see. The counts are computed here and nowhere else.

use crate::fleet::view::{API_VERSION, FleetView, HostView, OrderView, Summary, Verdict};
use crate::fleet::{Fleet, orders};
use crate::id::{Digest, HostId, OrderId, UnixMillis};
use crate::key::PublicKey;
use crate::report::Links;
use crate::trust::InventoryHost;

impl Fleet {
    /// The whole fleet at a time: exactly the hosts of the signed inventory.
    pub fn view(&self, now: UnixMillis) -> FleetView {
        let listed = self.inventory().map_or(&[][..], |inventory| &inventory.value().hosts);
        let hosts: Vec<HostView> = listed.iter().map(|host| self.project(host, now)).collect();
        FleetView {
            api_version: API_VERSION.to_owned(),
            computed_at_ms: now,
            inventory_version: self.inventory().map_or(0, |inventory| inventory.value().version),
            summary: summarise(&hosts),
            hosts,
        }
    }

    /// One host at a time; `None` if the signed inventory does not name it.
    pub fn host_view(&self, host: &HostId, now: UnixMillis) -> Option<HostView> {
        self.inventory_host(host).map(|host| self.project(host, now))
    }

    /// One order; `None` if there is none with this digest.
    pub fn order_view(&self, digest: Digest) -> Option<OrderView> {
        let entry = self.orders.entry(digest)?;
        Some(orders::order_view(digest, entry, self.trust(), |host| self.hosts.get(host)))
    }

    /// Every order, oldest first.
    pub fn order_views(&self) -> Vec<OrderView> {
        let view =
            |(digest, entry)| orders::order_view(digest, entry, self.trust(), |host| self.hosts.get(host));
        self.orders().map(view).collect()
    }

    fn unconfirmed(&self, host: &HostId, key: &PublicKey) -> Vec<OrderId> {
        self.open_orders(host, key).map(|(_, entry)| entry.order().order_id).collect()
    }

    fn project(&self, host: &InventoryHost, now: UnixMillis) -> HostView {
        let unheard = super::host::HostState::default();
        let state = self.hosts.get(&host.host_id).unwrap_or(&unheard);
        let judged = self.statements.judge(host, state, now);
        let report = state.report().map(crate::verify::Verified::value);
        let (links, fresh) = (state.links(), state.fresh(now));
        let clean = fresh && judged.verdict == Verdict::Clean;
        let cut = fresh && links == Some(Links::Cut);
        let host_says = report.map_or(&[][..], |r| &r.alarms);
        let alarms = host_says.iter().map(|alarm| format!("{}: {}", alarm.kind, alarm.detail));
        HostView {
            name: host.host_id.clone(),
            enrolled: host.host_key.is_some(),
            host_key: host.fingerprint(),
            incarnation: host.incarnation,
            labels: host.labels.clone(),
            verdict: judged.verdict,
            lapsed: judged.lapsed,
            verdict_by: judged.by,
            assurance: judged.assurance,
            links,
            fresh,
            exposed: !clean && !cut,
            level: report.map(|r| r.level),
            proofs: report.map(|r| r.proofs.clone()),
            drift: report.map_or_else(Vec::new, |r| r.drift.clone()),
            alarms: alarms.chain(state.remarks()).collect(),
            last_contact_ms: state.contact(),
            reported_at_ms: report.map(|r| r.clocks.wall_ms),
            boot_id: state.boot_id().map(str::to_owned),
            clock_offset_ms: state.offset_ms(),
            root_version: state.root_version(),
            order_id: report.and_then(|r| r.order_id),
            unconfirmed: host
                .host_key
                .as_ref()
                .map_or_else(Vec::new, |key| self.unconfirmed(&host.host_id, key)),
            heads: report.map_or_else(Vec::new, |r| r.heads.clone()),
            challenge: state.challenge(),
            chain_gaps: state.chain().gaps(),
            clean_statement: judged.clean_statement,
        }
    }
}

/// Counts hosts. Stale hosts stand in no column that would reassure.
pub fn summarise(hosts: &[HostView]) -> Summary {
    let count = |holds: fn(&HostView) -> bool| hosts.iter().filter(|host| holds(host)).count() as u64;
    Summary {
        expected: hosts.len() as u64,
        enrolled: count(|h| h.enrolled),
        clean: count(|h| h.verdict == Verdict::Clean && h.fresh),
        no_finding: count(|h| h.verdict == Verdict::NoFinding),
        suspect: count(|h| h.verdict == Verdict::Suspect),
        compromised: count(|h| h.verdict == Verdict::Compromised),
        unassessed: count(|h| h.verdict == Verdict::Unassessed),
        exposed: count(|h| h.exposed),
        cut: count(|h| h.links == Some(Links::Cut) && h.fresh),
        failed: count(|h| h.links == Some(Links::Failed)),
        stale: count(|h| h.enrolled && !h.fresh),
        never_enrolled: count(|h| !h.enrolled),
    }
}
