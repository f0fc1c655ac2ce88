//! Answers of the host's own hands that come late: a proof gathered before the last change proves nothing,
//! and an application that was overtaken says nothing about the one in force.

use digue_proto::frame::Delivery;
use digue_proto::host::{Applied, Input, Observed, Proved};
use digue_proto::id::{Digest, UnixMillis};
use digue_proto::report::{Check, Links, Outcome};

use crate::support::world::{T0, isolate_policy};
use crate::support::{Machine, World};

fn passed() -> Check {
    Check::Passed { detail: "it held".to_owned(), at_ms: UnixMillis(T0) }
}

#[test]
fn a_proof_gathered_before_the_last_change_proves_nothing() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let before = machine.kernel.rules.as_ref().expect("rules").request;
    machine.faults.management = true;
    machine.answer(&world.contain(2, isolate_policy()).deliver());
    let now = machine.kernel.rules.as_ref().expect("rules").request;
    assert!(now > before);
    assert_eq!(machine.links(), Links::Cutting);
    let proved =
        |request| Input::Proved(Box::new(Proved { request, probes: passed(), management: passed() }));
    machine.deliver_unchecked(proved(before));
    assert_eq!(machine.links(), Links::Cutting, "an old proof was believed");
    machine.kernel.proven = Some(machine.kernel.applications);
    machine.deliver_unchecked(proved(now));
    assert_eq!(machine.links(), Links::Cut);
}

#[test]
fn the_answer_to_an_application_that_was_overtaken_is_ignored() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let before = machine.kernel.rules.as_ref().expect("rules").request;
    machine.faults.apply = true;
    let order = world.contain(2, isolate_policy()).deliver();
    machine.answer(&order);
    assert_eq!(machine.links(), Links::Failed);
    let digest = Some(Digest::of(b"the rules of the first order"));
    let result = Ok(Observed { meant: digest, found: digest, drift: Vec::new() });
    let late = Applied { request: before, result, sessions_cut: 0, fallback: None };
    machine.deliver_unchecked(Input::Applied(Box::new(late)));
    assert_eq!(machine.links(), Links::Failed, "rules of an older order were taken for those of this one");
    machine.faults.apply = false;
    machine.pass(6_000);
    machine.tick().expect("no crash was asked for");
    assert_eq!(machine.links(), Links::Cut, "and the newer order is tried again");
}

/// The newer order's proofs are not the older one's.
#[test]
fn an_order_that_was_overtaken_before_it_was_proven_is_never_called_verified() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.faults.management = true;
    let (first, second) = (world.cut(1).deliver(), world.contain(2, isolate_policy()).deliver());
    machine.answer(&first);
    machine.answer(&second);
    machine.faults.management = false;
    machine.pass(16_000);
    machine.tick().expect("no crash was asked for");
    let last = |delivery: &Delivery| machine.receiver.outcomes(delivery.order.digest()).pop();
    assert_eq!(last(&first), Some(Outcome::Applied {}));
    assert_eq!(last(&second), Some(Outcome::Verified {}));
}

/// The link is up before the core is told; an answer sent then would come before those it follows.
#[test]
fn a_repeat_is_not_answered_before_the_documents_that_wait_are_sent() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.disconnect().expect("no crash was asked for");
    let cut = world.cut(1).deliver();
    machine.give(&cut).expect("no crash was asked for");
    machine.connected = true;
    let heard = machine.receiver.chain.len();
    machine.give(&cut).expect("no crash was asked for");
    assert_eq!(machine.receiver.chain.len(), heard);
    machine.connect().expect("it connects");
    assert!(machine.receiver.chain.len() > heard, "they come in their order");
}

/// The shell lost an answer: the application is asked for again rather than waited for for ever.
#[test]
fn an_application_without_an_answer_is_asked_for_again() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.swallow_answers = true;
    machine.give(&world.cut(1).deliver()).expect("no crash was asked for");
    assert_eq!((machine.links(), machine.kernel.applications), (Links::Cutting, 1));
    machine.pass(30_000);
    machine.tick().expect("no crash was asked for");
    assert_eq!(machine.kernel.applications, 1, "it is given time");
    machine.swallow_answers = false;
    machine.pass(31_000);
    machine.tick().expect("no crash was asked for");
    assert_eq!((machine.links(), machine.kernel.applications), (Links::Cut, 2));
}

/// Between the order and the answer the kernel still holds the old rules; that is no drift.
#[test]
fn rules_read_while_an_application_is_under_way_are_no_drift() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.swallow_answers = true;
    machine.give(&world.cut(1).deliver()).expect("no crash was asked for");
    let drift = vec!["the rules differ".to_owned()];
    let early = Observed { meant: None, found: None, drift };
    machine.input(Input::ReadBack(early)).expect("no crash was asked for");
    assert_eq!(machine.state().alarms, []);
    assert_eq!((machine.links(), machine.kernel.applications), (Links::Cutting, 1));
}

#[test]
fn the_timer_of_another_boot_ends_nothing_in_this_one() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.drill(1, 600, machine.challenge()).deliver());
    machine.faults.apply = true;
    machine.reboot().expect("it starts again");
    machine.pass(5_000_000);
    machine.tick().expect("no crash was asked for");
    assert!(machine.state().policy.contains(), "a deadline of the last boot was counted in this one");
    machine.faults.apply = false;
    machine.pass(6_000);
    machine.tick().expect("no crash was asked for");
    assert!(machine.contained());
    machine.pass(601_000);
    machine.tick().expect("no crash was asked for");
    assert!(!machine.state().policy.contains(), "its own timer does");
}
