//! B1, B2, B7, B16: what counts as one person, and what does not count at all.

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::host::Input;
use digue_proto::trust::Class;
use digue_proto::verify::{SignatureError, Tally};

use crate::support::people::{plain, public, seal_by};
use crate::support::sshsig::Blob;
use crate::support::world::root_v1;
use crate::support::{Machine, World, key};

fn tally(world: &World, envelope: &Envelope) -> Tally<digue_proto::id::PersonId> {
    world.trust.tally(envelope, Class::Release)
}

#[test]
fn b1_one_signature_twice_counts_once() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let mut delivery = world.release(1, machine.challenge()).by(&["alice", "alice"]).deliver();
    assert_eq!(delivery.order.signatures[0], delivery.order.signatures[1]);
    assert_eq!(tally(&world, &delivery.order).counted.len(), 1);
    machine.refuses(&delivery, "E0303");
    delivery.order.signatures = vec![delivery.order.signatures[0].clone(); 16];
    machine.refuses(&delivery, "E0303");
}

#[test]
fn b1_two_different_signatures_of_one_key_count_once() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let mut delivery = world.release(1, machine.challenge()).by(&["alice"]).deliver();
    let payload = delivery.order.payload.clone();
    let mut other = Blob::good("alice", "digue-release.v1", &payload);
    other.hash = "sha256";
    other.sign_again("alice", &payload);
    delivery.order.signatures.push(other.armour());
    delivery.order.signatures.push(delivery.order.signatures[0].replace('\n', "\r\n"));
    let tally = tally(&world, &delivery.order);
    assert_eq!((tally.counted.len(), tally.rejected), (1, Vec::new()), "both verify");
    machine.refuses(&delivery, "E0303");
}

#[test]
fn b2_two_keys_of_one_person_count_once() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let delivery = world.release(1, machine.challenge()).by(&["alice", "alice-spare"]).deliver();
    let tally = tally(&world, &delivery.order);
    assert_eq!((tally.counted.len(), tally.rejected), (1, Vec::new()), "both verify");
    machine.refuses(&delivery, "E0303");
}

#[test]
fn b2_two_keys_of_one_analyst_do_not_make_a_host_clean() {
    let world = World::new();
    let statement = world.clean(&["claire", "claire-spare"]);
    assert_eq!(world.trust.verify_statement(&statement).expect_err("one person").code(), "E0303");
    let nobody_forensic = world.clean(&["bruno", "denis"]);
    assert_eq!(world.trust.verify_statement(&nobody_forensic).expect_err("no forensic").code(), "E0304");
    assert!(world.trust.verify_statement(&world.clean(&["claire", "denis"])).is_ok());
}

#[test]
fn b2_a_root_may_ask_for_more_forensic_persons_and_gets_them() {
    let mut root = root_v1();
    let forensic = root.roles.last_mut().expect("forensic comes last");
    forensic.persons.push("denis".parse().expect("a name"));
    forensic.threshold = 2;
    let world = World::with_root(&root);
    assert_eq!(
        world.trust.verify_statement(&world.clean(&["bruno", "claire"])).expect_err("one").code(),
        "E0304"
    );
    assert!(world.trust.verify_statement(&world.clean(&["claire", "denis"])).is_ok());
}

#[test]
fn b7_a_key_is_found_by_its_bytes_and_no_id_or_comment_is_read() {
    let world = World::new();
    let envelope = world.cut(1).by(&["bruno"]).envelope();
    let tally = world.trust.tally(&envelope, Class::Protect);
    assert_eq!(tally.counted.into_iter().map(|p| p.to_string()).collect::<Vec<_>>(), ["bruno"]);
    let with_id = String::from_utf8(envelope.to_json().expect("JSON")).expect("UTF-8").replacen(
        '{',
        r#"{"keyid":"alice","#,
        1,
    );
    assert!(Envelope::from_json(with_id.as_bytes()).is_err());
    let commented = format!("{} alice@example.org", public(&key("bruno")));
    assert!(commented.parse::<digue_proto::key::PublicKey>().is_err(), "no comment in a signed document");
    // A signature that names alice's key and was made by bruno's.
    let mut mixed = Blob::good("bruno", "digue-protect.v1", &envelope.payload);
    mixed.public_key = Blob::good("alice", "digue-protect.v1", &envelope.payload).public_key;
    let mixed = Envelope { signatures: vec![mixed.armour()], ..envelope };
    assert_eq!(world.trust.tally(&mixed, Class::Protect).rejected, [SignatureError::Invalid]);
}

#[test]
fn b16_a_revoked_person_and_a_valid_one_count_once() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let root = world.next_root(&["alice", "bruno"], |r| {
        r.persons.retain(|p| p.id.as_str() != "alice");
        for role in &mut r.roles {
            role.persons.retain(|p| p.as_str() != "alice");
        }
    });
    // Alice's last act is to sign the root without her; the new root needs two of its own.
    let root = seal_by(PayloadType::Root, root.payload, &["alice", "bruno", "claire"]);
    machine.input(Input::Roots(vec![root])).expect("no crash was asked for");
    assert_eq!(machine.host().trust().version(), 2);
    let release = world.release(1, machine.challenge());
    machine.refuses(&release.clone().by(&["alice", "bruno"]).deliver(), "E0303");
    machine.refuses(&release.clone().by(&["alice", "alice-spare", "bruno"]).deliver(), "E0303");
    machine.obeys(&release.by(&["alice", "bruno", "denis"]).deliver());
}

#[test]
fn b16_a_replaced_key_of_a_person_who_stays_does_not_count() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let root = world.next_root(&["alice", "bruno"], |r| {
        r.persons[0].keys = vec![plain(public(&key("alice-new")))];
    });
    let root = seal_by(PayloadType::Root, root.payload, &["alice", "alice-new", "bruno"]);
    machine.input(Input::Roots(vec![root])).expect("no crash was asked for");
    machine.refuses(&world.cut(1).by(&["alice"]).deliver(), "E0303");
    machine.obeys(&world.cut(1).by(&["alice-new"]).deliver());
}
