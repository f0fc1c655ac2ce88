//! C12 to C15: partial sets of orders, clashing numbers, lost receipts, and old answers shown as new.

use digue_proto::id::Nonce;
use digue_proto::order::{Action, Head, Stream};
use digue_proto::report::Outcome;

use crate::support::world::block_list;
use crate::support::{Machine, World};

#[test]
fn c12_an_order_that_never_came_shows_in_the_answer_to_the_next() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let heads = vec![
        Head { stream: Stream::Block, gen_epoch: 0, generation: 2 },
        Head { stream: Stream::Query, gen_epoch: 0, generation: 1 },
    ];
    let cut = world.cut(1).edit(|o| o.heads = heads).deliver();
    machine.obeys(&cut);
    for receipt in &machine.receiver.receipts {
        assert_eq!(receipt.remarks.len(), 2, "{receipt:?}");
    }
    machine.obeys(&world.block(2, block_list(&["198.51.100.66/32"])).deliver());
    machine.obeys(&world.order(1, Action::Report {}).deliver());
    let next =
        world.cut(2).edit(|o| o.heads = vec![Head { stream: Stream::Block, gen_epoch: 0, generation: 2 }]);
    machine.obeys(&next.deliver());
    assert_eq!(machine.receiver.receipts.last().expect("a receipt").remarks, [] as [&str; 0]);
}

#[test]
fn c12_orders_of_different_streams_may_come_in_any_order() {
    let world = World::new();
    let (cut, block) = (world.cut(1).deliver(), world.block(1, block_list(&["198.51.100.66/32"])).deliver());
    for order in [[&cut, &block], [&block, &cut]] {
        let mut machine = Machine::new(&world);
        order.into_iter().for_each(|delivery| machine.obeys(delivery));
        let rules = machine.kernel.rules.as_ref().expect("rules");
        assert!(rules.policy.contains() && rules.blocked.networks.len() == 1);
    }
}

#[test]
fn c13_of_two_orders_with_one_number_the_first_wins_and_the_second_is_told_both_hashes() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let first = world.cut(4).deliver();
    let second = world.cut(4).edit(|o| o.reason = "the other operator".to_owned()).by(&["denis"]).deliver();
    machine.obeys(&first);
    let outcomes = machine.answer(&second);
    let [Outcome::Refused { code, detail }] = outcomes.as_slice() else { panic!("{outcomes:?}") };
    assert_eq!(code, "E0404");
    for digest in [first.order.digest(), second.order.digest()] {
        assert!(detail.contains(&digest.short()), "{detail}");
    }
}

#[test]
fn c14_what_no_controller_has_stored_is_sent_again_on_every_connection() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.never_stored = true;
    machine.obeys(&world.cut(1).deliver());
    let waiting = machine.state().outbox.len();
    assert!(waiting >= 3);
    machine.restart().expect("it starts again");
    let repeats = machine.receiver.repeats;
    machine.connect().expect("it connects again");
    assert!(machine.receiver.repeats >= repeats + waiting, "the receipts came again");
    machine.never_stored = false;
    machine.disconnect().expect("no crash was asked for");
    machine.connect().expect("it connects again");
    assert_eq!(machine.state().outbox, []);
}

#[test]
fn c14_a_controller_cannot_make_a_host_forget_what_it_did_not_name() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.never_stored = true;
    machine.obeys(&world.cut(1).deliver());
    let held = machine.state().outbox.clone();
    let other = digue_proto::id::Digest::of(b"a document that was never sent");
    machine.input(digue_proto::host::Input::Stored(other)).expect("no crash was asked for");
    assert_eq!(machine.state().outbox, held);
}

#[test]
fn c15_a_heartbeat_repeats_the_nonce_of_its_connection_and_the_head_of_the_chain() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let mut nonces: Vec<Option<Nonce>> = Vec::new();
    for _ in 0..3 {
        machine.disconnect().expect("no crash was asked for");
        machine.heartbeat().expect("no crash was asked for");
        machine.connect().expect("it connects again");
        machine.heartbeat().expect("no crash was asked for");
        let beat = machine.receiver.heartbeats.last().expect("a heartbeat");
        assert_eq!((beat.seq, beat.head), (machine.state().seq, machine.state().chain_head));
        assert!(!nonces.contains(&beat.echo), "an old heartbeat could stand for a new one");
        nonces.push(beat.echo);
    }
    assert_eq!(machine.receiver.heartbeats.len(), 3, "none without a connection");
}

#[test]
fn c15_every_document_has_its_own_place_in_the_chain_across_restarts() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    for generation in 1..6 {
        machine.obeys(&world.cut(generation).deliver());
        machine.restart().expect("it starts again");
        machine.connect().expect("it connects again");
    }
    // The receiver has checked every link; it has heard all that there is.
    assert_eq!(machine.receiver.chain.len() as u64, machine.state().seq);
    assert_eq!(machine.receiver.chain.last_key_value().map(|(_, d)| *d), machine.state().chain_head);
}
