//! A2: more data than anyone should send, and what a flood may leave behind on a host.

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::frame::{Delivery, FrameError, body_length};
use digue_proto::host::{HostState, Input};
use digue_proto::id::Digest;
use digue_proto::limits::{
    MAX_DETAIL, MAX_ENVELOPE, MAX_FRAME, MAX_FRAME_UNAUTHORISED, MAX_JSON_DEPTH, MAX_PAYLOAD,
    MAX_SIGNATURE_ARMOUR,
};
use digue_proto::strict::StrictError;
use digue_proto::verify::VerifyError;

use crate::support::people::seal_by;
use crate::support::sshsig::Blob;
use crate::support::world::seal_root;
use crate::support::{Machine, World};

/// Most that an outbox may hold, whoever keeps it from being emptied (see `host::state`).
const OUTBOX: usize = 512 + 128 + 1;

#[test]
fn a2_a_frame_that_is_too_long_is_refused_by_its_header_alone() {
    for (length, limit) in
        [(u32::MAX, MAX_FRAME), (300 * 1024, MAX_FRAME_UNAUTHORISED), (1024 * 1024 + 1, MAX_FRAME)]
    {
        assert!(matches!(body_length(length.to_be_bytes(), limit), Err(FrameError::TooLong { .. })));
    }
    assert_eq!(body_length(5u32.to_be_bytes(), MAX_FRAME), Ok(5));
    assert_eq!(body_length([0; 4], MAX_FRAME), Err(FrameError::Empty));
}

#[test]
fn a2_json_that_is_too_deep_or_too_long_is_refused_before_it_is_parsed() {
    let deep = "[".repeat(MAX_JSON_DEPTH + 1);
    assert_eq!(Envelope::from_json(deep.as_bytes()), Err(StrictError::TooDeep));
    let long = vec![b' '; MAX_ENVELOPE + 1];
    assert!(matches!(Envelope::from_json(&long), Err(StrictError::TooLarge { .. })));
}

#[test]
fn a2_a_million_signatures_are_refused_at_the_seventeenth() {
    let many = r#""x","#.repeat(1_000_000);
    let text = format!(r#"{{"payload_type":"digue-protect.v1","payload":"","signatures":[{many}"x"]}}"#);
    let Err(StrictError::Json(why)) = Envelope::from_json(text.as_bytes()) else {
        panic!("a million signatures were accepted");
    };
    let column: usize = why.rsplit(' ').next().and_then(|c| c.parse().ok()).expect("serde_json says where");
    assert!(column < 200, "it read on to column {column}");
}

#[test]
fn a2_an_envelope_made_in_memory_keeps_the_same_bounds() {
    let world = World::new();
    let verify = |order: &Envelope| world.trust.verify_order(order);
    let good = world.cut(1).envelope();
    let many = Envelope { signatures: vec![good.signatures[0].clone(); 17], ..good.clone() };
    assert!(matches!(verify(&many), Err(VerifyError::Bounds(_))));
    let big = Envelope { payload: vec![b' '; MAX_PAYLOAD + 1], ..good.clone() };
    assert!(matches!(verify(&big), Err(VerifyError::Bounds(_))));
    let long = Envelope { signatures: vec!["x".repeat(MAX_SIGNATURE_ARMOUR + 1)], ..good };
    assert!(matches!(verify(&long), Err(VerifyError::Bounds(_))));
}

/// Orders with sixteen signatures whose namespaces, which a refusal quotes, fill their armour.
struct Loud {
    world: World,
    signatures: Vec<String>,
}

impl Loud {
    fn new(world: &World) -> Self {
        let shout = "\u{1b}[2J\u{202e}".repeat(250);
        let signatures = vec![Blob::good("mallory", &shout, b"").armour(); 16];
        Self { world: world.clone(), signatures }
    }

    fn order(&self, salt: u64) -> Delivery {
        let mut delivery = self.world.cut(1).by(&[]).edit(|o| o.reason = format!("{salt}")).deliver();
        delivery.order.signatures.clone_from(&self.signatures);
        delivery
    }
}

#[test]
fn a2_what_a_refusal_quotes_is_short_and_moves_no_cursor() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.refuses(&Loud::new(&world).order(0), "E0303");
    let receipt = machine.receiver.receipts.last().expect("a receipt");
    let digue_proto::report::Outcome::Refused { detail, .. } = &receipt.outcome else {
        panic!("{receipt:?}")
    };
    assert!(detail.len() <= MAX_DETAIL, "{} bytes", detail.len());
    assert!(!detail.contains(['\u{1b}', '\u{202e}']), "{detail:?}");
    assert!(machine.notes.iter().all(|(_, detail)| detail.len() <= MAX_DETAIL));
}

/// A controller without a single key of a person sends refusable orders for ever and never says that it
/// has stored an answer. The state must stay small enough to be read again: an unreadable one closes the
/// host.
#[test]
fn a2_a_controller_that_stores_nothing_cannot_fill_the_disk_or_close_the_host() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let loud = Loud::new(&world);
    machine.never_stored = true;
    for salt in 0..24 {
        for more in 0..32 {
            machine.give(&loud.order(salt * 100 + more)).expect("no crash was asked for");
        }
        machine.pass(60_000);
        machine.heartbeat().expect("no crash was asked for");
        // Proofs that come and go make a report each.
        machine.faults.management = salt % 2 == 0;
        machine.connect().expect("no crash was asked for");
        assert!(machine.state().outbox.len() <= OUTBOX, "{} documents", machine.state().outbox.len());
    }
    let bytes = machine.state().to_bytes().expect("JSON");
    assert!(bytes.len() < MAX_ENVELOPE / 8, "{} bytes", bytes.len());
    assert!(HostState::from_bytes(&bytes).is_ok());
    assert!(machine.state().alarms.iter().any(|a| a.kind == "refusals_suppressed"));
    machine.obeys_though_full(&world.cut(1).deliver());
    machine.restart().expect("no crash was asked for");
    assert!(machine.contained(), "the cut survives");
    assert_eq!(machine.state().alarms.iter().filter(|a| a.kind == "state_unreadable").count(), 0);
}

/// A host whose outbox is full of refusals that its controller has not stored.
fn full(world: &World) -> Machine {
    let mut machine = Machine::new(world);
    let loud = Loud::new(world);
    machine.never_stored = true;
    for salt in 0..520 {
        machine.give(&loud.order(salt)).expect("no crash was asked for");
        machine.pass(2_500);
    }
    machine
}

#[test]
fn a2_a_report_that_had_no_room_is_written_once_a_controller_stores_again() {
    let world = World::new();
    let mut machine = full(&world);
    machine.obeys_though_full(&world.cut(1).deliver());
    let before = machine.receiver.reports.len();
    machine.never_stored = false;
    machine.disconnect().expect("no crash was asked for");
    machine.connect().expect("no crash was asked for");
    assert_eq!(machine.state().outbox, []);
    assert!(machine.receiver.reports.len() > before);
    let newest = machine.receiver.reports.last().expect("a report");
    assert_eq!(newest.heads.len(), 1, "the order shows, whatever became of its receipts");
    assert!(newest.policy.contains());
}

/// What opens must be seen: with no room for its receipts it waits for a controller that stores them.
#[test]
fn a2_with_a_full_outbox_a_host_can_be_cut_and_not_reopened() {
    let world = World::new();
    let mut machine = full(&world);
    machine.obeys_though_full(&world.cut(1).deliver());
    let release = world.release(2, machine.challenge()).deliver();
    machine.give(&release).expect("no crash was asked for");
    assert!(machine.contained());
    machine.never_stored = false;
    machine.disconnect().expect("no crash was asked for");
    machine.connect().expect("no crash was asked for");
    machine.obeys(&release);
    assert!(!machine.contained());
}

#[test]
fn a2_strangers_cannot_push_out_an_alarm_that_matters() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    machine.input(Input::RulesChanged { by: "4711 nft".to_owned() }).expect("no crash was asked for");
    let loud = Loud::new(&world);
    let mut root = world.trust.root().clone();
    root.deployment_id = Some(world.deployment());
    for version in 2..500 {
        root.version = version * 2;
        let bad = seal_root(&root, &["alice", "bruno"]);
        machine.input(Input::Roots(vec![bad])).expect("no crash was asked for");
        machine.give(&loud.order(version)).expect("no crash was asked for");
    }
    let kinds: Vec<&str> = machine.state().alarms.iter().map(|a| a.kind.as_str()).collect();
    assert!(kinds.contains(&"rules_changed"), "{kinds:?}");
    assert!(kinds.contains(&"root_refused"), "{kinds:?}");
}

#[test]
fn a2_an_alarm_is_told_by_the_next_tick_and_a_thousand_of_them_no_faster() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let before = machine.receiver.reports.len();
    for process in 0..1000 {
        machine.input(Input::RulesChanged { by: format!("nft (process {process})") }).expect("no crash");
    }
    assert_eq!(machine.receiver.reports.len(), before);
    machine.input(Input::Tick).expect("no crash");
    machine.input(Input::Tick).expect("no crash");
    assert_eq!(machine.receiver.reports.len(), before + 1);
    let newest = machine.receiver.reports.last().expect("a report");
    assert!(newest.alarms.iter().any(|a| a.kind == "rules_changed" && a.detail.contains("process 999")));
}

#[test]
fn a2_the_largest_policy_and_block_list_still_fit_a_report() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let networks: Vec<String> = (0..1024).map(|i| format!("198.{}.{}.0/24", 16 + i / 256, i % 256)).collect();
    let networks: Vec<&str> = networks.iter().map(String::as_str).collect();
    machine.obeys(&world.block(1, crate::support::world::block_list(&networks)).deliver());
    let mut policy = crate::support::world::cut_policy();
    let text = "\u{1f30a}".repeat(48);
    policy.exceptions = (0..500u16)
        .map(|i| digue_proto::policy::Exception {
            direction: digue_proto::policy::Direction::Inbound,
            transport: digue_proto::policy::Transport::Tcp,
            peer: "203.0.113.7/32".parse().expect("a network"),
            port: i + 1,
            owner: text.clone(),
            reason: text.clone(),
            until_ms: None,
        })
        .collect();
    let delivery = world.contain(1, policy).deliver();
    assert!(delivery.order.payload.len() > MAX_PAYLOAD * 9 / 10, "not large enough to mean anything");
    machine.obeys(&delivery);
    let report = machine.receiver.reports.last().expect("a report that its receiver accepts");
    assert_eq!((report.policy.exceptions.len(), report.blocked.networks.len()), (500, 1024));
    let bytes = digue_proto::strict::to_vec(report).expect("JSON").len();
    assert!(bytes > MAX_PAYLOAD, "{bytes}");
    let signed =
        seal_by(PayloadType::Report, digue_proto::strict::to_vec(report).expect("JSON"), &["srv-001"]);
    assert!(digue_proto::frame::FromAgent::Document(signed).encode().is_ok(), "and it fits a frame");
    assert_ne!(Digest::of(&[]), report.root_digest);
}
