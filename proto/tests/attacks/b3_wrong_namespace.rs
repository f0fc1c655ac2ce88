//! B3, B4: signatures that good keys made for something else.

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::trust::Class;
use digue_proto::verify::SignatureError;
use ed25519_dalek::Signer as _;

use crate::support::sshsig::{Blob, ed25519_key, signing, text};
use crate::support::{Machine, World};

#[test]
fn b3_a_signature_for_any_other_namespace_counts_for_nothing() {
    let world = World::new();
    let payload = world.cut(1).envelope().payload;
    let others = PayloadType::ALL.map(PayloadType::namespace);
    for wanted in PayloadType::ALL {
        let Some(class) = Class::of(wanted) else { continue };
        for made_for in
            others.into_iter().chain(["git", "file", "email", "digue-protect.v2", "digue-protect.v1 "])
        {
            let signatures = vec![Blob::good("bruno", made_for, &payload).armour()];
            let envelope = Envelope { payload_type: wanted, payload: payload.clone(), signatures };
            let tally = world.trust.tally(&envelope, class);
            if made_for == wanted.namespace() {
                assert_eq!(tally.counted.len(), 1, "{wanted}");
            } else {
                assert!(
                    matches!(tally.rejected.as_slice(), [SignatureError::Namespace { .. }]),
                    "{made_for} was taken for {wanted}: {tally:?}"
                );
            }
        }
    }
}

#[test]
fn b3_protect_signatures_do_not_release() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let release = world.release(2, machine.challenge());
    // Two persons sign it as a protective order: the class that was signed is not the action's.
    machine.refuses(&release.clone().typed(PayloadType::Protect).deliver(), "E0309");
    // The same signatures with the label changed on the way.
    let mut relabelled = release.typed(PayloadType::Protect).deliver();
    relabelled.order.payload_type = PayloadType::Release;
    machine.refuses(&relabelled, "E0303");
    assert!(machine.contained());
}

#[test]
fn b3_documents_of_hosts_and_statements_are_no_orders() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    for kind in PayloadType::ALL {
        if matches!(kind, PayloadType::Query | PayloadType::Protect | PayloadType::Release) {
            continue;
        }
        machine.refuses(&world.cut(1).by(&["alice", "bruno", "claire"]).typed(kind).deliver(), "E0302");
    }
}

#[test]
fn b4_an_ssh_login_is_no_signature_of_an_order() {
    let world = World::new();
    let envelope = world.cut(1).envelope();
    // What a forwarded agent signs at a login: session id and a request, with no preamble (RFC 4252).
    let mut login = Blob::good("alice", "digue-protect.v1", &envelope.payload);
    let request =
        [text(&[7; 32]), vec![50], text(b"root"), text(b"ssh-connection"), text(b"publickey")].concat();
    let signed = [request, vec![1], text(b"ssh-ed25519"), text(&ed25519_key(&signing("alice")))].concat();
    login.signature = [text(b"ssh-ed25519"), text(&signing("alice").sign(&signed).to_bytes())].concat();
    // And the bare payload, without SSHSIG's wrapping.
    let mut bare = login.clone();
    let signature = signing("alice").sign(&envelope.payload).to_bytes();
    bare.signature = [text(b"ssh-ed25519"), text(&signature)].concat();
    let signatures = vec![login.armour(), bare.armour()];
    let tally = world.trust.tally(&Envelope { signatures, ..envelope }, Class::Protect);
    assert_eq!(tally.rejected, [SignatureError::Invalid, SignatureError::Invalid]);
}

#[test]
fn b4_a_certificate_counts_for_nothing_even_over_a_trusted_key() {
    let world = World::new();
    let envelope = world.cut(1).envelope();
    let key = signing("alice").verifying_key().to_bytes();
    let kind: &[u8] = b"ssh-ed25519-cert-v01@openssh.com";
    let authority = ed25519_key(&signing("authority"));
    let fields = [
        text(kind),
        text(&[1; 32]),
        text(&key),
        7u64.to_be_bytes().to_vec(),
        1u32.to_be_bytes().to_vec(),
        text(b"alice"),
        text(&text(b"alice")),
        0u64.to_be_bytes().to_vec(),
        u64::MAX.to_be_bytes().to_vec(),
        text(b""),
        text(b""),
        text(b""),
        text(&authority),
    ]
    .concat();
    let seal = [text(b"ssh-ed25519"), text(&signing("authority").sign(&fields).to_bytes())].concat();
    let certificate = [fields, text(&seal)].concat();
    let mut blob = Blob::good("alice", "digue-protect.v1", &envelope.payload);
    blob.public_key = certificate.clone();
    let tally = world.trust.tally(&Envelope { signatures: vec![blob.armour()], ..envelope }, Class::Protect);
    assert!(tally.counted.is_empty(), "{tally:?}");
    // Nor can a root name one.
    use base64::Engine as _;
    let line = format!(
        "ssh-ed25519-cert-v01@openssh.com {}",
        base64::engine::general_purpose::STANDARD.encode(&certificate)
    );
    assert!(digue_proto::key::PublicKey::from_openssh_line(&line).is_err());
}
