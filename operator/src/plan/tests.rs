//! What plans contain and leave out, on real keys and signatures.

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::fleet::view::{HostView, OrderHostView, OrderState, OrderView, Phase, Verdict};
use digue_proto::id::{Digest, Nonce, UnixMillis};
use digue_proto::order::{Action, Head, Stream};
use digue_proto::policy::{BlockList, Policy, Profile};
use digue_proto::report::{Clocks, Level, Links, Proofs, ReportV1};
use digue_proto::trust::Class;
use digue_proto::trust_chain::Trust;

use super::build::{Input, Known, build, canary, observed_state};
use super::file::{Plan, Why, read_bundle};
use super::{Request, What};
use crate::fleet::tests::{inventory_host, row};
use crate::selector::Selection;

fn cut() -> Policy {
    Policy {
        profile: Profile::Cut,
        controllers: vec!["10.77.0.2:7443".parse().expect("address")],
        internal: vec!["10.77.0.0/16".parse().expect("network")],
        ..Policy::open()
    }
}

fn report(trust: &Trust, host: &str, policy: Policy) -> ReportV1 {
    let links = if policy.contains() { Links::Cut } else { Links::Open };
    ReportV1 {
        deployment_id: trust.deployment_id(),
        host_id: host.parse().expect("name"),
        seq: 1,
        prev: None,
        clocks: Clocks { wall_ms: UnixMillis(1), boottime_ms: 1, boot_id: "b".to_owned() },
        agent_version: "1".to_owned(),
        level: Level::L4,
        level_detail: Vec::new(),
        root_version: 1,
        root_digest: trust.digest(),
        heads: Vec::new(),
        order_id: None,
        links,
        policy,
        blocked: BlockList::default(),
        rules_meant: None,
        rules_observed: None,
        drift: Vec::new(),
        proofs: Proofs::none(),
        sessions_cut: 0,
        alarms: Vec::new(),
        challenge: Some(Nonce::from_bytes([9; 16])),
    }
}

/// A fresh host with the given policy in force.
fn known(trust: &Trust, name: &str, seed: u8, policy: Policy) -> Known {
    let listed = inventory_host(name, seed);
    let report = report(trust, name, policy);
    let row = HostView { links: Some(report.links), challenge: report.challenge, ..row(&listed) };
    Known { row, listed, report: Some(report), statement: None }
}

fn contain(policy: Policy) -> What {
    What::Contain { policy, allow_self_cut: false }
}

fn request(what: What) -> Request {
    Request {
        selection: Selection { all: true, ..Selection::default() },
        what,
        incident: "INC-1".to_owned(),
        reason: "test".to_owned(),
        ttl_ms: 1000,
    }
}

fn planned(trust: &Trust, what: What, hosts: &[Known], orders: &[OrderView], heads: &[Head]) -> Plan {
    let request = request(what);
    let input = Input {
        request: &request,
        hosts,
        orders,
        heads,
        trust,
        inventory_version: 1,
        now: UnixMillis(1_000),
        order_id: Nonce::from_bytes([5; 16]),
    };
    build(&input).expect("a plan")
}

async fn trust() -> (tempfile::TempDir, Trust) {
    let folder = tempfile::tempdir().expect("a folder");
    let trust = crate::tests::trust(folder.path(), Digest::of(b"controller")).await;
    (folder, trust)
}

#[tokio::test]
async fn the_same_input_gives_the_same_bytes_and_a_changed_file_is_refused() {
    let (folder, trust) = trust().await;
    let hosts = [known(&trust, "a", 1, Policy::open()), known(&trust, "b", 2, Policy::open())];
    let plan = planned(&trust, contain(cut()), &hosts, &[], &[]);
    assert_eq!(plan, planned(&trust, contain(cut()), &hosts, &[], &[]));
    let path = folder.path().join("a.plan");
    let bytes = plan.to_bytes().expect("bytes");
    std::fs::write(&path, &bytes).expect("written");
    let (again, read) = Plan::read(&path).expect("read");
    assert_eq!((again, read.expect("an order").leaves.len()), (plan.clone(), 2));
    let text = String::from_utf8(bytes).expect("text");
    let first_leaf = serde_json::to_string(&plan.frozen.expect("an order").leaves[0]).expect("JSON");
    for (from, to) in [
        (first_leaf.as_str(), "\"eyJ9\""),
        ("digue-protect.v1", "digue-query.v1"),
        ("\"host\": \"a\"", "\"host\": \"c\""),
        ("\"kind\": \"plan\"", "\"kind\": \"order\""),
        ("\"apiVersion\"", "\"surprise\": 1, \"apiVersion\""),
    ] {
        let changed = text.replace(from, to);
        assert_ne!(changed, text, "{from} does not stand in the plan");
        std::fs::write(&path, changed).expect("written");
        assert_eq!(Plan::read(&path).map_err(|p| p.code), Err("E0650".to_owned()), "{from} was changed");
    }
}

#[tokio::test]
async fn a_host_in_the_wanted_state_gets_no_order_and_one_that_would_be_relaxed_is_named() {
    let (_folder, trust) = trust().await;
    let isolated = Policy { profile: Profile::Isolate, internal: Vec::new(), ..cut() };
    let mut drifted = known(&trust, "drifted", 3, cut());
    drifted.row.drift = vec!["a rule is missing".to_owned()];
    let mut silent = known(&trust, "silent", 4, cut());
    silent.row.fresh = false;
    let mut never = known(&trust, "never", 5, Policy::open());
    (never.listed.host_key, never.report) = (None, None);
    let hosts =
        [known(&trust, "done", 1, cut()), drifted, known(&trust, "isolated", 2, isolated), never, silent];
    let plan = planned(&trust, contain(cut()), &hosts, &[], &[]);
    let names = |list: &[digue_proto::id::HostId]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&plan.unchanged), ["done"]);
    assert_eq!(names(&plan.stale), ["silent"]);
    let targets: Vec<_> = plan.observed.iter().map(|o| o.host.to_string()).collect();
    assert_eq!(targets, ["drifted", "silent"]);
    let left: Vec<_> = plan.left_out.iter().map(|l| (l.host.as_str(), &l.why)).collect();
    assert_eq!(left[1], ("never", &Why::NeverEnrolled));
    assert!(matches!(left[0], ("isolated", Why::WouldRelax(_))), "{left:?}");
}

#[tokio::test]
async fn the_number_is_beyond_every_number_in_use_and_leaves_one_for_a_first_group() {
    let (_folder, trust) = trust().await;
    let hosts = [known(&trust, "a", 1, Policy::open()), known(&trust, "b", 2, Policy::open())];
    let head = |generation, gen_epoch| Head { stream: Stream::Net, gen_epoch, generation };
    let plan = planned(&trust, contain(cut()), &hosts, &[], &[head(7, 1), head(90, 0)]);
    let frozen = plan.frozen.expect("an order");
    let read = read_bundle(&frozen.bundle()).expect("read");
    assert_eq!((read.order.generation, read.order.gen_epoch, read.class), (9, 1, Class::Protect));
    let group = canary(&frozen, &read.order, 1, Nonce::from_bytes([6; 16])).expect("a first group");
    let group = read_bundle(&group.bundle()).expect("read");
    assert_eq!((group.order.generation, group.leaves.len()), (8, 1));
    assert_eq!(group.order.action, read.order.action);
}

#[tokio::test]
async fn an_order_on_its_way_to_a_silent_host_raises_the_number_and_is_named_to_its_targets() {
    let (_folder, trust) = trust().await;
    let hosts = [known(&trust, "a", 1, Policy::open()), known(&trust, "b", 2, Policy::open())];
    let order = |stream, generation, targets: &[&str]| OrderView {
        order_id: Nonce::from_bytes([1; 16]),
        digest: Digest::of(b"o"),
        state: OrderState::Sealed,
        payload_type: PayloadType::Protect,
        stream,
        generation,
        action: "cut".to_owned(),
        incident: String::new(),
        reason: String::new(),
        issued_at_ms: UnixMillis(1),
        not_after_ms: UnixMillis(2),
        signers: Vec::new(),
        needed: 1,
        hosts: targets
            .iter()
            .map(|host| OrderHostView {
                host: host.parse().expect("name"),
                phase: Phase::Waiting,
                code: None,
                detail: None,
                remarks: Vec::new(),
                at_ms: None,
            })
            .collect(),
    };
    let orders = [
        order(Stream::Net, 4, &["a"]),
        order(Stream::Block, 3, &["a", "b"]),
        order(Stream::Query, 2, &["a"]),
    ];
    let plan = planned(&trust, contain(cut()), &hosts, &orders, &[]);
    let read = read_bundle(&plan.frozen.expect("an order").bundle()).expect("read");
    assert_eq!(read.order.generation, 6);
    // Not every target was sent the query: naming it would be a false alarm for b.
    assert_eq!(read.order.heads, [Head { stream: Stream::Block, gen_epoch: 1, generation: 3 }]);
}

#[tokio::test]
async fn a_release_holds_only_clean_hosts_with_their_statement_and_challenge() {
    let (_folder, trust) = trust().await;
    let envelope =
        Envelope { payload_type: PayloadType::Clean, payload: b"{}".to_vec(), signatures: Vec::new() };
    let clean = |name: &str, seed| {
        let mut host = known(&trust, name, seed, cut());
        host.row.verdict = Verdict::Clean;
        host.row.clean_statement = Some(envelope.digest());
        host.statement = Some(Ok(envelope.clone()));
        host
    };
    let mut no_challenge = clean("mute", 3);
    no_challenge.row.challenge = None;
    no_challenge.report.as_mut().expect("a report").challenge = None;
    let mut forged = clean("forged", 4);
    forged.statement = Some(Err("1 of 2 signatures".to_owned()));
    let mut silent = clean("silent", 5);
    silent.row.fresh = false;
    let hosts = [
        clean("a", 1),
        forged,
        no_challenge,
        known(&trust, "open", 6, Policy::open()),
        silent,
        known(&trust, "suspect", 2, cut()),
    ];
    let plan = planned(&trust, What::Release { without_verdict: false }, &hosts, &[], &[]);
    let read = read_bundle(&plan.frozen.clone().expect("an order").bundle()).expect("read");
    assert_eq!(read.leaves.len(), 1);
    assert_eq!(read.leaves[0].clean, Some(envelope.digest()));
    assert_eq!(read.leaves[0].challenge, Some(Nonce::from_bytes([9; 16])));
    assert_eq!(read.class, Class::Release);
    assert_eq!(plan.unchanged, ["open".parse().expect("name")]);
    let whys: Vec<_> = plan.left_out.iter().map(|l| (l.host.to_string(), l.why.clone())).collect();
    assert_eq!(whys[0].1, Why::Statement("1 of 2 signatures".to_owned()));
    assert_eq!(whys[1].1, Why::NoChallenge);
    assert_eq!((&whys[2].1, &whys[3].1), (&Why::NotClean, &Why::NotClean));
}

#[tokio::test]
async fn a_block_keeps_what_is_blocked_and_an_unblock_takes_out_only_what_it_names() {
    let (_folder, trust) = trust().await;
    let net = |text: &str| text.parse::<ipnet::IpNet>().expect("a network");
    let mut host = known(&trust, "a", 1, Policy::open());
    host.report.as_mut().expect("a report").blocked.networks = vec![net("198.51.100.66/32")];
    let hosts = [host];
    let action = |what| {
        let plan = planned(&trust, what, &hosts, &[], &[]);
        read_bundle(&plan.frozen.expect("an order").bundle()).expect("read").order.action
    };
    let both = BlockList { networks: vec![net("192.0.2.1/32"), net("198.51.100.66/32")] };
    assert_eq!(action(What::Block { networks: vec![net("192.0.2.1/32")] }), Action::Block { blocked: both });
    let none = Action::Unblock { blocked: BlockList::default() };
    assert_eq!(action(What::Unblock { networks: vec![net("198.51.100.66/32")] }), none);
    let request = request(What::Unblock { networks: vec![net("203.0.113.1/32")] });
    let input = Input {
        request: &request,
        hosts: &hosts,
        orders: &[],
        heads: &[],
        trust: &trust,
        inventory_version: 1,
        now: UnixMillis(1),
        order_id: Nonce::from_bytes([5; 16]),
    };
    assert_eq!(build(&input).map_err(|p| p.code), Err("E0653".to_owned()));
}

#[tokio::test]
async fn a_heartbeat_does_not_move_the_fleet_and_an_order_does() {
    let (_folder, trust) = trust().await;
    let host = known(&trust, "a", 1, Policy::open());
    let state = |row: &HostView, class| observed_state(row, &host.listed, Stream::Net, class);
    let before = state(&host.row, Class::Protect);
    let mut later = host.row.clone();
    later.last_contact_ms = Some(UnixMillis(5));
    later.fresh = false;
    later.alarms = vec!["clock".to_owned()];
    later.challenge = Some(Nonce::from_bytes([1; 16]));
    assert_eq!(state(&later, Class::Protect), before);
    assert_ne!(state(&later, Class::Release), state(&host.row, Class::Release));
    let mut moved = host.row.clone();
    moved.heads = vec![Head { stream: Stream::Net, gen_epoch: 1, generation: 1 }];
    assert_ne!(state(&moved, Class::Protect), before);
    let mut cutting = host.row.clone();
    cutting.links = Some(Links::Cut);
    assert_ne!(state(&cutting, Class::Protect), before);
}

#[tokio::test]
async fn a_drill_that_reopens_by_itself_needs_the_signatures_of_a_release_and_skips_contained_hosts() {
    let (_folder, trust) = trust().await;
    let drill =
        Policy { on_lost_management: digue_proto::policy::OnLostManagement::ReopenAfter(600), ..cut() };
    let hosts = [known(&trust, "a", 1, Policy::open()), known(&trust, "b", 2, cut())];
    let plan = planned(&trust, contain(drill), &hosts, &[], &[]);
    let read = read_bundle(&plan.frozen.expect("an order").bundle()).expect("read");
    assert_eq!((read.class, read.payload_type), (Class::Release, PayloadType::Release));
    assert!(read.leaves.iter().all(|leaf| leaf.challenge.is_some()));
    assert_eq!(plan.left_out[0].why, Why::DrillOnContained);
}
