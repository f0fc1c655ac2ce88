//! When a host is clean, and when no longer.

use super::*;
use crate::fleet::StatementRefused;
use crate::fleet::view::Verdict;

/// A fresh host that was stated clean.
fn clean_world() -> World {
    let mut world = World::new(1);
    world.reports(1, Links::Open);
    world.states(1, Stated::Clean);
    assert_eq!(world.host(1).verdict, Verdict::Clean);
    world.now = world.now.plus(1_000);
    world
}

fn lapsed(world: &World) -> String {
    let host = world.host(1);
    assert_eq!(host.verdict, Verdict::Unassessed);
    assert!(host.exposed);
    assert_eq!(world.fleet.view(world.now).summary.clean, 0);
    host.lapsed.expect("a reason")
}

#[test]
fn e9_a_host_cannot_state_itself_clean_and_hosts_are_not_asked() {
    let mut world = World::new(1);
    world.reports(1, Links::Open);
    let statement = world.statement(1, Stated::Clean, |_| {});
    let by_host = signed(PayloadType::Clean, &statement, &[&host_key(1)]);
    assert!(matches!(world.fleet.offer_statement(&by_host), Err(StatementRefused::Signature(_))));
    assert_eq!(world.host(1).verdict, Verdict::Unassessed);
}

#[test]
fn e9_a_clean_statement_from_before_a_suspicion_is_not_shown() {
    let mut world = clean_world();
    world.states(1, Stated::Suspect);
    assert_eq!(world.host(1).verdict, Verdict::Suspect);
    assert_eq!(world.host(1).clean_statement, None);
    // A statement that was written earlier and arrives only now does not lift it.
    let late = world.statement(1, Stated::Clean, |statement| {
        statement.observed_at_ms = START;
        statement.issued_at_ms = START.plus(500);
    });
    assert!(world.state(&late, &[0, 1]));
    assert_eq!(world.host(1).verdict, Verdict::Suspect);
    world.now = world.now.plus(1_000);
    world.states(1, Stated::Clean);
    assert_eq!(world.host(1).verdict, Verdict::Clean);
}

#[test]
fn e9_a_suspicion_that_arrives_later_counts_even_if_its_clock_says_earlier() {
    let mut world = clean_world();
    let backdated = world.statement(1, Stated::Suspect, |statement| {
        statement.observed_at_ms = UnixMillis(START.0 - 10_000);
        statement.issued_at_ms = UnixMillis(START.0 - 10_000);
    });
    assert!(world.state(&backdated, &[0]));
    assert_eq!(world.host(1).verdict, Verdict::Suspect);
}

#[test]
fn e9_a_statement_for_another_incarnation_or_key_does_not_count() {
    let mut world = clean_world();
    world.inventory(2, &[1], 2);
    world.chains.clear();
    world.reports(1, Links::Open);
    assert_eq!(lapsed(&world), "stated for an earlier incarnation or key");
    let other_key = world.statement(1, Stated::Clean, |statement| {
        statement.incarnation = 2;
        statement.host_key = host_key(2).public.fingerprint();
    });
    assert!(world.state(&other_key, &[0, 1]));
    assert_eq!(world.host(1).verdict, Verdict::Unassessed);
}

#[test]
fn e10_one_analyst_is_not_enough_and_two_without_the_forensic_role_neither() {
    let mut world = World::new(1);
    world.reports(1, Links::Open);
    let statement = world.statement(1, Stated::Clean, |_| {});
    assert!(!world.state(&statement, &[1]), "one analyst");
    assert!(!world.state(&statement, &[1]), "the same analyst again");
    assert_eq!(world.host(1).verdict, Verdict::Unassessed);
    assert!(world.state(&statement, &[0]), "with a second person");
    assert_eq!(world.host(1).verdict, Verdict::Clean);
    assert_eq!(world.host(1).verdict_by.len(), 2);
}

#[test]
fn a_compromised_host_stays_so_until_it_is_rebuilt() {
    let mut world = clean_world();
    world.states(1, Stated::Compromised);
    assert_eq!(world.host(1).verdict, Verdict::Compromised);
    for verdict in [Stated::Suspect, Stated::Clean] {
        world.now = world.now.plus(1_000);
        world.states(1, verdict);
        assert_eq!(world.host(1).verdict, Verdict::Compromised, "{verdict:?} lifted it");
    }
    assert_eq!(world.fleet.view(world.now).summary.compromised, 1);
    world.inventory(2, &[1], 2);
    world.chains.clear();
    world.reports(1, Links::Open);
    assert_eq!(world.host(1).verdict, Verdict::Unassessed);
    let rebuilt = world.statement(1, Stated::Clean, |statement| statement.incarnation = 2);
    assert!(world.state(&rebuilt, &[0, 1]));
    assert_eq!(world.host(1).verdict, Verdict::Clean);
}

#[test]
fn a_clean_statement_lapses_when_its_time_is_over() {
    let mut world = clean_world();
    world.now = START.plus(86_400_000);
    world.beats(1, Links::Open, true);
    assert_eq!(world.host(1).verdict, Verdict::Clean);
    world.now = world.now.plus(1);
    assert_eq!(lapsed(&world), "its validity has ended");
    assert_eq!(world.host(1).clean_statement, None);
}

#[test]
fn a_clean_statement_lapses_when_the_host_boots() {
    let mut world = clean_world();
    world.chain(1).boot = "boot-2".to_owned();
    world.chain(1).boottime_ms = 0;
    world.beats(1, Links::Open, true);
    assert_eq!(lapsed(&world), "the host has booted since it was examined");
}

#[test]
fn a_clean_statement_lapses_when_documents_go_missing_and_holds_again_when_they_come() {
    let mut world = clean_world();
    let lost = world.report(1, |_| {});
    world.reports(1, Links::Open);
    assert_eq!(lapsed(&world), "the host's documents 2-2 are missing since");
    assert!(world.hear(1, &lost).is_err());
    assert_eq!(world.host(1).verdict, Verdict::Clean);
}

#[test]
fn a_clean_statement_lapses_when_a_second_history_of_the_host_appears() {
    let mut world = clean_world();
    let copy = world.chain(1).clone();
    world.reports(1, Links::Open);
    world.chains.insert(1, copy);
    let forked = world.report(1, |report| report.links = Links::Cut);
    assert!(world.hear(1, &forked).is_err());
    assert_eq!(lapsed(&world), "two histories of the host exist");
}

#[test]
fn a_clean_statement_from_the_future_or_for_a_host_that_nobody_heard_does_not_count_yet() {
    let mut world = World::new(1);
    world.states(1, Stated::Clean);
    assert_eq!(lapsed(&world), "nothing was ever heard from the host");
    let mut world = World::new(1);
    world.reports(1, Links::Open);
    let ahead = world.statement(1, Stated::Clean, |statement| {
        statement.issued_at_ms = START.plus(3_600_000);
    });
    assert!(world.state(&ahead, &[0, 1]));
    assert_eq!(lapsed(&world), "it was issued in the future: a clock is wrong");
}

#[test]
fn a_revoked_person_s_clean_statement_falls_and_their_warning_stays() {
    for (verdict, expected) in
        [(Stated::Clean, Verdict::Unassessed), (Stated::Compromised, Verdict::Compromised)]
    {
        let mut world = World::new(1);
        world.reports(1, Links::Open);
        let statement = world.statement(1, verdict, |_| {});
        assert!(world.state(&statement, &[0, 2]));
        let next = root(Some(world.deployment), 2, "carla");
        let people = people();
        let next = signed(PayloadType::Root, &next, &[&people[0].1, &people[1].1]);
        let trust = world.fleet.trust().expect("root").next(&next).expect("next root");
        world.fleet.set_trust(trust);
        assert_eq!(world.host(1).verdict, expected);
    }
}

#[test]
fn signatures_merge_whatever_the_order_in_which_they_come() {
    let mut world = World::new(1);
    world.reports(1, Links::Open);
    let statement = world.statement(1, Stated::Clean, |_| {});
    let people = people();
    let envelope = signed(PayloadType::Clean, &statement, &[]);
    let offer = world.fleet.offer_statement(&envelope).expect("acceptable");
    let digest = offer.digest();
    world.fleet.commit_statement(offer, world.now);
    for (_, key) in people.iter().rev() {
        let armour = crate::sign::sign(&key.private, PayloadType::Clean, &envelope.payload).expect("signed");
        let offer = world.fleet.offer_statement_signature(digest, &armour).expect("counts");
        world.fleet.commit_statement(offer, world.now);
    }
    let entry = world.fleet.statement(digest).expect("known");
    assert!(entry.accepted);
    assert_eq!((entry.signers.len(), entry.needed, entry.envelope.signatures.len()), (3, 2, 3));
}
