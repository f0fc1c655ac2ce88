//! C10, C11: the state directory put back from a backup, cut short, unreadable, full or read-only.

use digue_proto::host::{HostState, Loaded};
use digue_proto::policy::Profile;
use digue_proto::report::{Links, Outcome};

use crate::support::world::{block_list, isolate_policy};
use crate::support::{Machine, World};

#[test]
fn c10_a_state_put_back_from_before_the_cut_does_not_revive_a_release() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let backup = machine.disk.clone();
    let release = world.release(2, machine.challenge()).deliver();
    machine.obeys(&release);
    machine.obeys(&world.cut(3).deliver());
    machine.disk = backup;
    machine.restart().expect("it starts again");
    machine.connected = true;
    assert!(machine.contained());
    // Generation 2 is new to this disk; the challenge is not.
    machine.receiver = crate::support::receiver::Receiver::default();
    let before = machine.kernel.applications;
    machine.give(&release).expect("no crash was asked for");
    assert_eq!(machine.kernel.applications, before);
    assert!(machine.contained());
}

#[test]
fn c11_a_state_cut_short_or_altered_anywhere_closes_the_host() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let whole = machine.disk.state.clone().expect("a state");
    let cuts = (0..whole.len()).step_by(37).chain([whole.len() - 1]);
    for length in cuts {
        let mut machine = machine.clone();
        machine.disk.state = Some(whole[..length].to_vec());
        machine.wake_with_new_receiver();
        assert!(machine.contained(), "{length} bytes");
        assert_eq!(machine.state().policy.profile, Profile::Isolate);
        assert!(machine.state().alarms.iter().any(|a| a.kind == "state_unreadable"), "{length} bytes");
        assert_eq!(machine.links(), Links::Cut, "closed, and proven");
    }
}

#[test]
fn c11_after_a_lost_state_closing_works_and_opening_asks_for_everything() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let old = world.release(2, machine.challenge()).deliver();
    machine.disk.state = Some(b"{".to_vec());
    machine.wake_with_new_receiver();
    machine.refuses(&old, "E0408");
    machine.refuses(&world.cut(2).deliver(), "E0411");
    machine.obeys(&world.contain(2, isolate_policy()).deliver());
    machine.obeys(&world.block(1, block_list(&["198.51.100.66/32"])).deliver());
    machine.obeys(&world.release(3, machine.challenge()).deliver());
    assert!(!machine.contained());
}

#[test]
fn c11_a_state_that_contradicts_itself_is_unreadable() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.never_stored = true;
    machine.obeys(&world.cut(1).deliver());
    let state = machine.state().clone();
    assert!(HostState::from_bytes(&state.to_bytes().expect("JSON")).is_ok());
    let rollback = digue_proto::host::Rollback { boot_id: machine.boot_id(), deadline_ms: 1, seconds: 60 };
    let altered: [fn(&mut HostState, digue_proto::host::Rollback); 6] = [
        |s, rollback| s.rollback = Some(rollback),
        |s, _| s.seq = u64::MAX,
        |s, _| s.outbox.swap(0, 1),
        |s, _| s.chain_head = None,
        |s, _| s.seq -= 1,
        |s, _| s.form = 2,
    ];
    for (index, alter) in altered.into_iter().enumerate() {
        let mut wrong = state.clone();
        alter(&mut wrong, rollback.clone());
        let bytes = wrong.to_bytes().expect("JSON");
        assert!(HostState::from_bytes(&bytes).is_err(), "contradiction {index} was read");
        let mut machine = machine.clone();
        machine.disk.state = Some(bytes);
        machine.wake_with_new_receiver();
        assert!(machine.contained(), "contradiction {index} opened the host");
    }
}

#[test]
fn c11_with_a_full_disk_nothing_is_done_or_answered_and_everything_is_once_there_is_room() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.disk.full = true;
    let cut = world.cut(1).deliver();
    assert_eq!(machine.answer(&cut), [], "an answer would be forgotten");
    assert!(!machine.contained());
    for _ in 0..10 {
        machine.give(&cut).expect("no crash was asked for");
        machine.tick().expect("no crash was asked for");
    }
    machine.disk.full = false;
    machine.tick().expect("no crash was asked for");
    assert!(machine.contained());
    let outcomes = machine.receiver.outcomes(cut.order.digest());
    assert_eq!(outcomes.last(), Some(&Outcome::Verified {}));
    assert_eq!(outcomes.iter().filter(|o| **o == Outcome::Acknowledged {}).count(), 1);
}

#[test]
fn c11_with_a_full_disk_nothing_opens() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let release = world.release(2, machine.challenge()).deliver();
    machine.disk.full = true;
    machine.give(&release).expect("no crash was asked for");
    assert!(machine.contained());
    machine.reboot().expect("it starts again");
    assert!(machine.contained(), "a full disk at boot does not open a cut host");
    machine.disk.full = false;
    machine.connect().expect("it connects again");
    machine.refuses(&release, "E0408");
}

/// Unknown never means cut: a driver that could not read, but says so in no other way than by silence.
#[test]
fn c11_rules_that_could_not_be_compared_do_not_count_as_holding() {
    use digue_proto::host::{Input, Observed};
    use digue_proto::id::Digest;
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let meant = machine.observe().meant;
    assert!(meant.is_some());
    for observed in [
        Observed::default(),
        Observed { meant, found: None, drift: Vec::new() },
        Observed { meant: None, found: meant, drift: Vec::new() },
        Observed { meant, found: Some(Digest::of(b"other rules")), drift: Vec::new() },
    ] {
        let reports = machine.receiver.reports.len();
        machine.input(Input::HeartbeatDue(observed)).expect("no crash was asked for");
        let told = &machine.receiver.reports[reports..];
        assert!(told.iter().any(|r| r.links == Links::Failed && !r.drift.is_empty()), "{told:?}");
        assert!(!machine.receiver.heartbeats.last().expect("a heartbeat").rules_hold);
        assert_eq!(machine.links(), Links::Cut, "repaired and proven again");
    }
}

#[test]
fn c11_a_host_without_controllers_in_its_configuration_closes_completely() {
    let mut world = World::new();
    world.identity.controllers.clear();
    let mut machine = Machine::asleep(&world);
    machine.disk.state = Some(Vec::new());
    machine.wake().expect("it starts");
    assert_eq!(machine.state().policy.profile, Profile::Dark);
    assert!(machine.contained());
    assert_ne!(Loaded::Absent, Loaded::Unreadable(String::new()));
}
