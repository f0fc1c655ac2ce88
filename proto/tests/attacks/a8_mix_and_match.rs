//! A8: parts of one incident put together with parts of another.

use digue_proto::order::{Head, Stream};
use digue_proto::report::Outcome;

use crate::support::world::block_list;
use crate::support::{Machine, World};

#[test]
fn a8_an_order_whose_heads_are_ahead_is_obeyed_and_the_gap_is_reported() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let head = Head { stream: Stream::Block, gen_epoch: 0, generation: 4 };
    machine.obeys(&world.cut(1).edit(|o| o.heads = vec![head]).deliver());
    let receipt = machine.receiver.receipts.last().expect("a receipt");
    assert_eq!(receipt.outcome, Outcome::Verified {});
    assert!(receipt.remarks.iter().any(|r| r.contains("gap: stream block")), "{:?}", receipt.remarks);
}

#[test]
fn a8_the_leaf_of_one_order_does_not_fit_another() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let release = world.release(3, machine.challenge()).deliver();
    let mut unblock = world.unblock(1, block_list(&[]), machine.challenge()).deliver();
    unblock.target = release.target.clone();
    machine.refuses(&unblock, "E0306");
}

#[test]
fn a8_the_statement_of_one_host_or_time_does_not_fit_a_release_that_names_another() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let release = world.release(2, machine.challenge());
    let newer = world.clean_with(&["bruno", "claire"], |s| s.valid_until_ms.0 += 1);
    let mut mixed = release.deliver();
    mixed.statement = Some(newer);
    machine.refuses(&mixed, "E0415");
    let other = world.clean_with(&["bruno", "claire"], |s| s.host_id = "srv-002".parse().expect("a name"));
    machine.refuses(&release.vouched(other).deliver(), "E0417");
}
