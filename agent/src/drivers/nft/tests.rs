//! Encoding and decoding, without a kernel.

use proptest::prelude::*;

use digue_proto::rules::{Base, Expr, Field, Op, RejectWith, Verdict};

use super::decode::{Dumps, decode};
use super::expr;
use crate::drivers::netlink::{Writer, attributes};

fn round_trip(exprs: &[Expr]) -> Vec<Expr> {
    let mut writer = Writer::default();
    expr::write(&mut writer, exprs);
    expr::read(&writer.into_bytes()).expect("well formed").0
}

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![
        Just(Field::Nfproto),
        Just(Field::L4proto),
        Just(Field::Iif),
        Just(Field::Oif),
        (0u16..200, 1u8..=16).prop_map(|(offset, len)| Field::payload(Base::Link, offset, len)),
        (0u16..200, 1u8..=16).prop_map(|(offset, len)| Field::payload(Base::Network, offset, len)),
        (0u16..200, 1u8..=16).prop_map(|(offset, len)| Field::payload(Base::Transport, offset, len)),
    ]
}

fn step() -> impl Strategy<Value = Expr> {
    let op = prop_oneof![Just(Op::Eq), Just(Op::Ne)];
    prop_oneof![
        (field(), any::<bool>(), op, any::<u8>()).prop_map(|(field, masked, op, byte)| Expr::Match {
            field,
            mask: masked.then(|| vec![0xf0; field.width()].into()),
            op,
            value: vec![byte; field.width()].into(),
        }),
        (proptest::collection::vec(field(), 1..4), any::<bool>())
            .prop_map(|(fields, negated)| Expr::Lookup { fields, set: "controllers4".to_owned(), negated }),
        (field(), any::<u8>(), any::<u8>()).prop_map(|(field, from, to)| Expr::Range {
            field,
            from: vec![from; field.width()].into(),
            to: vec![to; field.width()].into(),
        }),
        Just(Expr::Counter),
        Just(Expr::Reject(RejectWith::TcpReset)),
        Just(Expr::Reject(RejectWith::AdminProhibited)),
        Just(Expr::Verdict(Verdict::Accept)),
        Just(Expr::Verdict(Verdict::Drop)),
        (1u64..1000, any::<u32>()).prop_map(|(per_second, burst)| Expr::Limit { per_second, burst }),
        Just(Expr::Foreign { name: "quota".to_owned(), bytes: [8, 0, 1, 0, 0, 0, 0, 1].into() }),
    ]
}

#[test]
fn a_load_that_nothing_of_ours_uses_is_foreign() {
    let counter = [Expr::Counter];
    let mut writer = Writer::default();
    expr::write(&mut writer, &[Expr::equals(Field::L4proto, [6])]);
    let mut bytes = writer.into_bytes();
    // Without its last expression, the comparison, the load stands alone.
    let comparison = attributes(&bytes).expect("well formed").last().expect("two expressions").1.len() + 4;
    bytes.truncate(bytes.len() - comparison);
    let mut tail = Writer::default();
    expr::write(&mut tail, &counter);
    bytes.extend(tail.into_bytes());
    let (found, counts) = expr::read(&bytes).expect("well formed");
    assert!(
        matches!(found.as_slice(), [Expr::Foreign { name, .. }, other] if name == "meta" && other != &Expr::Counter)
    );
    assert_eq!(counts.len(), 1);
}

proptest! {
    #[test]
    fn every_rule_that_can_be_written_is_read_back_as_it_was(exprs in proptest::collection::vec(step(), 0..8)) {
        prop_assert_eq!(round_trip(&exprs), exprs);
    }

    #[test]
    fn arbitrary_answers_never_panic(
        lists in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..120), 5),
    ) {
        let list = |index: usize| vec![lists[index].clone()];
        let dumps = Dumps {
            generation: 1,
            tables: list(0),
            chains: list(1),
            rules: list(2),
            sets: list(3),
            elements: list(4),
        };
        _ = decode(&dumps, &[1], None);
        _ = expr::read(&lists[0]);
    }
}
