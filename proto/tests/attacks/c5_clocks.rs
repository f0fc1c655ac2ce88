//! C5 to C8: clocks set forward and back, and networks cut, to end a containment or revive an order.

use digue_proto::id::UnixMillis;
use digue_proto::policy::{Direction, Exception, OnLostManagement, Transport};
use digue_proto::report::{Links, Outcome};

use crate::support::world::{DAY, T0, cut_policy, isolate_policy};
use crate::support::{Machine, World};

const DECADE: u64 = 3_653 * DAY;

#[test]
fn c5_an_expired_protective_order_is_executed_and_flagged() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.wall_ms += DECADE;
    machine.obeys(&world.cut(1).deliver());
    let receipts = &machine.receiver.receipts;
    assert!(receipts.iter().all(|r| r.remarks == ["expired_by_local_clock"]), "{receipts:?}");
    assert!(machine.contained());
}

#[test]
fn c5_a_clock_ten_years_ahead_costs_a_release_but_never_grants_one() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    machine.wall_ms += DECADE;
    machine.refuses(&world.release(2, machine.challenge()).deliver(), "E0409");
    machine.wall_ms -= DECADE;
    machine.obeys(&world.release(2, machine.challenge()).deliver());
}

#[test]
fn c6_an_expired_release_stays_expired_when_the_clock_is_set_back() {
    let world = World::new();
    for wall in [0, T0 - DECADE, T0] {
        let mut machine = Machine::new(&world);
        machine.obeys(&world.cut(1).deliver());
        machine.wall_ms = wall;
        let expired = world.release(2, machine.challenge()).edit(|o| {
            o.issued_at_ms = UnixMillis(T0 - 40 * DAY);
            o.not_after_ms = UnixMillis(T0 - 31 * DAY);
        });
        // The root in force is newer than the order's end, whatever the clock says.
        machine.refuses(&expired.deliver(), "E0409");
        assert!(machine.contained());
    }
}

#[test]
fn c6_a_release_expires_by_the_boot_clock_while_the_wall_clock_is_held_back() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.contain(1, isolate_policy()).deliver());
    // Two persons sign something at T0: from then on the host knows that it is not earlier.
    machine.obeys(&world.adjust(2, cut_policy(), machine.challenge()).deliver());
    let hour = 3_600_000;
    let withheld =
        world.release(3, machine.challenge()).edit(|o| o.not_after_ms = UnixMillis(T0 + hour)).deliver();
    machine.pass(2 * hour);
    machine.wall_ms = 0;
    machine.refuses(&withheld, "E0409");
    let mut prompt = Machine::new(&world);
    prompt.obeys(&world.cut(1).deliver());
    prompt.wall_ms = 0;
    let challenge = prompt.challenge();
    prompt.obeys(&world.release(2, challenge).deliver());
}

#[test]
fn c6_a_clean_statement_that_has_lapsed_releases_nothing() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let lapsed = world.clean_with(&["bruno", "claire"], |s| {
        s.valid_until_ms = UnixMillis(T0 + 1_000);
    });
    machine.pass(2_000);
    machine.refuses(&world.release(2, machine.challenge()).vouched(lapsed).deliver(), "E0418");
}

#[test]
fn c7_no_clock_and_no_lost_connection_ends_a_containment() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    let policy = machine.kernel.rules.clone().expect("rules").policy;
    for wall in [0, T0 + DECADE, u64::MAX, 1, T0] {
        machine.disconnect().expect("no crash was asked for");
        machine.wall_ms = wall;
        for _ in 0..200 {
            machine.tick().expect("no crash was asked for");
            machine.heartbeat().expect("no crash was asked for");
            machine.boottime_ms += 3_600_000;
        }
        machine.connect().expect("no crash was asked for");
        machine.tick().expect("no crash was asked for");
        assert!(machine.contained());
        assert_eq!(machine.kernel.rules.as_ref().expect("rules").policy, policy);
    }
}

#[test]
fn c7_a_drill_reopens_by_boot_time_alone_and_says_so() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let drill = world.drill(1, 600, machine.challenge()).deliver();
    machine.obeys(&drill);
    machine.disconnect().expect("no crash was asked for");
    machine.wall_ms += DECADE;
    machine.tick().expect("no crash was asked for");
    assert!(machine.contained(), "the wall clock does not count");
    machine.pass(601_000);
    assert!(!machine.contained(), "the kernel's own timer");
    machine.tick().expect("no crash was asked for");
    assert!(!machine.state().policy.contains());
    assert!(machine.state().alarms.iter().any(|a| a.kind == "reopened_by_timer"));
    machine.connect().expect("no crash was asked for");
    assert_eq!(machine.receiver.reports.last().expect("a report").links, Links::Open);
}

#[test]
fn c7_contact_with_a_controller_keeps_a_drill_from_reopening() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.drill(1, 600, machine.challenge()).deliver());
    for _ in 0..100 {
        machine.pass(100_000);
        machine.tick().expect("no crash was asked for");
    }
    assert!(machine.contained());
}

/// Whatever arrives first after the kernel's timer, the containment is over: a controller that comes back
/// too late must not close what was said to be open, nor leave it half open.
#[test]
fn c7_a_controller_that_comes_back_after_the_timer_does_not_revive_a_drill() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.drill(1, 600, machine.challenge()).deliver());
    machine.disconnect().expect("no crash was asked for");
    machine.pass(601_000);
    machine.connect().expect("no crash was asked for");
    assert!(!machine.state().policy.contains());
    assert!(!machine.contained());
    assert_eq!(machine.kernel.timer_ms, None);
}

#[test]
fn c7_a_drill_that_ends_unproven_answers_its_order_and_leaves_the_block_list_alone() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.faults.management = true;
    let drill = world.drill(1, 60, machine.challenge()).deliver();
    let answers = machine.answer(&drill);
    assert_eq!(answers, [Outcome::Acknowledged {}, Outcome::Applied {}]);
    let block = world.block(1, crate::support::world::block_list(&["198.51.100.66/32"])).deliver();
    machine.answer(&block);
    machine.pass(61_000);
    machine.faults.management = false;
    machine.tick().expect("no crash was asked for");
    assert!(matches!(machine.receiver.outcomes(drill.order.digest()).last(), Some(Outcome::Failed { .. })));
    assert_eq!(machine.receiver.outcomes(block.order.digest()).last(), Some(&Outcome::Verified {}));
    let rules = machine.kernel.rules.as_ref().expect("the block list");
    assert!(!rules.policy.contains() && rules.blocked.networks.len() == 1);
}

#[test]
fn c7_a_hold_order_ends_the_timer_of_a_drill() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.drill(1, 600, machine.challenge()).deliver());
    machine.obeys(&world.cut(2).deliver());
    assert_eq!((machine.kernel.timer_ms, machine.state().rollback.clone()), (None, None));
    machine.disconnect().expect("no crash was asked for");
    machine.pass(100 * DAY);
    machine.tick().expect("no crash was asked for");
    assert!(machine.contained());
}

#[test]
fn c7_a_drill_on_a_contained_host_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(1).deliver());
    machine.refuses(&world.drill(2, 600, machine.challenge()).deliver(), "E0412");
}

#[test]
fn c7_a_protective_order_never_relaxes_what_is_in_force() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.contain(1, isolate_policy()).deliver());
    let mut elsewhere = isolate_policy();
    elsewhere.controllers.push("198.51.100.66:443".parse().expect("an address"));
    let mut exception = isolate_policy();
    exception.exceptions.push(Exception {
        direction: Direction::Outbound,
        transport: Transport::Tcp,
        peer: "198.51.100.66/32".parse().expect("a network"),
        port: 443,
        owner: "mallory".to_owned(),
        reason: "backdoor".to_owned(),
        until_ms: None,
    });
    for policy in [cut_policy(), elsewhere, exception] {
        machine.refuses(&world.contain(2, policy).deliver(), "E0411");
    }
    machine.obeys(&world.block(1, crate::support::world::block_list(&["198.51.100.0/24"])).deliver());
    machine.refuses(&world.block(2, crate::support::world::block_list(&[])).deliver(), "E0411");
}

#[test]
fn c7_an_exception_ends_on_its_date_and_a_clock_set_back_does_not_bring_it_back() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let mut policy = cut_policy();
    policy.exceptions.push(Exception {
        direction: Direction::Inbound,
        transport: Transport::Tcp,
        peer: "198.51.100.7/32".parse().expect("a network"),
        port: 22,
        owner: "alice".to_owned(),
        reason: "forensics".to_owned(),
        until_ms: Some(UnixMillis(T0 + 10_000)),
    });
    machine.obeys(&world.contain(1, policy).deliver());
    assert_eq!(machine.kernel.rules.as_ref().expect("rules").policy.exceptions.len(), 1);
    machine.pass(11_000);
    machine.tick().expect("no crash was asked for");
    assert_eq!(machine.kernel.rules.as_ref().expect("rules").policy.exceptions.len(), 0);
    machine.wall_ms = T0;
    machine.reboot().expect("it starts again");
    assert_eq!(machine.kernel.rules.as_ref().expect("rules").policy.exceptions.len(), 0);
    assert_eq!(machine.state().policy.on_lost_management, OnLostManagement::Hold);
}

#[test]
fn c8_without_time_after_a_reboot_the_host_keeps_its_floor() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.contain(1, isolate_policy()).deliver());
    machine.obeys(&world.adjust(2, cut_policy(), machine.challenge()).deliver());
    assert_eq!(machine.state().time_floor_ms, UnixMillis(T0));
    let withheld = world.release(3, machine.challenge());
    machine.wall_ms = 0;
    machine.reboot().expect("it starts again");
    machine.connect().expect("it connects again");
    assert!(machine.contained());
    machine.refuses(&withheld.deliver(), "E0408");
    let boot = machine.boot_id();
    let clean = world.clean_with(&["bruno", "claire"], |s| s.boot_id = Some(boot));
    let fresh = world.release(3, machine.challenge()).vouched(clean);
    let old =
        fresh.clone().edit(|o| (o.issued_at_ms, o.not_after_ms) = (UnixMillis(T0 - DAY), UnixMillis(T0 - 1)));
    machine.refuses(&old.deliver(), "E0409");
    machine.obeys(&fresh.deliver());
}
