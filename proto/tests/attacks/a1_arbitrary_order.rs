//! A1: an order with no signature, a random one, or one made by the attacker's own key.

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::frame::Delivery;
use digue_proto::trust_chain::Trust;
use digue_proto::verify::{SignatureError, VerifyError};

use crate::support::people::seal_by;
use crate::support::sshsig::armour;
use crate::support::{Machine, World};

fn rejected(trust: &Trust, envelope: &Envelope) -> Vec<SignatureError> {
    match trust.verify_order(envelope) {
        Err(VerifyError::Threshold { have: 0, rejected, .. }) => rejected,
        other => panic!("expected step 5 to stop it, got {other:?}"),
    }
}

#[test]
fn a1_an_order_without_a_signature_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let delivery = world.cut(1).by(&[]).deliver();
    assert_eq!(rejected(&world.trust, &delivery.order), []);
    machine.refuses(&delivery, "E0303");
}

#[test]
fn a1_an_order_with_random_bytes_as_signatures_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let mut delivery = world.cut(1).by(&[]).deliver();
    delivery.order.signatures = vec![armour(b"not a signature"), "garbage".to_owned(), String::new()];
    assert!(rejected(&world.trust, &delivery.order).iter().all(|e| matches!(e, SignatureError::Format(_))));
    machine.refuses(&delivery, "E0303");
}

#[test]
fn a1_an_order_signed_by_a_self_made_key_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let delivery = world.cut(1).by(&["mallory"]).deliver();
    assert!(matches!(rejected(&world.trust, &delivery.order).as_slice(), [SignatureError::UnknownKey(_)]));
    machine.refuses(&delivery, "E0303");
}

#[test]
fn a1_an_order_signed_by_the_hosts_own_key_is_refused() {
    let world = World::new();
    Machine::new(&world).refuses(&world.cut(1).by(&["srv-001"]).deliver(), "E0303");
}

/// A payload that no parser accepts gives the same refusal as one that would parse: it was not looked at.
#[test]
fn a1_the_payload_of_an_unsigned_order_is_never_parsed() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    for kind in [PayloadType::Query, PayloadType::Protect, PayloadType::Release] {
        let order = seal_by(kind, b"\xff not JSON at all".to_vec(), &["mallory"]);
        rejected(&world.trust, &order);
        machine.refuses(&Delivery { order, target: None, statement: None }, "E0303");
    }
    assert!(machine.receiver.receipts.iter().all(|r| r.order_id.is_none()));
    let signed = seal_by(PayloadType::Protect, b"\xff not JSON at all".to_vec(), &["alice"]);
    assert!(matches!(world.trust.verify_order(&signed), Err(VerifyError::Order(_))), "this one is parsed");
}
