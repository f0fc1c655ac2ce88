//! C3, C4: a release that was withheld and never superseded, and challenges that are not the host's.

use digue_proto::id::Challenge;
use digue_proto::order::Action;

use crate::support::world::{DAY, block_list, cut_policy, isolate_policy};
use crate::support::{Draft, Machine, World};

fn relaxing(world: &World, challenge: Challenge) -> Vec<Draft> {
    let without = world.order(5, Action::Release { without_verdict: true });
    vec![
        world.release(5, challenge),
        without.challenged(challenge).by(&["alice", "bruno", "denis"]),
        world.adjust(5, cut_policy(), challenge),
        world.unblock(5, block_list(&[]), challenge),
    ]
}

fn contained(world: &World) -> Machine {
    let mut machine = Machine::new(world);
    machine.obeys(&world.contain(1, isolate_policy()).deliver());
    machine
}

#[test]
fn c3_a_withheld_release_is_refused_after_a_restart_or_reboot() {
    let world = World::new();
    for reboot in [false, true] {
        let machine = contained(&world);
        for order in relaxing(&world, machine.challenge()) {
            let mut machine = machine.clone();
            if reboot { machine.reboot() } else { machine.restart() }.expect("it starts again");
            machine.connect().expect("it connects again");
            machine.refuses(&order.deliver(), "E0408");
            assert!(machine.contained());
        }
    }
}

#[test]
fn c3_a_withheld_release_is_refused_once_the_challenge_is_a_day_old() {
    let world = World::new();
    let machine = contained(&world);
    for order in relaxing(&world, machine.challenge()) {
        let mut machine = machine.clone();
        machine.pass(DAY + 1_000);
        // The order comes before the next tick does.
        machine.refuses(&order.edit(|o| o.not_after_ms.0 += 10 * DAY).deliver(), "E0408");
        assert_ne!(machine.challenge(), machine.receiver.receipts[0].challenge.expect("a challenge"));
    }
}

#[test]
fn c3_a_day_is_counted_by_the_clock_that_nobody_can_set() {
    let world = World::new();
    let mut machine = contained(&world);
    let before = machine.challenge();
    machine.wall_ms += 400 * DAY;
    machine.tick().expect("no crash was asked for");
    assert_eq!(machine.challenge(), before);
    machine.pass(DAY + 1_000);
    machine.wall_ms = 0;
    machine.tick().expect("no crash was asked for");
    assert_ne!(machine.challenge(), before);
}

#[test]
fn c4_a_challenge_is_spent_by_the_order_that_names_it() {
    let world = World::new();
    let mut machine = contained(&world);
    let challenge = machine.challenge();
    machine.obeys(&world.adjust(2, cut_policy(), challenge).deliver());
    for order in relaxing(&world, challenge) {
        machine.refuses(&order.deliver(), "E0408");
    }
}

#[test]
fn c4_another_hosts_a_guessed_and_a_missing_challenge_are_refused() {
    let world = World::new();
    let mut machine = contained(&world);
    let mut near = *machine.challenge().as_bytes();
    near[15] ^= 1;
    for wrong in [[0; 16], [0xff; 16], near] {
        for order in relaxing(&world, Challenge::from_bytes(wrong)) {
            machine.refuses(&order.deliver(), "E0408");
        }
    }
    for order in relaxing(&world, machine.challenge()) {
        machine.refuses(&order.with_leaf(|leaf| leaf.challenge = None).deliver(), "E0407");
    }
    assert!(machine.contained());
}

#[test]
fn c4_an_order_that_opens_is_never_for_all() {
    let world = World::new();
    let mut machine = contained(&world);
    for mut order in relaxing(&world, machine.challenge()) {
        order.leaf = None;
        machine.refuses(&order.deliver(), "E0306");
    }
}

/// A refused order spends nothing, or C could use up challenges faster than people sign.
#[test]
fn c4_a_refused_order_does_not_spend_the_challenge() {
    let world = World::new();
    let mut machine = contained(&world);
    let challenge = machine.challenge();
    machine.refuses(&world.release(0, challenge).deliver(), "E0404");
    machine.refuses(&world.release(2, challenge).vouched(world.clean(&["claire"])).deliver(), "E0416");
    assert_eq!(machine.challenge(), challenge);
    machine.obeys(&world.release(2, challenge).deliver());
}
