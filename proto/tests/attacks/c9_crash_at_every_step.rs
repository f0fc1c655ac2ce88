//! C9: the agent, or the machine, stops before any effect of any kind of order. Afterwards the order was
//! done once, or is done again to the same state; it is never skipped in silence, and nothing is ever more
//! open than the last order on disk.

use digue_proto::frame::Delivery;
use digue_proto::order::Action;
use digue_proto::policy::Policy;
use digue_proto::report::Outcome;

use crate::support::world::{block_list, cut_policy, isolate_policy};
use crate::support::{Crashed, Machine, World};

type Setup = fn(&World) -> Machine;
type Order = fn(&World, &Machine) -> Delivery;

fn open(world: &World) -> Machine {
    Machine::new(world)
}

fn isolated(world: &World) -> Machine {
    let mut machine = Machine::new(world);
    machine.obeys(&world.contain(1, isolate_policy()).deliver());
    machine
}

fn blocked(world: &World) -> Machine {
    let mut machine = isolated(world);
    machine.obeys(&world.block(1, block_list(&["198.51.100.66/32"])).deliver());
    machine
}

/// Every kind of order, on the host that it is for.
const KINDS: [(&str, Setup, Order); 8] = [
    ("cut", open, |w, _| w.cut(5).deliver()),
    ("isolate a cut host", isolated, |w, _| w.contain(5, isolate_policy()).deliver()),
    ("drill", open, |w, m| w.drill(5, 600, m.challenge()).deliver()),
    ("adjust", isolated, |w, m| w.adjust(5, cut_policy(), m.challenge()).deliver()),
    ("release", isolated, |w, m| w.release(5, m.challenge()).deliver()),
    ("block", isolated, |w, _| w.block(5, block_list(&["198.51.100.0/24"])).deliver()),
    ("unblock", blocked, |w, m| w.unblock(5, block_list(&[]), m.challenge()).deliver()),
    ("report", isolated, |w, _| w.order(5, Action::Report {}).deliver()),
];

fn kernel_policy(machine: &Machine) -> Policy {
    machine.kernel.rules.as_ref().map_or(Policy::open(), |r| r.policy.clone())
}

/// Runs one kind with a crash before effect `step`; whether it crashed.
fn crash(name: &str, setup: Setup, order: Order, step: usize, reboot: bool) -> bool {
    let world = World::new();
    let mut machine = setup(&world);
    let delivery = order(&world, &machine);
    let before = kernel_policy(&machine);
    let undisturbed = {
        let mut machine = machine.clone();
        machine.obeys(&delivery);
        machine.state().clone()
    };
    machine.fuse = Some(step);
    let crashed = machine.give(&delivery) == Err(Crashed);
    machine.fuse = None;
    let told = machine.receiver.outcomes(delivery.order.digest());
    let admitted = machine.durable_head() == undisturbed.streams;
    assert!(admitted || kernel_policy(&machine) == before, "{name} {step}: done before it was on disk");
    assert!(admitted || told.is_empty(), "{name} {step}: answered before it was on disk");
    if crashed {
        if reboot { machine.reboot() } else { machine.restart() }.expect("it starts again");
        // Before any controller is reached: what was contained is contained, unless the order is on disk.
        assert!(admitted || kernel_policy(&machine) == before, "{name} {step}: forgot what was in force");
        machine.connect().expect("it connects again");
        machine.give(&delivery).expect("no crash was asked for");
    }
    let outcomes = machine.receiver.outcomes(delivery.order.digest());
    if admitted {
        assert_eq!(outcomes.last(), Some(&Outcome::Verified {}), "{name} {step}: skipped in silence");
        let accepted = outcomes.iter().filter(|o| **o == Outcome::Acknowledged {}).count();
        assert!(accepted <= 1, "{name} {step}: accepted {accepted} times");
        assert_eq!(machine.state().policy, undisturbed.policy, "{name} {step}");
        assert_eq!(machine.state().blocked, undisturbed.blocked, "{name} {step}");
    } else {
        // Nothing of it is left: a closing order is obeyed now, an opening one needs the new challenge.
        let relaxing = matches!(name, "drill" | "adjust" | "release" | "unblock");
        let expected = if relaxing { "E0408" } else { "" };
        match outcomes.last() {
            Some(Outcome::Verified {}) => assert!(!relaxing, "{name} {step}: ran without its challenge"),
            Some(Outcome::Refused { code, .. }) => assert_eq!(code, expected, "{name} {step}"),
            other => panic!("{name} {step}: no answer, {other:?}"),
        }
    }
    let rules = machine.kernel.rules.as_ref();
    assert_eq!(kernel_policy(&machine), machine.state().policy, "{name} {step}");
    let none = block_list(&[]);
    assert_eq!(rules.map_or(&none, |r| &r.blocked), &machine.state().blocked, "{name} {step}");
    assert!(machine.state().journal.is_empty(), "{name} {step}: still in the journal");
    crashed
}

#[test]
fn c9_a_crash_before_any_effect_of_any_order_loses_nothing_and_opens_nothing() {
    for (name, setup, order) in KINDS {
        for reboot in [false, true] {
            let steps = (0..).take_while(|step| crash(name, setup, order, *step, reboot)).count();
            assert!(steps >= 4, "only {steps} steps of {name} were tried");
        }
    }
}

/// A second crash, while the first is being recovered from.
#[test]
fn c9_a_crash_during_recovery_is_recovered_from() {
    let world = World::new();
    for first in 0..6 {
        for second in 0..8 {
            let mut machine = isolated(&world);
            let release = world.release(5, machine.challenge()).deliver();
            machine.fuse = Some(first);
            let _ = machine.give(&release);
            machine.fuse = Some(second);
            let _ = machine.reboot().and_then(|()| machine.connect());
            machine.fuse = None;
            machine.restart().expect("it starts again");
            machine.connect().expect("it connects again");
            assert_eq!(kernel_policy(&machine), machine.state().policy, "{first} {second}");
            let admitted = machine.state().streams.iter().any(|s| s.order == release.order.digest());
            assert_eq!(machine.contained(), !admitted, "{first} {second}");
            if admitted {
                let outcomes = machine.receiver.outcomes(release.order.digest());
                assert_eq!(outcomes.last(), Some(&Outcome::Verified {}), "{first} {second}");
            }
        }
    }
}

#[test]
fn c9_a_crash_at_any_step_of_the_end_of_a_drill_leaves_it_ended() {
    let world = World::new();
    for step in 0..8 {
        let mut machine = Machine::new(&world);
        machine.obeys(&world.drill(1, 600, machine.challenge()).deliver());
        machine.disconnect().expect("no crash was asked for");
        machine.pass(601_000);
        machine.fuse = Some(step);
        let _ = machine.tick();
        machine.fuse = None;
        machine.restart().expect("it starts again");
        machine.connect().expect("it connects again");
        assert!(!machine.state().policy.contains(), "step {step}");
        assert!(!machine.contained(), "step {step}");
        assert!(machine.state().alarms.iter().any(|a| a.kind == "reopened_by_timer"), "step {step}");
    }
}
