//! A11: an order for another host, or for another machine of the same name.

use crate::support::people::{key, public};
use crate::support::{Machine, World};

#[test]
fn a11_an_order_for_another_host_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let other = world.cut(1).with_leaf(|l| l.host_id = "srv-002".parse().expect("a name")).deliver();
    machine.refuses(&other, "E0402");
    let release =
        world.release(1, machine.challenge()).with_leaf(|l| l.host_id = "srv-002".parse().expect("a name"));
    machine.refuses(&release.deliver(), "E0402");
}

#[test]
fn a11_an_order_for_another_key_of_the_same_name_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let rebuilt = world.cut(1).with_leaf(|l| l.host_key = public(&key("srv-001 before")).fingerprint());
    machine.refuses(&rebuilt.deliver(), "E0403");
}

#[test]
fn a11_the_part_of_a_neighbour_in_the_same_order_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let mut delivery = world.cut(1).with_leaf(|_| {}).deliver();
    let target = delivery.target.as_mut().expect("a target");
    let leaf = String::from_utf8(target.leaf.clone()).expect("UTF-8");
    target.leaf = leaf.replace("srv-001", "srv-002").into_bytes();
    machine.refuses(&delivery, "E0306");
}

#[test]
fn a11_a_clean_statement_for_another_host_or_key_releases_nothing() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let names = &["bruno", "claire"];
    for statement in [
        world.clean_with(names, |s| s.host_id = "srv-002".parse().expect("a name")),
        world.clean_with(names, |s| s.host_key = public(&key("srv-001 before")).fingerprint()),
        world.clean_with(names, |s| s.boot_id = Some("another boot".to_owned())),
    ] {
        let release = world.release(2, machine.challenge()).vouched(statement);
        machine.refuses(&release.deliver(), "E0417");
    }
}
