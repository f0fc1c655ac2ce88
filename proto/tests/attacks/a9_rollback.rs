//! A9: an older order, root or inventory, also after the agent stopped at any step.

use digue_proto::envelope::PayloadType;
use digue_proto::host::Input;
use digue_proto::id::UnixMillis;
use digue_proto::order::Stream;
use digue_proto::strict;
use digue_proto::trust::InventoryV1;

use crate::support::people::seal_by;
use crate::support::world::{T0, isolate_policy};
use crate::support::{Machine, World};

#[test]
fn a9_an_older_order_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.contain(9, isolate_policy()).deliver());
    for generation in [0, 1, 8, 9] {
        let older = world.contain(generation, isolate_policy()).edit(|o| o.reason = "older".to_owned());
        machine.refuses(&older.deliver(), "E0404");
    }
}

#[test]
fn a9_rollback_after_crash_at_every_step_is_refused() {
    let world = World::new();
    let old = world.contain(1, isolate_policy()).deliver();
    let new = world.contain(2, isolate_policy()).deliver();
    let mut crashes = 0;
    loop {
        let mut machine = Machine::new(&world);
        machine.fuse = Some(crashes);
        let stopped = machine.give(&new).is_err();
        machine.fuse = None;
        if stopped {
            if crashes % 2 == 0 { machine.restart() } else { machine.reboot() }.expect("it starts again");
            machine.connect().expect("it connects again");
        }
        // The newer order may not have reached the disk; then the controller still holds it.
        machine.obeys_or_has_obeyed(&new);
        machine.refuses(&old, "E0404");
        assert_eq!(machine.state().head(Stream::Net).generation, 2);
        if !stopped {
            break;
        }
        crashes += 1;
    }
    assert!(crashes >= 8, "only {crashes} steps were tried");
}

#[test]
fn a9_an_older_root_changes_nothing_and_is_no_alarm() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let root = world.next_root(&["alice", "bruno"], |_| {});
    machine.input(Input::Roots(vec![root.clone()])).expect("no crash was asked for");
    machine.input(Input::Roots(vec![world.first.clone(), root])).expect("no crash was asked for");
    assert_eq!(machine.host().trust().version(), 2);
    assert_eq!(machine.disk.roots.len(), 2);
    assert_eq!(machine.state().alarms, []);
}

#[test]
fn a9_a_root_is_on_disk_before_it_is_used_whatever_step_fails() {
    let world = World::new();
    let root = world.next_root(&["alice", "bruno"], |r| r.gen_epoch = 1);
    for step in 0..5 {
        let mut machine = Machine::new(&world);
        machine.fuse = Some(step);
        let stopped = machine.input(Input::Roots(vec![root.clone()])).is_err();
        machine.fuse = None;
        if stopped {
            machine.restart().expect("it starts again");
            machine.connect().expect("it connects again");
            machine.input(Input::Roots(vec![root.clone()])).expect("no crash was asked for");
        }
        assert_eq!((machine.host().trust().version(), machine.disk.roots.len()), (2, 2), "step {step}");
    }
}

/// Roots taken off the disk: the one left may still trust people whom a later one does not.
#[test]
fn a9_roots_rolled_back_on_disk_raise_an_alarm_and_nothing_opens_until_they_are_back() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let second = world.next_root(&["alice", "bruno"], |r| r.gen_epoch = 0);
    machine.input(Input::Roots(vec![second.clone()])).expect("no crash was asked for");
    machine.disk.roots.truncate(1);
    machine.restart().expect("it starts again");
    machine.connect().expect("it connects again");
    assert!(machine.state().alarms.iter().any(|a| a.kind == "root_rolled_back"));
    let release = world.release(2, machine.challenge()).deliver();
    assert_eq!(machine.answer(&release), [], "it waits for the root");
    assert!(machine.contained());
    machine.obeys(&world.contain(2, isolate_policy()).deliver());
    assert_eq!(machine.state().root_version, 2, "the floor stays");
    machine.input(Input::Roots(vec![second])).expect("no crash was asked for");
    machine.obeys(&world.release(3, machine.challenge()).deliver());
}

#[test]
fn a9_a_root_between_the_one_left_and_the_one_that_was_in_force_does_not_lower_the_floor() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let second = world.next_root(&["alice", "bruno"], |_| {});
    let mut root = world.trust.next(&second).expect("the second root").root().clone();
    root.version = 3;
    let third = crate::support::world::seal_root(&root, &["bruno", "claire"]);
    machine.input(Input::Roots(vec![second.clone(), third.clone()])).expect("no crash was asked for");
    assert_eq!(machine.host().trust().version(), 3);
    machine.disk.roots.truncate(1);
    machine.restart().expect("it starts again");
    machine.connect().expect("it connects again");
    machine.input(Input::Roots(vec![second])).expect("no crash was asked for");
    assert_eq!((machine.host().trust().version(), machine.state().root_version), (2, 3));
    assert_eq!(
        machine.answer(&world.release(2, machine.challenge()).deliver()),
        [],
        "it waits for the third"
    );
    assert!(machine.contained());
    machine.input(Input::Roots(vec![third])).expect("no crash was asked for");
    assert!(!machine.contained(), "and is obeyed once that is there");
}

#[test]
fn a9_an_inventory_older_than_the_floor_of_the_root_is_refused() {
    let world = World::new();
    let root = world.next_root(&["alice", "bruno"], |r| r.inventory_min_version = 5);
    let trust = world.trust.next(&root).expect("the next root");
    let inventory = |version| {
        let inventory = InventoryV1 {
            deployment_id: world.deployment(),
            version,
            issued_at_ms: UnixMillis(T0),
            hosts: Vec::new(),
        };
        seal_by(PayloadType::Inventory, strict::to_vec(&inventory).expect("JSON"), &["alice"])
    };
    assert_eq!(trust.verify_inventory(&inventory(4)).expect_err("too old").code(), "E0306");
    assert!(trust.verify_inventory(&inventory(5)).is_ok());
}
