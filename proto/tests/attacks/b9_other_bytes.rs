//! B9, B10: the same document in other bytes, and JSON with more than one meaning.

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::order::{OrderError, OrderV1};
use digue_proto::strict;
use digue_proto::verify::VerifyError;

use crate::support::people::seal_by;
use crate::support::{Machine, World};

#[test]
fn b9_a_payload_that_was_serialised_again_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let good = world.cut(1).deliver();
    let text = String::from_utf8(good.order.payload.clone()).expect("UTF-8");
    let order: OrderV1 = serde_json::from_str(&text).expect("an order");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let spellings = [
        serde_json::to_string_pretty(&order).expect("JSON"),
        value.to_string(),
        text.replacen(':', ": ", 1),
        format!("{text}\n"),
        text.replacen("exercise", "\\u0065xercise", 1),
    ];
    for other in spellings {
        assert_ne!(other, text);
        let reread: OrderV1 = serde_json::from_str(&other).expect("it means the same");
        assert_eq!(reread, order);
        let mut altered = good.clone();
        altered.order.payload = other.into_bytes();
        machine.refuses(&altered, "E0303");
    }
    machine.obeys(&good);
}

/// Signed texts that a lenient parser would read in its own way.
#[test]
fn b10_json_with_more_than_one_meaning_is_refused_even_if_signed() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let good = String::from_utf8(world.cut(1).envelope().payload).expect("UTF-8");
    let swap = |from: &str, to: &str| {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from} is not there");
        text.into_bytes()
    };
    let bad = [
        swap(r#""generation":1"#, r#""generation":1,"generation":2"#),
        swap(r#""profile":"cut""#, r#""profile":"cut","profile":"isolate""#),
        swap(r#""contain":{"#, r#""contain":{},"contain":{"#),
        swap(r#""all":{}"#, r#""all":{},"all":{}"#),
        swap(r#""reason":"#, r#""unknown":1,"reason":"#),
        swap(r#""generation":1"#, r#""generation":1.0"#),
        swap(r#""generation":1"#, r#""generation":1e0"#),
        swap(r#""generation":1"#, r#""generation":-1"#),
        swap(r#""generation":1"#, r#""generation":"1""#),
        swap(r#""generation":1"#, r#""generation":18446744073709551616"#),
        swap(r#""generation":1"#, r#""generation":01"#),
        swap(r#""generation":1"#, r#""generation":NaN"#),
        swap(r#""generation":1,"#, ""),
        swap(r#""allow_self_cut":false"#, r#""allow_self_cut":0"#),
        [b"\xef\xbb\xbf".to_vec(), good.clone().into_bytes()].concat(),
        [good.clone().into_bytes(), b"{}".to_vec()].concat(),
        [good.clone().into_bytes(), b"\0".to_vec()].concat(),
        swap("exercise", "exer\u{0}cise"),
        good.clone().into_bytes().iter().map(|b| if *b == b'x' { 0xff } else { *b }).collect(),
        good.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        swap(r#""reason":"a test""#, &format!(r#""reason":{}"#, "[".repeat(200) + &"]".repeat(200))),
    ];
    for payload in bad {
        let shown = String::from_utf8_lossy(&payload).into_owned();
        let order = seal_by(PayloadType::Protect, payload, &["alice"]);
        let refused = world.trust.verify_order(&order).expect_err(&shown);
        assert!(matches!(refused, VerifyError::Order(OrderError::Parse(_))), "{refused}: {shown}");
        machine.refuses(&digue_proto::frame::Delivery { order, target: None, statement: None }, "E0306");
    }
}

#[test]
fn b10_an_envelope_with_more_than_one_meaning_is_refused() {
    let world = World::new();
    let good = String::from_utf8(world.cut(1).envelope().to_json().expect("JSON")).expect("UTF-8");
    assert!(Envelope::from_json(good.as_bytes()).is_ok());
    let start = good.find(r#""payload":""#).expect("a payload") + 11;
    let length = good[start..].find('"').expect("its end");
    let payload = &good[start..start + length];
    let with = |payload: String| format!("{}{payload}{}", &good[..start], &good[start + length..]);
    let bad = [
        with(format!("{payload}=")),
        with(payload.trim_end_matches('=').to_owned() + "A"),
        with(format!("{}\\n{}", &payload[..40], &payload[40..])),
        with(payload.replacen(|c: char| c.is_ascii_alphabetic(), "-", 1)),
        good.replacen("digue-protect.v1", "digue-protect.v2", 1),
        good.replacen("digue-protect.v1", "DIGUE-PROTECT.V1", 1),
        good.replacen(r#""payload_type":"#, r#""payload_type":"digue-release.v1","payload_type":"#, 1),
        good.clone() + "\0",
        format!("[{good}]"),
    ];
    for text in bad {
        assert_ne!(text, good);
        assert!(Envelope::from_json(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn b10_signed_lists_that_stand_for_sets_must_be_sorted_and_unique() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let cut = crate::support::world::cut_policy;
    let with = |change: &dyn Fn(&mut digue_proto::policy::Policy)| {
        let mut policy = cut();
        change(&mut policy);
        world.contain(1, policy).deliver()
    };
    let twice = with(&|p| p.controllers.push(p.controllers[0]));
    machine.refuses(&twice, "E0306");
    let unsorted = with(&|p| p.internal.push("10.0.0.0/16".parse().expect("a network")));
    machine.refuses(&unsorted, "E0306");
    let list = digue_proto::policy::BlockList {
        networks: ["198.51.100.7/32", "198.51.100.6/32"].map(|n| n.parse().expect("a network")).to_vec(),
    };
    machine.refuses(&world.block(1, list).deliver(), "E0306");
    let head = |stream| digue_proto::order::Head { stream, gen_epoch: 0, generation: 1 };
    use digue_proto::order::Stream::{Block, Net, Query};
    for heads in [vec![Net], vec![Query, Block], vec![Block, Block]] {
        let order = world.cut(1).edit(|o| o.heads = heads.into_iter().map(head).collect());
        machine.refuses(&order.deliver(), "E0306");
    }
    assert!(strict::to_vec(&cut()).is_ok());
}
