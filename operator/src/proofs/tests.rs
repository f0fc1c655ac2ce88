//! What a lying controller can put into a row, against real keys and signatures.

use digue_proto::id::Nonce;
use digue_proto::policy::{BlockList, Policy};
use digue_proto::report::{Check, Clocks, Level, Proofs as Proven};
use digue_proto::statement::{Assurance, Stated};
use digue_proto::strict;
use digue_proto::trust::InventoryHost;

use super::*;
use crate::fleet::tests::{inventory_host, inventory_of, row};
use crate::keygen::{self, KeyType};

const NOW: UnixMillis = UnixMillis(1_795_500_000_000);

/// Two hosts with keys, their inventory, and a folder with every key.
struct World {
    folder: tempfile::TempDir,
    trust: Trust,
    inventory: Verified<InventoryV1>,
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let trust = crate::tests::trust(folder.path(), Digest::of(b"controller")).await;
        let mut hosts = Vec::new();
        for (name, seed) in [("srv-001", 1), ("srv-002", 2)] {
            let path = folder.path().join(name);
            let key = keygen::make(&path, KeyType::Ed25519, name, true).await.expect("a key");
            hosts.push(InventoryHost { host_key: Some(key), ..inventory_host(name, seed) });
        }
        let mut inventory = inventory_of(hosts);
        inventory.deployment_id = trust.deployment_id();
        let payload = strict::to_vec(&inventory).expect("bytes");
        let sealed = crate::tests::sealed(folder.path(), &["alice"], PayloadType::Inventory, payload).await;
        let inventory = trust.verify_inventory(&sealed).expect("an inventory");
        Self { folder, trust, inventory }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn host(&self) -> &InventoryHost {
        &self.inventory.value().hosts[0]
    }

    fn clocks(wall_ms: UnixMillis) -> Clocks {
        Clocks { wall_ms, boottime_ms: 5_000, boot_id: "boot".to_owned() }
    }

    async fn report(&self, links: Links, wall_ms: UnixMillis) -> Envelope {
        let passed = || Check::Passed { detail: String::new(), at_ms: NOW };
        let proofs = Proven {
            read_back: passed(),
            probes: passed(),
            outside: Check::NotDone {},
            management: passed(),
        };
        let report = ReportV1 {
            deployment_id: self.trust.deployment_id(),
            host_id: self.host().host_id.clone(),
            seq: 1,
            prev: None,
            clocks: Self::clocks(wall_ms),
            agent_version: "0".to_owned(),
            level: Level::L2,
            level_detail: Vec::new(),
            root_version: 1,
            root_digest: self.trust.deployment_id(),
            heads: Vec::new(),
            order_id: None,
            links,
            policy: Policy::open(),
            blocked: BlockList::default(),
            rules_meant: None,
            rules_observed: None,
            drift: Vec::new(),
            proofs,
            sessions_cut: 0,
            alarms: Vec::new(),
            challenge: None,
        };
        let payload = strict::to_vec(&report).expect("bytes");
        crate::tests::sealed(self.path(), &["srv-001"], PayloadType::Report, payload).await
    }

    async fn heartbeat(&self, report: &Envelope, links: Links, wall_ms: UnixMillis) -> Envelope {
        let heartbeat = HeartbeatV1 {
            deployment_id: self.trust.deployment_id(),
            host_id: self.host().host_id.clone(),
            seq: 1,
            head: Some(report.digest()),
            clocks: Clocks { boottime_ms: 9_000, ..Self::clocks(wall_ms) },
            links,
            rules_hold: true,
            echo: Some(Nonce::from_bytes([7; 16])),
        };
        let payload = strict::to_vec(&heartbeat).expect("bytes");
        crate::tests::sealed(self.path(), &["srv-001"], PayloadType::Heartbeat, payload).await
    }

    async fn statement(&self, verdict: Stated, by: &[&str], issued_at_ms: UnixMillis) -> Envelope {
        let statement = StatementV1 {
            deployment_id: self.trust.deployment_id(),
            host_id: self.host().host_id.clone(),
            host_key: self.host().fingerprint().expect("a key"),
            incarnation: 1,
            boot_id: Some("boot".to_owned()),
            verdict,
            assurance: (verdict == Stated::Clean).then_some(Assurance::L1),
            observed_at_ms: issued_at_ms,
            issued_at_ms,
            valid_until_ms: NOW.plus(1_000_000),
            evidence: Vec::new(),
            reason: "r".to_owned(),
        };
        let kind = crate::statements::class_of(verdict).1;
        crate::tests::sealed(self.path(), by, kind, strict::to_vec(&statement).expect("bytes")).await
    }

    fn documents(
        &self,
        report: Option<Envelope>,
        heartbeat: Option<Envelope>,
        said: Vec<Envelope>,
    ) -> Documents {
        let host = self.host().host_id.clone();
        let proof = Proof { host: host.clone(), report, heartbeat };
        Documents { proofs: [(host.clone(), proof)].into(), statements: [(host, said)].into() }
    }

    /// A row as a liar makes it: in contact and not exposed.
    fn lie(&self, links: Links, verdict: Verdict) -> HostView {
        HostView { links: Some(links), verdict, exposed: false, ..row(self.host()) }
    }

    fn judged(&self, lie: HostView, documents: &Documents) -> (HostView, Doubts) {
        let mut rows = vec![lie];
        let doubts = check(&self.trust, &self.inventory, &mut rows, documents, NOW);
        (rows.remove(0), doubts)
    }
}

#[tokio::test]
async fn a_server_is_shown_cut_only_if_its_own_signed_report_proves_it() {
    let world = World::new().await;
    let lie = || world.lie(Links::Cut, Verdict::Unassessed);
    let cut = world.report(Links::Cut, NOW).await;
    let (shown, doubts) = world.judged(lie(), &world.documents(Some(cut.clone()), None, Vec::new()));
    assert_eq!((doubts, shown.exposed), (Doubts::default(), false));
    assert_eq!(shown.level, Some(Level::L2), "the level is the report's");

    let open = world.report(Links::Open, NOW).await;
    let mut altered = cut.clone();
    *altered.payload.last_mut().expect("a byte") ^= 1;
    let reopened = world.heartbeat(&cut, Links::Open, NOW).await;
    let another = world.report(Links::Cut, NOW).await;
    let forged = crate::tests::sealed(world.path(), &["srv-002"], PayloadType::Report, another.payload).await;
    for (name, documents) in [
        ("an open report", world.documents(Some(open), None, Vec::new())),
        ("an altered report", world.documents(Some(altered), None, Vec::new())),
        ("the report of another key", world.documents(Some(forged), None, Vec::new())),
        ("a later heartbeat", world.documents(Some(cut), Some(reopened), Vec::new())),
        ("no report", world.documents(None, None, Vec::new())),
        ("nothing", Documents::default()),
    ] {
        let (shown, doubts) = world.judged(lie(), &documents);
        assert_ne!(shown.links, Some(Links::Cut), "{name}");
        assert!(shown.exposed, "{name}");
        assert_eq!(doubts.unproven, [world.host().host_id.clone()], "{name}");
    }
}

#[tokio::test]
async fn old_documents_with_a_fresh_time_of_arrival_count_as_no_contact() {
    let world = World::new().await;
    let lie = || world.lie(Links::Cut, Verdict::Unassessed);
    let old = UnixMillis(NOW.0 - CLOCK_ROOM_MS - 1);
    let report = world.report(Links::Cut, old).await;
    let (shown, doubts) = world.judged(lie(), &world.documents(Some(report.clone()), None, Vec::new()));
    assert_eq!(doubts.untimely, [world.host().host_id.clone()]);
    assert!(!shown.fresh && shown.exposed);

    let beat = world.heartbeat(&report, Links::Cut, NOW).await;
    let (shown, doubts) = world.judged(lie(), &world.documents(Some(report), Some(beat), Vec::new()));
    assert_eq!((doubts, shown.fresh, shown.exposed), (Doubts::default(), true, false));
}

#[tokio::test]
async fn a_server_is_shown_clean_only_on_the_signatures_of_two_and_no_warning_is_hidden() {
    let world = World::new().await;
    let lie = || world.lie(Links::Open, Verdict::Clean);
    let report = world.report(Links::Open, NOW).await;
    let with = |said| world.documents(Some(report.clone()), None, said);
    let clean = world.statement(Stated::Clean, &["alice", "bruno"], NOW).await;
    let (shown, doubts) = world.judged(lie(), &with(vec![clean.clone()]));
    assert_eq!((shown.verdict, shown.exposed, doubts), (Verdict::Clean, false, Doubts::default()));
    assert_eq!(shown.verdict_by, ["alice".parse().expect("a name"), "bruno".parse().expect("a name")]);

    let alone = world.statement(Stated::Clean, &["alice"], NOW).await;
    let warning = world.statement(Stated::Suspect, &["bruno"], NOW).await;
    for (said, verdict) in [
        (Vec::new(), Verdict::Unassessed),
        (vec![alone], Verdict::Unassessed),
        (vec![clean, warning], Verdict::Suspect),
    ] {
        let (shown, doubts) = world.judged(lie(), &with(said));
        assert_eq!((shown.verdict, shown.exposed), (verdict, true));
        assert_eq!(doubts.unproven, [world.host().host_id.clone()]);
    }
}

#[tokio::test]
async fn a_warning_that_this_desk_has_seen_is_not_forgotten_when_the_controller_leaves_it_out() {
    let world = World::new().await;
    let clean = world.statement(Stated::Clean, &["alice", "bruno"], UnixMillis(NOW.0 - 1)).await;
    let warning = world.statement(Stated::Compromised, &["bruno"], NOW).await;
    let mut forged = warning.clone();
    forged.payload.push(b' ');
    let seen = |offered: &[&Envelope]| {
        let offered = offered.iter().map(|envelope| (*envelope).clone()).collect();
        Warnings::read(world.path()).expect("readable").with(&world.trust, offered).expect("kept")
    };
    assert_eq!(seen(&[&clean]), std::slice::from_ref(&clean));
    assert_eq!(seen(&[&clean, &warning, &forged]).len(), 3);
    let left = seen(&[&clean]);
    assert_eq!(left, [clean, warning], "only what verified is remembered");
    let report = world.report(Links::Open, NOW).await;
    let (shown, doubts) =
        world.judged(world.lie(Links::Open, Verdict::Clean), &world.documents(Some(report), None, left));
    assert_eq!((shown.verdict, doubts.unproven.len()), (Verdict::Compromised, 1));
}

#[test]
fn rows_that_alarm_need_no_proof_and_every_row_that_reassures_does() {
    let host = inventory_host("srv-001", 1);
    assert!(!reassures(&HostView { exposed: true, ..row(&host) }));
    assert!(reassures(&HostView { exposed: false, ..row(&host) }));
    assert!(reassures(&HostView { links: Some(Links::Cut), ..row(&host) }));
    assert!(reassures(&HostView { verdict: Verdict::NoFinding, ..row(&host) }));
}
