//! Orders on their way.

use super::*;
use crate::fleet::OrderRefused;
use crate::fleet::view::{OrderState, Phase};
use crate::verify::VerifyError;

fn phase(world: &World, order: Digest, index: u8) -> Phase {
    let view = world.fleet.order_view(order).expect("known");
    view.hosts.iter().find(|host| host.host == id(index)).expect("a target").phase
}

#[test]
fn a_queued_order_for_a_dead_host_changes_no_tile() {
    let mut world = World::new(2);
    world.reports(1, Links::Open);
    let before = world.fleet.view(world.now);
    let order = world.cut(1, 1, &[1, 2]);
    world.fleet.note_sent(order, &id(1), world.now);
    let mut after = world.fleet.view(world.now);
    for host in &mut after.hosts {
        let open = std::mem::take(&mut host.unconfirmed);
        assert_eq!(open.len(), usize::from(host.enrolled));
    }
    assert_eq!(after, before);
    assert_eq!(phase(&world, order, 1), Phase::Sent);
    assert_eq!(phase(&world, order, 2), Phase::Waiting);
}

#[test]
fn c14_only_the_host_s_receipt_takes_an_order_beyond_sent() {
    let mut world = World::new(2);
    let order = world.cut(1, 1, &[1, 2]);
    assert!(world.fleet.note_sent(order, &id(1), world.now));
    assert!(!world.fleet.note_sent(order, &id(1), world.now), "the same news twice");
    assert_eq!(phase(&world, order, 1), Phase::Sent);
    // Host 2 answers for host 1.
    let foreign = world.receipt(2, order, Outcome::Verified {});
    world.hear(2, &foreign).expect("its own share");
    assert_eq!(phase(&world, order, 1), Phase::Sent);
    // Host 1 answers another order.
    let other = world.receipt(1, Digest::of(b"another order"), Outcome::Verified {});
    world.hear(1, &other).expect("part of its chain");
    assert_eq!(phase(&world, order, 1), Phase::Sent);
    for (outcome, expected) in [
        (Outcome::Acknowledged {}, Phase::Acknowledged),
        (Outcome::Applied {}, Phase::Applied),
        (Outcome::Verified {}, Phase::Verified),
    ] {
        let receipt = world.receipt(1, order, outcome);
        world.hear(1, &receipt).expect("new");
        assert_eq!(phase(&world, order, 1), expected);
    }
    assert!(world.host(1).unconfirmed.is_empty());
}

#[test]
fn c15_an_old_receipt_played_again_takes_no_order_back() {
    let mut world = World::new(1);
    let order = world.cut(1, 1, &[1]);
    let acknowledged = world.receipt(1, order, Outcome::Acknowledged {});
    let failed = world.receipt(1, order, Outcome::Failed { detail: "no rights".to_owned() });
    world.hear(1, &acknowledged).expect("new");
    world.hear(1, &failed).expect("new");
    assert_eq!(world.hear(1, &acknowledged), Err(Ignored::NotNewer { seq: 1, newest: 2 }));
    assert_eq!(phase(&world, order, 1), Phase::Failed);
    let view = world.fleet.order_view(order).expect("known");
    assert_eq!(view.hosts[0].detail.as_deref(), Some("no rights"));
}

#[test]
fn a_receipt_that_was_delayed_still_answers_its_order() {
    let mut world = World::new(1);
    let order = world.cut(1, 1, &[1]);
    let refusal = Outcome::Refused { code: "expired".to_owned(), detail: "too late".to_owned() };
    let delayed = world.receipt(1, order, refusal);
    world.reports(1, Links::Open);
    world.hear(1, &delayed).expect("it answers the order");
    assert_eq!(phase(&world, order, 1), Phase::Refused);
}

#[test]
fn a_host_that_refuses_an_order_that_this_relay_did_not_send_is_shown() {
    let mut world = World::new(2);
    let refusal = || Outcome::Refused { code: "E0303".to_owned(), detail: "1 of 2 persons".to_owned() };
    let bundle = world.order(1, 1, Action::Release { without_verdict: true }, &[1]);
    let offer = world.fleet.offer_order(&bundle).expect("acceptable");
    let early = offer.digest();
    world.fleet.commit_order(offer);
    let receipt = world.receipt(1, early, refusal());
    world.hear(1, &receipt).expect("new");
    let view = world.fleet.order_view(early).expect("known");
    assert_eq!(view.state, OrderState::AwaitingSignatures);
    assert_eq!((view.hosts.len(), view.hosts[0].phase), (1, Phase::Refused));
    assert_eq!(view.hosts[0].code.as_deref(), Some("E0303"));

    let receipt = world.receipt(2, Digest::of(b"never seen here"), refusal());
    world.hear(2, &receipt).expect("new");
    let alarms = &world.host(2).alarms;
    assert!(alarms.iter().any(|a| a.starts_with("order_refused: E0303")), "{alarms:?}");
    assert_eq!(world.host(1).alarms, Vec::<String>::new());
}

#[test]
fn a_forged_fork_of_the_chain_answers_no_order() {
    let mut world = World::new(1);
    world.reports(1, Links::Open);
    let copy = world.chain(1).clone();
    world.reports(1, Links::Open);
    world.chains.insert(1, copy);
    let order = world.cut(1, 1, &[1]);
    let forked = world.receipt(1, order, Outcome::Verified {});
    assert_eq!(world.hear(1, &forked), Err(Ignored::Fork(2)));
    assert_eq!(phase(&world, order, 1), Phase::Waiting);
}

#[test]
fn a_newer_order_that_the_host_accepted_supersedes_what_was_not_finished() {
    let mut world = World::new(1);
    let old = world.cut(1, 1, &[1]);
    let done = world.cut(2, 2, &[1]);
    let receipt = world.receipt(1, done, Outcome::Verified {});
    world.hear(1, &receipt).expect("new");
    let report = world.report(1, |report| report.heads = vec![net_head(3)]);
    world.hear(1, &report).expect("new");
    assert_eq!(phase(&world, old, 1), Phase::Superseded);
    assert_eq!(phase(&world, done, 1), Phase::Verified, "what was verified was verified");
}

#[test]
fn an_order_collects_signatures_and_is_sent_only_when_they_suffice() {
    let mut world = World::new(1);
    let people = people();
    let bundle = world.order(1, 1, Action::Release { without_verdict: true }, &[1]);
    let offer = world.fleet.offer_order(&bundle).expect("acceptable");
    assert!(offer.new && offer.changes && !offer.seals());
    let digest = offer.digest();
    world.fleet.commit_order(offer);
    let mut sign_by = |key: &Key| {
        let armour = crate::sign::sign(&key.private, PayloadType::Release, &bundle.order.payload);
        let name = Nonce::from_bytes([1; 16]);
        let offer = world.fleet.offer_order_signature(name, &armour.expect("signed"))?;
        let seals = offer.seals();
        world.fleet.commit_order(offer);
        Ok::<bool, OrderRefused>(seals)
    };
    assert!(matches!(sign_by(&host_key(1)), Err(OrderRefused::Signature(_))));
    assert_eq!(sign_by(&people[0].1), Ok(false));
    assert_eq!(sign_by(&people[0].1), Ok(false), "one person counted twice");
    assert_eq!(sign_by(&people[2].1), Ok(true));
    let view = world.fleet.order_view(digest).expect("known");
    assert_eq!(view.state, OrderState::Sealed);
    assert_eq!(view.signers.iter().map(PersonId::as_str).collect::<Vec<_>>(), ["alice", "carla"]);
    assert_eq!((view.needed, view.hosts.len()), (2, 1));
}

#[test]
fn an_order_that_could_never_be_in_force_is_refused_before_it_collects_signatures() {
    let world = World::new(1);
    let change = |change: fn(&mut OrderV1)| {
        let mut bundle = world.order(1, 1, contain(), &[1]);
        let mut order: OrderV1 = strict::from_slice(&bundle.order.payload, 1 << 20).expect("order");
        change(&mut order);
        bundle.order.payload = strict::to_vec(&order).expect("json");
        world.fleet.offer_order(&bundle).map(|offer| offer.digest())
    };
    let elsewhere = change(|order| order.deployment_id = Digest::of(b"elsewhere"));
    assert!(matches!(elsewhere, Err(OrderRefused::Verify(VerifyError::Deployment(_)))));
    let newer = change(|order| order.root_version = 2);
    assert!(matches!(newer, Err(OrderRefused::Verify(VerifyError::NewerRoot { named: 2, held: 1 }))));
    let relabelled = change(|order| order.action = Action::Report {});
    assert!(matches!(relabelled, Err(OrderRefused::Verify(VerifyError::Order(_)))));
    let mut bundle = world.order(1, 1, contain(), &[1]);
    bundle.leaves[0].0.push(b' ');
    assert!(matches!(world.fleet.offer_order(&bundle), Err(OrderRefused::Bundle(_))));
    let mut bundle = world.order(1, 1, contain(), &[1]);
    bundle.order.payload_type = PayloadType::Release;
    let refused = world.fleet.offer_order(&bundle);
    assert!(matches!(refused, Err(OrderRefused::Verify(VerifyError::WrongClass { .. }))));
}

#[test]
fn a_second_order_of_the_same_name_and_a_cancelled_one_are_refused() {
    let mut world = World::new(1);
    let bundle = world.order(1, 1, contain(), &[1]);
    let offer = world.fleet.offer_order(&bundle).expect("acceptable");
    let digest = offer.digest();
    world.fleet.commit_order(offer);
    let again = world.fleet.offer_order(&bundle).expect("known");
    assert!(!again.new && !again.changes);
    let other = world.order(1, 2, contain(), &[1]);
    assert!(matches!(world.fleet.offer_order(&other), Err(OrderRefused::OtherContents { .. })));
    let name = Nonce::from_bytes([1; 16]);
    assert_eq!(world.fleet.check_cancel(name), Ok(digest));
    world.fleet.cancel_order(digest);
    assert_eq!(world.fleet.offer_order(&bundle).map(|_| ()), Err(OrderRefused::Cancelled(name)));
    let sealed = world.cut(2, 2, &[1]);
    world.fleet.cancel_order(sealed);
    assert_eq!(world.fleet.order_view(sealed).expect("known").state, OrderState::Sealed);
    let name = Nonce::from_bytes([2; 16]);
    assert_eq!(world.fleet.check_cancel(name), Err(OrderRefused::AlreadySealed(name)));
}

#[test]
fn an_order_binds_a_key_and_not_a_name() {
    let mut world = World::new(1);
    let order = world.cut(1, 1, &[1]);
    let entry = world.fleet.order(order).expect("known");
    assert!(entry.awaits(&id(1), &host_key(1).public));
    assert!(
        !entry.awaits(&id(1), &host_key(2).public),
        "a rebuilt machine would be sent the old one's order"
    );
    assert_eq!(world.fleet.open_orders(&id(1), &host_key(2).public).count(), 0);
    assert_eq!(world.fleet.open_orders(&id(1), &host_key(1).public).count(), 1);
}

#[test]
fn an_order_to_all_is_for_the_enrolled_hosts_of_the_moment_it_is_sealed() {
    let mut world = World::new(2);
    let mut bundle = world.order(1, 1, contain(), &[1]);
    let mut order: OrderV1 = strict::from_slice(&bundle.order.payload, 1 << 20).expect("order");
    order.target = Target::All {};
    bundle = OrderBundle {
        order: signed(PayloadType::Protect, &order, &[&people()[0].1]),
        leaves: Vec::new(),
        statements: Vec::new(),
    };
    let offer = world.fleet.offer_order(&bundle).expect("acceptable");
    let digest = offer.digest();
    world.fleet.commit_order(offer);
    world.inventory(2, &[1, 2, 3], 1);
    let hosts: Vec<HostId> = world.fleet.order(digest).expect("known").hosts().cloned().collect();
    assert_eq!(hosts, [id(1), id(2)]);
}

#[test]
fn receipts_that_arrive_while_a_signature_is_being_stored_are_not_lost() {
    let mut world = World::new(1);
    let order = world.cut(1, 1, &[1]);
    let armour = crate::sign::sign(
        &people()[1].1.private,
        PayloadType::Protect,
        &world.fleet.order(order).expect("known").bundle.order.payload.clone(),
    );
    let name = Nonce::from_bytes([1; 16]);
    let offer = world.fleet.offer_order_signature(name, &armour.expect("signed")).expect("counts");
    assert!(offer.changes && !offer.seals());
    let receipt = world.receipt(1, order, Outcome::Verified {});
    world.hear(1, &receipt).expect("new");
    world.fleet.commit_order(offer);
    assert_eq!(phase(&world, order, 1), Phase::Verified);
    assert_eq!(world.fleet.order_view(order).expect("known").signers.len(), 2);
}
