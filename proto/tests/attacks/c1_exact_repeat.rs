//! C1, C2: an order repeated, or delivered after a newer one.

use digue_proto::order::Action;
use digue_proto::report::Outcome;

use crate::support::world::{block_list, cut_policy, isolate_policy};
use crate::support::{Machine, World};

#[test]
fn c1_ten_thousand_repeats_have_one_effect_and_one_receipt() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let cut = world.cut(1).deliver();
    machine.obeys(&cut);
    let before = (machine.kernel.applications, machine.state().clone());
    for _ in 0..10_000 {
        machine.give(&cut).expect("no crash was asked for");
    }
    assert_eq!(machine.kernel.applications, before.0);
    assert_eq!(*machine.state(), before.1);
    assert_eq!(machine.receiver.repeats, 10_000);
    assert_eq!(machine.receiver.outcomes(cut.order.digest()).last(), Some(&Outcome::Verified {}));
}

#[test]
fn c1_every_kind_of_order_repeated_by_net_and_stick_has_one_effect() {
    let world = World::new();
    for setup in [None, Some(isolate_policy())] {
        let mut machine = Machine::new(&world);
        if let Some(policy) = setup {
            machine.obeys(&world.contain(1, policy).deliver());
        }
        let challenge = machine.challenge();
        let orders = if machine.contained() {
            vec![
                world.adjust(2, cut_policy(), challenge),
                world.block(1, block_list(&["198.51.100.66/32"])),
                world.order(1, Action::Report {}),
            ]
        } else {
            vec![world.drill(2, 600, challenge), world.cut(3)]
        };
        for draft in orders {
            let delivery = draft.deliver();
            machine.obeys(&delivery);
            let before = (machine.kernel.applications, machine.state().seq);
            // By stick while the network is gone, then by net: the core cannot tell them apart.
            machine.disconnect().expect("no crash was asked for");
            machine.give(&delivery).expect("no crash was asked for");
            machine.connect().expect("no crash was asked for");
            machine.give(&delivery).expect("no crash was asked for");
            assert_eq!((machine.kernel.applications, machine.state().seq), before);
        }
    }
}

#[test]
fn c1_a_repeat_after_a_restart_has_no_second_effect() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let cut = world.cut(1).deliver();
    machine.obeys(&cut);
    machine.restart().expect("it starts again");
    machine.connect().expect("it connects again");
    let before = machine.kernel.applications;
    machine.give(&cut).expect("no crash was asked for");
    assert_eq!(machine.kernel.applications, before);
    let outcomes = machine.receiver.outcomes(cut.order.digest());
    assert_eq!(outcomes.iter().filter(|o| **o == Outcome::Acknowledged {}).count(), 1);
}

/// Long after its receipt was forgotten a repeat is merely old.
#[test]
fn c1_a_repeat_after_many_newer_orders_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let first = world.cut(1).deliver();
    machine.obeys(&first);
    (2..40).for_each(|g| machine.obeys(&world.cut(g).deliver()));
    machine.refuses(&first, "E0404");
}

#[test]
fn c2_an_order_that_was_withheld_and_superseded_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let withheld = world.contain(7, isolate_policy()).deliver();
    machine.obeys(&world.contain(9, isolate_policy()).deliver());
    machine.refuses(&withheld, "E0404");
}

#[test]
fn c2_a_withheld_release_is_refused_after_a_newer_cut() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let withheld = world.release(2, machine.challenge()).deliver();
    machine.obeys(&world.cut(3).deliver());
    machine.refuses(&withheld, "E0404");
    assert!(machine.contained());
}
