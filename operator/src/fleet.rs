//! The fleet as the controller shows it, held against the signed inventory.
//!
//! The controller cannot add a host (D8), hide one (D9) or change a key: rows that the signed inventory
//! does not name are dropped, hosts without a row are shown as never measured, and both are said aloud.
//! Nor can it call a host cut or clean that signed documents do not show so ([`crate::proofs`]). The counts
//! are always made here. What remains its word: when it heard a host, its own remarks, and rows that alarm.

use std::collections::BTreeMap;
use std::path::PathBuf;

use digue_proto::envelope::Envelope;
use digue_proto::fleet::summarise;
use digue_proto::fleet::view::{FleetView, HostView, Verdict};
use digue_proto::id::{Digest, HostId};
use digue_proto::trust::{InventoryHost, InventoryV1};
use digue_proto::trust_chain::Trust;
use digue_proto::verify::Verified;

use crate::app::{App, Session};
use crate::client::api;
use crate::files;
use crate::inventory_watch;
use crate::message::{Message, msg};
use crate::plan::show::names;
use crate::problem::{Outcome, Problem};
use crate::proofs;
use crate::time;
use crate::trust_store::TrustStore;

/// How often the view is fetched anew when it and the documents change in between.
const ATTEMPTS: usize = 5;
/// Pause before the view is fetched anew because of doubts.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);
/// How far the controller's clock may lie from this desk's before it is said, in milliseconds.
const CLOCK_ROOM_MS: u64 = 60_000;

/// A view that agrees with the signed inventory.
#[derive(Debug, Clone)]
pub(crate) struct Fleet {
    /// Rows and counts.
    pub(crate) view: FleetView,
    /// The inventory that they count.
    pub(crate) inventory: InventoryV1,
}

impl Fleet {
    /// A row by its host.
    pub(crate) fn host(&self, id: &HostId) -> Option<&HostView> {
        // Rows stand in the order of the inventory, which is sorted by name.
        let at = self.view.hosts.binary_search_by(|h| h.name.cmp(id)).ok()?;
        self.view.hosts.get(at)
    }
}

/// The newest signed inventory, verified; `None` before the first.
pub(crate) async fn inventory(session: &Session) -> Outcome<Option<Verified<InventoryV1>>> {
    let answer: api::Inventory = session.client.get("/api/v1/inventory").await?;
    let Some(envelope) = answer.inventory else { return Ok(None) };
    let refused = || Problem::new("E0646", msg!("inventory-not-verified"));
    let seen = Seen::read(session)?;
    let verified = match session.trust.verify_inventory(&envelope) {
        Ok(verified) => {
            seen.remember(session, verified.value().version, envelope.digest())?;
            verified
        }
        Err(error) if seen.digest == Some(envelope.digest()) => {
            verified_before(session, &envelope)?.ok_or_else(|| refused().because(error))?
        }
        Err(error) => return Err(refused().because(error)),
    };
    Ok(Some(verified))
}

/// The newest inventory that was verified here.
struct Seen {
    version: u64,
    digest: Option<Digest>,
}

impl Seen {
    fn file(session: &Session) -> PathBuf {
        session.context.trust_dir.join("inventory_seen")
    }

    fn read(session: &Session) -> Outcome<Self> {
        let bytes = files::read_if_there(&Self::file(session))?.unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let mut words = text.split_whitespace();
        let version = words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        Ok(Self { version, digest: words.next().and_then(|word| word.parse().ok()) })
    }

    /// Refuses an inventory older than one that was seen here before (A9).
    fn remember(&self, session: &Session, version: u64, digest: Digest) -> Outcome<()> {
        if version < self.version {
            return Err(Problem::new(
                "E0646",
                msg!("inventory-went-back", found = version, seen = self.version),
            ));
        }
        if (version, Some(digest)) == (self.version, self.digest) {
            return Ok(());
        }
        if version == self.version && self.digest.is_some() {
            // Two inventories of one version: what one desk counts, another does not.
            return Err(Problem::new("E0646", msg!("inventory-forked", version = version)));
        }
        files::write(&Self::file(session), format!("{version} {digest}\n").as_bytes(), 0o600)
    }
}

/// An inventory that was verified here before, under a root that has been replaced since: whoever signed it
/// may no longer count, but these are the very bytes that were accepted. Without this, taking back the key
/// that signed the inventory would leave the operators without one, and unable to sign the next.
fn verified_before(session: &Session, envelope: &Envelope) -> Outcome<Option<Verified<InventoryV1>>> {
    let chain = TrustStore::new(&session.context.trust_dir).chain()?;
    let older = (1..chain.len()).rev().filter_map(|length| chain.get(..length));
    let mut trusts = older.filter_map(|chain| Trust::from_chain(chain, &session.trust.deployment_id()).ok());
    Ok(trusts.find_map(|trust| trust.verify_inventory(envelope).ok()))
}

/// The view and the inventory that it counts.
pub(crate) async fn load(app: &App, session: &Session) -> Outcome<Fleet> {
    let mut doubted = None;
    for _ in 0..ATTEMPTS {
        if doubted.is_some() {
            // A row and the documents behind it are two answers; they may have changed in between.
            tokio::time::sleep(PAUSE).await;
        }
        let view: FleetView = session.client.get("/api/v1/hosts").await?;
        let Some(inventory) = inventory(session).await? else {
            return Err(Problem::new("E0640", msg!("inventory-none")));
        };
        if inventory.value().version != view.inventory_version {
            continue;
        }
        inventory_watch::note_changes(app, session, &inventory)?;
        let (mut fleet, mut warnings) = reconcile(view, inventory.value());
        let documents = proofs::fetch(session, &fleet.view.hosts).await?;
        let now = time::now();
        let doubts = proofs::check(&session.trust, &inventory, &mut fleet.view.hosts, &documents, now);
        fleet.view.summary = summarise(&fleet.view.hosts);
        let settled = doubts == proofs::Doubts::default();
        if session.trust.verify_inventory(inventory.envelope()).is_err() {
            warnings.push(msg!("inventory-older-root", version = inventory.value().version));
        }
        if fleet.view.computed_at_ms.0.abs_diff(now.0) > CLOCK_ROOM_MS {
            let at = time::date_clock(fleet.view.computed_at_ms);
            warnings.push(msg!("fleet-other-time", at = at));
        }
        if !doubts.unproven.is_empty() {
            warnings.push(msg!("fleet-unproven", list = names(doubts.unproven.iter())));
        }
        if !doubts.untimely.is_empty() {
            warnings.push(msg!("fleet-untimely", list = names(doubts.untimely.iter())));
        }
        if settled {
            warnings.iter().for_each(|warning| app.note(warning));
            return Ok(fleet);
        }
        doubted = Some((fleet, warnings));
    }
    let Some((fleet, warnings)) = doubted else {
        return Err(Problem::new("E0646", msg!("inventory-disagrees")));
    };
    warnings.iter().for_each(|warning| app.note(warning));
    Ok(fleet)
}

/// Drops ghosts, adds what is hidden, and counts.
fn reconcile(mut view: FleetView, inventory: &InventoryV1) -> (Fleet, Vec<Message>) {
    let mut warnings = Vec::new();
    let mut rows: Vec<HostView> = Vec::with_capacity(inventory.hosts.len());
    let shown = std::mem::take(&mut view.hosts).into_iter();
    let mut shown: BTreeMap<HostId, HostView> = shown.map(|row| (row.name.clone(), row)).collect();
    for host in &inventory.hosts {
        let found = shown.remove(&host.host_id);
        match found {
            Some(row) if row.host_key == host.fingerprint() && row.incarnation == host.incarnation => {
                rows.push(HostView { labels: host.labels.clone(), ..row });
            }
            Some(_) => {
                warnings.push(msg!("fleet-other-key", host = host.host_id.to_string()));
                rows.push(unmeasured(host));
            }
            None => {
                warnings.push(msg!("fleet-hidden", host = host.host_id.to_string()));
                rows.push(unmeasured(host));
            }
        }
    }
    warnings.extend(shown.keys().map(|ghost| msg!("fleet-ghost", host = ghost.to_string())));
    view.summary = summarise(&rows);
    view.hosts = rows;
    (Fleet { view, inventory: inventory.clone() }, warnings)
}

/// A host of which nothing was measured.
fn unmeasured(host: &InventoryHost) -> HostView {
    HostView {
        name: host.host_id.clone(),
        enrolled: host.host_key.is_some(),
        host_key: host.fingerprint(),
        incarnation: host.incarnation,
        labels: host.labels.clone(),
        verdict: Verdict::Unassessed,
        lapsed: None,
        verdict_by: Vec::new(),
        assurance: None,
        links: None,
        fresh: false,
        exposed: true,
        level: None,
        proofs: None,
        drift: Vec::new(),
        alarms: Vec::new(),
        last_contact_ms: None,
        reported_at_ms: None,
        boot_id: None,
        clock_offset_ms: None,
        root_version: None,
        order_id: None,
        unconfirmed: Vec::new(),
        heads: Vec::new(),
        challenge: None,
        chain_gaps: Vec::new(),
        clean_statement: None,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use digue_proto::fleet::view::API_VERSION;
    use digue_proto::id::{Digest, UnixMillis};
    use digue_proto::report::{Level, Links};

    use super::*;

    /// An inventory host with a key made from `seed`.
    pub(crate) fn inventory_host(name: &str, seed: u8) -> InventoryHost {
        let key = ed25519_line(seed);
        InventoryHost {
            host_id: name.parse().expect("a name"),
            host_key: Some(key.parse().expect("a key")),
            incarnation: 1,
            addresses: vec![std::net::IpAddr::from([10, 77, 1, seed])],
            labels: Vec::new(),
        }
    }

    /// A valid public key that differs by `seed`: SPKI of points found by counting.
    fn ed25519_line(seed: u8) -> String {
        let candidates = (0u8..=255).filter_map(|salt| {
            let mut spki = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
            spki.extend(Digest::of(&[seed, salt]).as_bytes());
            digue_proto::key::PublicKey::from_ed25519_spki(&spki).ok()
        });
        candidates.map(|key| key.to_string()).next().expect("half of all texts are points")
    }

    /// An inventory of `hosts`.
    pub(crate) fn inventory_of(hosts: Vec<InventoryHost>) -> InventoryV1 {
        InventoryV1 { deployment_id: Digest::of(b"d"), version: 3, issued_at_ms: UnixMillis(1), hosts }
    }

    /// A fresh, open host.
    pub(crate) fn row(host: &InventoryHost) -> HostView {
        HostView { links: Some(Links::Open), fresh: true, level: Some(Level::L4), ..unmeasured(host) }
    }

    /// A view of `rows`.
    pub(crate) fn view_of(rows: Vec<HostView>) -> FleetView {
        FleetView {
            api_version: API_VERSION.to_owned(),
            computed_at_ms: UnixMillis(1_000_000),
            inventory_version: 3,
            summary: summarise(&rows),
            hosts: rows,
        }
    }

    #[test]
    fn a_ghost_is_dropped_a_hidden_host_is_shown_and_another_key_measures_nothing() {
        let hosts = vec![inventory_host("a", 1), inventory_host("b", 2), inventory_host("c", 3)];
        let ghost = HostView { verdict: Verdict::Clean, ..row(&inventory_host("z", 9)) };
        let other = HostView { host_key: inventory_host("c", 7).fingerprint(), ..row(&hosts[2]) };
        let (fleet, warnings) = reconcile(view_of(vec![row(&hosts[0]), other, ghost]), &inventory_of(hosts));
        assert_eq!(warnings.len(), 3);
        let names: Vec<_> = fleet.view.hosts.iter().map(|h| (h.name.as_str(), h.fresh)).collect();
        assert_eq!(names, [("a", true), ("b", false), ("c", false)]);
        assert_eq!((fleet.view.summary.expected, fleet.view.summary.clean), (3, 0));
    }

    #[test]
    fn the_counts_are_made_here_whatever_the_controller_counts() {
        let hosts = vec![inventory_host("a", 1), inventory_host("b", 2)];
        let view = view_of(hosts.iter().map(row).collect());
        let mut lie = view.clone();
        (lie.summary.clean, lie.summary.cut, lie.summary.exposed) = (2, 2, 0);
        let (fleet, warnings) = reconcile(lie, &inventory_of(hosts));
        assert!(warnings.is_empty());
        assert_eq!(fleet.view, view);
    }
}
