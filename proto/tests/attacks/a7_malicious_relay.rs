//! A7: one controller or stick alters or spoils what it carries; another way still delivers.

use digue_proto::merkle::Proof;

use crate::support::{Machine, World};

#[test]
fn a7_what_a_bad_relay_spoils_another_still_delivers() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let good = world.cut(1).with_leaf(|_| {}).deliver();
    let mut altered = good.clone();
    altered.order.payload[20] ^= 1;
    machine.refuses(&altered, "E0303");
    let mut unsigned = good.clone();
    unsigned.order.signatures.clear();
    machine.refuses(&unsigned, "E0303");
    let mut uprooted = good.clone();
    uprooted.target.as_mut().expect("a target").proof = Proof { index: 0, path: Vec::new() };
    machine.refuses(&uprooted, "E0306");
    machine.obeys(&good);
}

/// A refusal is an answer to a delivery, not the end of an order: the same order with its right parts
/// is obeyed.
#[test]
fn a7_a_release_whose_statement_was_swapped_on_the_way_is_obeyed_when_the_right_one_comes() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let good = world.release(2, machine.challenge()).deliver();
    let mut swapped = good.clone();
    swapped.statement = Some(world.clean_with(&["bruno", "claire"], |s| s.reason = "another".to_owned()));
    machine.refuses(&swapped, "E0415");
    let mut without = good.clone();
    without.statement = None;
    machine.refuses(&without, "E0414");
    machine.obeys(&good);
    assert!(!machine.contained());
}

/// A relay repeats an order that waits for a root; it takes one place, not all of them.
#[test]
fn a7_repeating_an_order_that_waits_for_a_root_does_not_push_out_others() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let early = |generation| world.cut(generation).edit(|o| o.root_version = 2).deliver();
    for _ in 0..100 {
        assert_eq!(machine.answer(&early(1)), []);
    }
    assert_eq!(machine.answer(&early(2)), [], "there is still room for another");
    assert!(!machine.contained());
    let root = world.next_root(&["alice", "bruno"], |_| {});
    machine.input(digue_proto::host::Input::Roots(vec![root])).expect("no crash was asked for");
    assert!(machine.contained(), "both were obeyed once the root came");
    assert_eq!(machine.state().head(digue_proto::order::Stream::Net).generation, 2);
}

#[test]
fn a7_more_waiting_orders_than_there_is_room_for_are_answered() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let early = |generation| world.cut(generation).edit(|o| o.root_version = 2).deliver();
    (1..=8).for_each(|g| assert_eq!(machine.answer(&early(g)), []));
    machine.refuses(&early(9), "E0308");
}
