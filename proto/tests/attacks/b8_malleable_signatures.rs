//! B8: a signature altered without its key. Documents are told apart by their payload, never by it.
//!
//! Ed25519 signatures cannot be altered (S is checked to be reduced); those of P-256, which only the TPMs
//! of hosts may make, can: (r, n - s) verifies wherever (r, s) does.

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::id::{Digest, HostId, UnixMillis};
use digue_proto::report::{Clocks, HeartbeatV1, Links};
use digue_proto::verify::verify_host;
use digue_proto::{sign, strict};

use super::b6_bad_keys_in_a_root::p256;
use crate::support::people::public;
use crate::support::sshsig::{Blob, text};
use crate::support::{Machine, World};

/// The order of the group of P-256.
const N: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
    0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
/// The order of the group of Ed25519, little end first.
const L: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

#[test]
fn b8_an_ed25519_signature_with_a_larger_s_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let mut delivery = world.cut(1).deliver();
    let mut blob = Blob::good("alice", "digue-protect.v1", &delivery.order.payload);
    let at = blob.signature.len() - 32;
    let mut carry = 0u16;
    for (byte, add) in blob.signature[at..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    delivery.order.signatures = vec![blob.armour()];
    machine.refuses(&delivery, "E0303");
}

#[test]
fn b8_a_done_order_with_other_signatures_gets_the_same_receipt_and_does_not_run_again() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let (applied, chain) = (machine.kernel.applications, machine.state().seq);
    let payload = world.cut(1).envelope().payload;
    let mut hashed = Blob::good("alice", "digue-protect.v1", &payload);
    hashed.hash = "sha256";
    hashed.sign_again("alice", &payload);
    for signatures in
        [vec![hashed.armour()], world.cut(1).by(&["denis", "alice"]).envelope().signatures, Vec::new()]
    {
        let mut again = world.cut(1).deliver();
        again.order.signatures = signatures;
        let repeats = machine.receiver.repeats;
        machine.give(&again).expect("no crash was asked for");
        assert_eq!(machine.receiver.repeats, repeats + 1, "the same receipt");
        assert_eq!((machine.kernel.applications, machine.state().seq), (applied, chain));
    }
}

#[test]
fn b8_an_altered_p_256_signature_of_a_host_names_the_same_document() {
    let world = World::new();
    let host = p256("srv-001");
    let heartbeat = HeartbeatV1 {
        deployment_id: world.deployment(),
        host_id: "srv-001".parse::<HostId>().expect("a name"),
        seq: 1,
        head: Some(Digest::of(b"head")),
        clocks: Clocks { wall_ms: UnixMillis(1), boottime_ms: 1, boot_id: String::new() },
        links: Links::Open,
        rules_hold: true,
        echo: None,
    };
    let payload = strict::to_vec(&heartbeat).expect("JSON");
    let signed = sign::seal(&host, PayloadType::Heartbeat, payload.clone()).expect("a signature");
    let altered = Envelope { signatures: vec![alter(&signed.signatures[0])], ..signed.clone() };
    assert_ne!(altered.signatures, signed.signatures);
    let read = |e: &Envelope| {
        verify_host::<HeartbeatV1>(e, &public(&host), world.deployment()).expect("it verifies")
    };
    assert_eq!(read(&signed).digest(), read(&altered).digest());
    assert_eq!(signed.digest(), Digest::of(&payload));
}

/// The same signature with n - s in the place of s.
fn alter(armour: &str) -> String {
    let signature = ssh_key::SshSig::from_pem(armour).expect("an SSH signature");
    let mut fields = signature.signature_bytes();
    let mut next = || {
        let (length, rest) = fields.split_first_chunk::<4>().expect("a length");
        let (value, rest) = rest.split_at(usize::try_from(u32::from_be_bytes(*length)).expect("short"));
        fields = rest;
        value.to_vec()
    };
    let (r, s) = (next(), next());
    let mut padded = [0u8; 32];
    let digits = s.iter().skip_while(|b| **b == 0).copied().collect::<Vec<_>>();
    padded[32 - digits.len()..].copy_from_slice(&digits);
    let mut borrow = 0i16;
    let mut negated: Vec<u8> = N
        .iter()
        .zip(padded)
        .rev()
        .map(|(n, s)| {
            let difference = i16::from(*n) - i16::from(s) - borrow;
            borrow = i16::from(difference < 0);
            u8::try_from(difference.rem_euclid(256)).expect("a byte")
        })
        .collect();
    negated.reverse();
    let mut negated: Vec<u8> = negated.into_iter().skip_while(|b| *b == 0).collect();
    if negated.first().is_some_and(|b| b & 0x80 != 0) {
        negated.insert(0, 0);
    }
    let kind = b"ecdsa-sha2-nistp256";
    let mut blob = Blob::good("unused", signature.namespace(), b"");
    let ssh_key::public::KeyData::Ecdsa(key) = signature.public_key() else { panic!("not P-256") };
    blob.public_key = [text(kind), text(b"nistp256"), text(key.as_sec1_bytes())].concat();
    blob.signature = [text(kind), text(&[text(&r), text(&negated)].concat())].concat();
    blob.armour()
}
