//! B11: SSHSIG blobs with a field that must not be, and algorithms that are not accepted.

use digue_proto::envelope::Envelope;
use digue_proto::key::PublicKey;
use digue_proto::trust::Class;
use digue_proto::verify::SignatureError;

use crate::support::sshsig::{Blob, armour, text};
use crate::support::{Machine, World};

const NAMESPACE: &str = "digue-protect.v1";

fn judged(change: impl FnOnce(&mut Blob), resign: bool) -> Result<(), SignatureError> {
    let world = World::new();
    let envelope = world.cut(1).envelope();
    let mut blob = Blob::good("alice", NAMESPACE, &envelope.payload);
    change(&mut blob);
    if resign {
        blob.sign_again("alice", &envelope.payload);
    }
    let signatures = vec![blob.armour()];
    let mut tally = world.trust.tally(&Envelope { signatures, ..envelope }, Class::Protect);
    tally.rejected.pop().map_or(Ok(()), Err)
}

#[test]
fn b11_the_hand_made_signature_itself_is_good() {
    assert_eq!(judged(|_| {}, true), Ok(()));
    assert_eq!(judged(|b| b.hash = "sha256", true), Ok(()), "OpenSSH's other hash");
}

#[test]
fn b11_a_reserved_field_that_is_not_empty_is_refused_even_if_it_was_signed() {
    assert_eq!(judged(|b| b.reserved = b"x".to_vec(), true), Err(SignatureError::Reserved));
    assert_eq!(judged(|b| b.reserved = b"x".to_vec(), false), Err(SignatureError::Reserved));
}

#[test]
fn b11_any_version_but_1_is_refused() {
    for version in [0, 2, 255, u32::MAX] {
        assert!(matches!(judged(|b| b.version = version, true), Err(SignatureError::Format(_))), "{version}");
    }
}

#[test]
fn b11_sha1_and_unknown_hashes_are_refused() {
    for hash in ["sha1", "md5", "sha384", "SHA512", ""] {
        assert!(matches!(judged(|b| b.hash = hash, true), Err(SignatureError::Format(_))), "{hash}");
    }
}

#[test]
fn b11_another_preamble_an_empty_namespace_and_trailing_bytes_are_refused() {
    assert!(matches!(judged(|b| b.magic = b"SSHSIX".to_vec(), true), Err(SignatureError::Format(_))));
    assert!(matches!(judged(|b| b.namespace.clear(), true), Err(SignatureError::Format(_))));
    assert!(matches!(judged(|b| b.namespace = vec![0xff], true), Err(SignatureError::Format(_))));
    let long = |b: &mut Blob| b.signature.extend(b"more");
    assert!(matches!(judged(long, false), Err(SignatureError::Format(_))));
    let world = World::new();
    let envelope = world.cut(1).envelope();
    let trailing = format!("{}x", envelope.signatures[0]);
    let tally = world.trust.tally(&Envelope { signatures: vec![trailing], ..envelope }, Class::Protect);
    assert!(matches!(tally.rejected.as_slice(), [SignatureError::Format(_)]), "{tally:?}");
}

#[test]
fn b11_a_signature_whose_algorithm_is_not_its_keys_is_refused() {
    let world = World::new();
    let payload = world.cut(1).envelope().payload;
    let signature = Blob::good("alice", NAMESPACE, &payload).signature.split_off(4 + 11 + 4);
    for kind in
        ["ssh-rsa", "rsa-sha2-512", "ssh-dss", "sk-ssh-ed25519@openssh.com", "ecdsa-sha2-nistp256", "none"]
    {
        let field = [text(kind.as_bytes()), text(&signature), vec![1, 0, 0, 0, 9]].concat();
        let short = [text(kind.as_bytes()), text(&signature)].concat();
        for field in [field, short] {
            let error = judged(|b| b.signature = field, false).expect_err(kind);
            assert!(
                matches!(error, SignatureError::Format(_) | SignatureError::Algorithm(_)),
                "{kind}: {error}"
            );
        }
    }
}

/// Public keys of every algorithm that is not accepted, made by OpenSSH 9.2 for this test; nobody holds
/// their private halves.
const OTHERS: [&str; 5] = [
    include_str!("../support/keys/rsa.pub"),
    include_str!("../support/keys/dsa.pub"),
    include_str!("../support/keys/p384.pub"),
    include_str!("../support/keys/p521.pub"),
    include_str!("../support/keys/sk-ecdsa.pub"),
];

#[test]
fn b11_keys_of_other_algorithms_are_refused_wherever_one_is_read() {
    for line in OTHERS {
        let refused = PublicKey::from_openssh_line(line);
        assert!(refused.is_err(), "{line} was accepted");
    }
}

#[test]
fn b11_a_signature_by_a_key_of_another_algorithm_counts_for_nothing() {
    use base64::Engine as _;
    let world = World::new();
    let mut machine = Machine::new(&world);
    for line in OTHERS {
        let (kind, rest) = line.split_once(' ').expect("an algorithm");
        let encoded = rest.split_whitespace().next().expect("a key");
        let mut delivery = world.cut(1).deliver();
        let mut blob = Blob::good("alice", NAMESPACE, &delivery.order.payload);
        blob.public_key = base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64");
        blob.signature = [text(kind.as_bytes()), text(&[1; 132])].concat();
        delivery.order.signatures = vec![blob.armour()];
        machine.refuses(&delivery, "E0303");
    }
}

#[test]
fn b11_armour_that_is_damaged_anywhere_is_refused_or_names_the_same_signature() {
    let world = World::new();
    let envelope = world.cut(1).envelope();
    let good = envelope.signatures[0].clone();
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] ^= 1;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let tally =
            world.trust.tally(&Envelope { signatures: vec![text], ..envelope.clone() }, Class::Protect);
        let lenient = tally.counted.len() == 1 && good.as_bytes()[at] == b'\n';
        assert!(tally.counted.is_empty() || lenient, "byte {at} is not protected");
    }
    assert!(armour(b"").contains("BEGIN"));
}
