//! A4: something added to what was signed: members, orders, targets.

use digue_proto::envelope::Envelope;
use digue_proto::frame::FromController;
use digue_proto::id::Digest;
use digue_proto::merkle::Proof;
use digue_proto::order::{OrderError, TargetProof};
use digue_proto::strict;
use digue_proto::verify::VerifyError;

use crate::support::people::seal_by;
use crate::support::{Machine, World};

#[test]
fn a4_an_envelope_or_a_delivery_with_an_added_member_is_refused() {
    let world = World::new();
    let json = String::from_utf8(world.cut(1).envelope().to_json().expect("JSON")).expect("UTF-8");
    assert!(Envelope::from_json(json.as_bytes()).is_ok());
    for added in [r#","keyid":"alice""#, r#","orders":[]"#, r#","payload":"""#, r#","signatures":[]"#] {
        let altered = json.replacen('}', &format!("{added}}}"), 1);
        assert!(Envelope::from_json(altered.as_bytes()).is_err(), "{added} was accepted");
        let frame = format!(r#"C{{"order":{altered},"target":null,"statement":null}}"#);
        assert!(FromController::decode(frame.as_bytes()).is_err(), "{added} was accepted in a delivery");
    }
    let two = format!(r#"C{{"order":{json},"order":{json},"target":null,"statement":null}}"#);
    assert!(FromController::decode(two.as_bytes()).is_err());
    let more = format!(r#"C{{"order":{json},"target":null,"statement":null,"also":{json}}}"#);
    assert!(FromController::decode(more.as_bytes()).is_err());
}

/// Even signed, a member that this version does not know is not skipped.
#[test]
fn a4_a_signed_order_with_an_unknown_member_is_refused_when_it_is_parsed() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let mut delivery = world.cut(1).deliver();
    let text = String::from_utf8(delivery.order.payload.clone()).expect("UTF-8");
    for (from, to) in [
        (r#""reason":"#, r#""also":"release","reason":"#),
        (r#""profile":"#, r#""persistent":true,"profile":"#),
        (r#""allow_self_cut":"#, r#""and":{},"allow_self_cut":"#),
        (r#""all":{}"#, r#""all":{"but":[]}"#),
        (r#""contain":"#, r#""release":{"without_verdict":true},"contain":"#),
    ] {
        let altered = text.replacen(from, to, 1);
        assert_ne!(altered, text, "{from}");
        delivery.order = seal_by(delivery.order.payload_type, altered.into_bytes(), &["alice"]);
        assert!(matches!(
            world.trust.verify_order(&delivery.order),
            Err(VerifyError::Order(OrderError::Parse(_)))
        ));
        machine.refuses(&delivery, "E0306");
    }
}

#[test]
fn a4_a_target_that_was_not_signed_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let elsewhere = world.cut(1).with_leaf(|l| l.host_id = "srv-777".parse().expect("a name")).deliver();
    let own = world.cut(1).with_leaf(|_| {}).deliver();
    let own_leaf = own.target.clone().expect("a target").leaf;
    for (index, path) in
        [(0, Vec::new()), (1, elsewhere.target.clone().expect("a target").proof.path), (3, Vec::new())]
    {
        let mut added = elsewhere.clone();
        added.target = Some(TargetProof { leaf: own_leaf.clone(), proof: Proof { index, path } });
        machine.refuses(&added, "E0306");
    }
    let mut endless = own.clone();
    endless.target = Some(TargetProof {
        leaf: own_leaf.clone(),
        proof: Proof { index: 1, path: vec![Digest::of(&own_leaf); 65] },
    });
    machine.refuses(&endless, "E0306");
}

#[test]
fn a4_a_leaf_with_an_order_for_all_or_none_with_a_list_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let mut for_all = world.cut(1).deliver();
    for_all.target = world.cut(1).with_leaf(|_| {}).deliver().target;
    machine.refuses(&for_all, "E0401");
    let mut for_some = world.cut(1).with_leaf(|_| {}).deliver();
    for_some.target = None;
    machine.refuses(&for_some, "E0401");
}

#[test]
fn a4_a_leaf_with_an_unknown_or_double_member_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let draft = world.cut(1).with_leaf(|_| {});
    let leaf = String::from_utf8(draft.deliver().target.expect("a target").leaf).expect("UTF-8");
    for altered in [
        leaf.replacen('{', r#"{"also":"srv-002","#, 1),
        leaf.replacen('{', r#"{"host_id":"srv-001","#, 1),
        format!("{leaf} "),
        format!("{leaf}x"),
    ] {
        let mut order = draft.order.clone();
        let leaves = [altered.clone().into_bytes()];
        order.target =
            digue_proto::order::Target::List { root: digue_proto::merkle::root(&leaves), count: 1 };
        let proof = Proof { index: 0, path: Vec::new() };
        let delivery = digue_proto::frame::Delivery {
            order: seal_by(draft.kind, strict::to_vec(&order).expect("JSON"), &["alice"]),
            target: Some(TargetProof { leaf: altered.clone().into_bytes(), proof }),
            statement: None,
        };
        if altered.ends_with("} ") {
            continue; // White space after the text is the same text; it is part of what was signed.
        }
        machine.refuses(&delivery, "E0306");
    }
}
