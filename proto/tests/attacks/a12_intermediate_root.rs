//! A12: a root skipped, repeated, or not signed by both thresholds (tough CVE-2025-2885).

use digue_proto::host::Input;
use digue_proto::trust_chain::{Trust, TrustError};
use digue_proto::verify::VerifyError;

use crate::support::people::person;
use crate::support::{Machine, World};

fn refused(world: &World, envelope: &digue_proto::envelope::Envelope, code: &str) {
    let error = world.trust.next(envelope).expect_err("it was accepted");
    assert_eq!(error.code(), code, "{error}");
    let mut machine = Machine::new(world);
    machine.input(Input::Roots(vec![envelope.clone()])).expect("no crash was asked for");
    assert_eq!((machine.host().trust().version(), machine.disk.roots.len()), (1, 1));
    assert!(machine.notes.iter().any(|(event, detail)| *event == "root_refused" && detail.starts_with(code)));
}

#[test]
fn a12_a_root_that_skips_one_is_refused() {
    let world = World::new();
    refused(&world, &world.next_root(&["alice", "bruno"], |r| r.version = 3), "E0312");
}

#[test]
fn a12_the_root_in_force_is_not_its_own_successor() {
    let world = World::new();
    let repeated = world.next_root(&["alice", "bruno"], |r| r.version = 1);
    assert_eq!(world.trust.next(&repeated).expect_err("repeated").code(), "E0312");
    assert!(world.trust.next(&world.first).is_err());
}

#[test]
fn a12_a_root_not_signed_by_the_threshold_before_it_is_refused_unparsed() {
    let world = World::new();
    let mallory = |r: &mut digue_proto::trust::RootV1| {
        r.persons.push(person("mallory", &["mallory"]));
        r.roles[0].persons = ["alice", "mallory"].map(|p| p.parse().expect("a name")).to_vec();
    };
    refused(&world, &world.next_root(&["alice", "mallory"], mallory), "E0303");
    refused(&world, &world.next_root(&["alice"], |_| {}), "E0303");
    let rubbish = crate::support::people::seal_by(
        digue_proto::envelope::PayloadType::Root,
        b"\xff not JSON".to_vec(),
        &["alice", "mallory"],
    );
    assert!(matches!(
        world.trust.next(&rubbish),
        Err(TrustError::Verify(VerifyError::Threshold { have: 1, .. }))
    ));
}

#[test]
fn a12_a_root_not_signed_by_its_own_threshold_is_refused() {
    let world = World::new();
    let stricter = |r: &mut digue_proto::trust::RootV1| r.roles[0].threshold = 3;
    refused(&world, &world.next_root(&["alice", "bruno"], stricter), "E0303");
    assert!(world.trust.next(&world.next_root(&["alice", "bruno", "claire"], stricter)).is_ok());
    let handed_over = |r: &mut digue_proto::trust::RootV1| {
        r.roles[0].persons = ["claire", "denis"].map(|p| p.parse().expect("a name")).to_vec();
    };
    refused(&world, &world.next_root(&["alice", "bruno"], handed_over), "E0303");
    refused(&world, &world.next_root(&["claire", "denis"], handed_over), "E0303");
    assert!(world.trust.next(&world.next_root(&["alice", "bruno", "claire", "denis"], handed_over)).is_ok());
}

#[test]
fn a12_a_root_of_another_deployment_or_without_one_is_refused() {
    let world = World::new();
    refused(&world, &world.next_root(&["alice", "bruno"], |r| r.deployment_id = None), "E0313");
    let other = digue_proto::id::Digest::of(b"another");
    refused(&world, &world.next_root(&["alice", "bruno"], |r| r.deployment_id = Some(other)), "E0313");
}

#[test]
fn a12_a_root_that_goes_back_in_epoch_or_needs_a_newer_program_is_refused() {
    let mut root = crate::support::world::root_v1();
    root.gen_epoch = 4;
    let world = World::with_root(&root);
    refused(&world, &world.next_root(&["alice", "bruno"], |r| r.gen_epoch = 3), "E0314");
    refused(&world, &world.next_root(&["alice", "bruno"], |r| r.protocol_min = 99), "E0315");
}

#[test]
fn a12_after_a_bad_root_the_ones_behind_it_are_not_tried() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let good = world.next_root(&["alice", "bruno"], |_| {});
    let skipped = world.next_root(&["alice", "bruno"], |r| r.version = 3);
    machine.input(Input::Roots(vec![skipped, good])).expect("no crash was asked for");
    assert_eq!(machine.host().trust().version(), 1);
}

#[test]
fn a12_a_whole_chain_is_followed_and_any_gap_in_it_is_refused() {
    let world = World::new();
    let second = world.next_root(&["alice", "bruno"], |_| {});
    let trust = world.trust.next(&second).expect("the second root");
    let mut root = trust.root().clone();
    root.version = 3;
    let third = crate::support::world::seal_root(&root, &["bruno", "claire"]);
    let pinned = world.deployment();
    let chain = [world.first.clone(), second.clone(), third.clone()];
    assert_eq!(Trust::from_chain(&chain, &pinned).expect("the chain").version(), 3);
    assert!(Trust::from_chain(&[world.first.clone(), third.clone()], &pinned).is_err());
    assert!(Trust::from_chain(&[second, third], &pinned).is_err());
    assert!(Trust::from_chain(&[], &pinned).is_err());
}
