//! B14, B15: an order judged by the wrong root.

use digue_proto::envelope::PayloadType;
use digue_proto::host::Input;
use digue_proto::verify::VerifyError;

use crate::support::people::seal_by;
use crate::support::world::root_v1;
use crate::support::{Machine, World};

#[test]
fn b14_an_order_that_names_an_older_root_is_judged_by_the_one_in_force() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let old = world.cut(1).edit(|o| o.root_version = 1).deliver();
    let root = world.next_root(&["alice", "bruno"], |r| {
        r.persons.retain(|p| p.id.as_str() != "alice");
        for role in &mut r.roles {
            role.persons.retain(|p| p.as_str() != "alice");
        }
    });
    let root = seal_by(PayloadType::Root, root.payload, &["alice", "bruno", "claire"]);
    machine.input(Input::Roots(vec![root])).expect("no crash was asked for");
    machine.refuses(&old, "E0303");
    machine.obeys(&world.cut(1).edit(|o| o.root_version = 1).by(&["bruno"]).deliver());
}

#[test]
fn b14_an_order_that_names_a_newer_root_waits_and_is_judged_by_that_one() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let early = world.cut(1).edit(|o| o.root_version = 2).deliver();
    assert_eq!(machine.answer(&early), [], "no answer yet");
    assert!(!machine.contained());
    let root = world.next_root(&["alice", "bruno"], |r| {
        r.roles[3].persons.retain(|p| p.as_str() != "alice");
    });
    machine.input(Input::Roots(vec![root])).expect("no crash was asked for");
    assert_eq!(machine.receiver.refusals(), ["E0303"], "the newer root does not trust alice to cut");
    assert!(!machine.contained());
}

#[test]
fn b15_an_order_statement_or_inventory_of_another_deployment_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let mut twin = root_v1();
    twin.issued_at_ms.0 += 1;
    let twin = World::with_root(&twin);
    assert_ne!(twin.deployment(), world.deployment());
    machine.refuses(&twin.cut(1).deliver(), "E0307");
    machine.refuses(&twin.release(1, machine.challenge()).deliver(), "E0307");
    machine.obeys(&world.cut(1).deliver());
    let foreign = world.release(2, machine.challenge()).vouched(twin.clean(&["bruno", "claire"]));
    machine.refuses(&foreign.deliver(), "E0416");
    let statement = twin.clean(&["bruno", "claire"]);
    assert!(matches!(world.trust.verify_statement(&statement), Err(VerifyError::Deployment(_))));
    let next = twin.next_root(&["alice", "bruno"], |_| {});
    assert_eq!(world.trust.next(&next).expect_err("another deployment's root").code(), "E0313");
}
