//! A6: the controller withholds the newest root for ever. The host cannot know; its reports show it.

use digue_proto::host::Input;

use crate::support::{Machine, World};

#[test]
fn a6_every_report_names_the_root_in_force_so_that_a_withheld_one_shows() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let frozen = machine.receiver.reports.last().expect("a report").clone();
    assert_eq!((frozen.root_version, frozen.root_digest), (1, world.trust.digest()));
    let root = world.next_root(&["alice", "bruno"], |_| {});
    let next = world.trust.next(&root).expect("the next root");
    machine.input(Input::Roots(vec![root])).expect("no crash was asked for");
    let thawed = machine.receiver.reports.last().expect("a report");
    assert_eq!((thawed.root_version, thawed.root_digest), (2, next.digest()));
    assert_eq!(machine.receiver.receipts.last().expect("a receipt").root_version, 1);
}

#[test]
fn a6_receipts_and_reports_name_the_newest_order_of_each_stream() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(7).deliver());
    let heads = &machine.receiver.reports.last().expect("a report").heads;
    assert_eq!(heads.iter().map(|h| h.generation).collect::<Vec<_>>(), [7]);
}
