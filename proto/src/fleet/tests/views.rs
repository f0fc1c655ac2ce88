//! What a tile may show.

use super::*;
use crate::frame::STALE_SECONDS;

#[test]
fn d8_ghost_host_that_the_signed_inventory_does_not_name_is_not_shown() {
    let mut world = World::new(1);
    let ghost = world.report(9, |report| report.links = Links::Cut);
    assert_eq!(world.hear(9, &ghost), Err(Ignored::NotInInventory));
    let view = world.fleet.view(world.now);
    let names: Vec<&str> = view.hosts.iter().map(|host| host.name.as_str()).collect();
    assert_eq!(names, ["srv-001", "srv-200"]);
    assert_eq!((view.summary.expected, view.summary.cut), (2, 0));
}

#[test]
fn d9_a_host_that_nobody_heard_is_counted_and_shown_as_missing() {
    let mut world = World::new(3);
    world.reports(1, Links::Open);
    let view = world.fleet.view(world.now);
    assert_eq!(view.hosts.len(), 4);
    let summary = view.summary;
    assert_eq!((summary.expected, summary.enrolled, summary.never_enrolled), (4, 3, 1));
    assert_eq!((summary.stale, summary.exposed), (2, 4));
}

#[test]
fn d5_a_document_signed_by_another_host_s_key_changes_nothing() {
    let mut world = World::new(2);
    let as_other = world.report(2, |report| {
        report.host_id = id(1);
        report.links = Links::Cut;
    });
    assert_eq!(world.hear(2, &as_other), Err(Ignored::WrongKey));
    assert_eq!(world.host(1).links, None);
}

#[test]
fn c15_an_old_report_played_again_changes_nothing() {
    let mut world = World::new(1);
    let cut = world.report(1, |report| report.links = Links::Cut);
    world.hear(1, &cut).expect("new");
    world.reports(1, Links::Open);
    let before = world.host(1);
    world.now = world.now.plus(60_000);
    assert_eq!(world.hear(1, &cut), Err(Ignored::NotNewer { seq: 1, newest: 2 }));
    let after = world.host(1);
    assert_eq!(after.links, Some(Links::Open));
    assert_eq!(after.last_contact_ms, before.last_contact_ms, "a replay counted as a sign of life");
}

#[test]
fn c15_a_heartbeat_of_another_connection_is_no_sign_of_life() {
    let mut world = World::new(1);
    world.reports(1, Links::Open);
    world.now = world.now.plus((STALE_SECONDS + 1) * 1000);
    let old = world.heartbeat(1, Links::Cut, true, Nonce::from_bytes([8; 16]));
    assert_eq!(world.hear_heartbeat(1, &old), Err(Ignored::WrongEcho));
    assert!(!world.host(1).fresh);
    let mut without = world.heartbeat(1, Links::Cut, true, NONCE);
    without.echo = None;
    assert_eq!(world.hear_heartbeat(1, &without), Err(Ignored::WrongEcho));
    assert!(!world.host(1).fresh);
    world.beats(1, Links::Open, true);
    assert!(world.host(1).fresh);
}

#[test]
fn c15_a_heartbeat_played_again_on_the_same_connection_is_no_sign_of_life() {
    let mut world = World::new(1);
    world.reports(1, Links::Open);
    let heartbeat = world.heartbeat(1, Links::Open, true, NONCE);
    world.hear_heartbeat(1, &heartbeat).expect("new");
    world.now = world.now.plus((STALE_SECONDS + 1) * 1000);
    assert_eq!(world.hear_heartbeat(1, &heartbeat), Err(Ignored::ClockWentBack));
    assert!(!world.host(1).fresh);
}

#[test]
fn a_report_that_was_lost_and_comes_late_fills_its_gap_and_changes_no_tile() {
    let mut world = World::new(1);
    world.reports(1, Links::Open);
    let lost = world.report(1, |report| report.links = Links::Cut);
    world.reports(1, Links::Open);
    assert_eq!(world.host(1).chain_gaps, ["2-2"]);
    assert_eq!(world.hear(1, &lost), Err(Ignored::NotNewer { seq: 2, newest: 3 }));
    assert_eq!(world.host(1).chain_gaps, Vec::<String>::new());
    assert_eq!(world.host(1).links, Some(Links::Open));
}

#[test]
fn d10_two_histories_of_one_host_raise_an_alarm_and_the_second_is_not_believed() {
    let mut world = World::new(1);
    world.reports(1, Links::Open);
    let copy = world.chain(1).clone();
    world.reports(1, Links::Open);
    world.chains.insert(1, copy);
    let other = world.report(1, |report| report.links = Links::Cut);
    assert_eq!(world.hear(1, &other), Err(Ignored::Fork(2)));
    let host = world.host(1);
    assert_eq!(host.links, Some(Links::Open));
    assert!(host.alarms.iter().any(|alarm| alarm.starts_with("chain_fork")), "{:?}", host.alarms);
}

#[test]
fn a_stale_host_is_neither_clean_nor_cut_and_is_exposed() {
    let mut world = World::new(1);
    world.reports(1, Links::Cut);
    world.states(1, Stated::Clean);
    let view = world.fleet.view(world.now);
    assert_eq!((view.summary.clean, view.summary.cut, view.summary.exposed), (1, 1, 1));
    world.now = world.now.plus(STALE_SECONDS * 1000);
    let view = world.fleet.view(world.now);
    assert_eq!((view.summary.clean, view.summary.cut, view.summary.exposed), (0, 0, 2));
    let host = world.host(1);
    assert!(!host.fresh && host.exposed);
    assert_eq!(host.lapsed.as_deref(), Some("no contact with the host"));
    assert_eq!(host.links, Some(Links::Cut), "the last measurement stays visible, as such");
}

#[test]
fn a_contact_in_the_future_is_not_fresh() {
    let mut world = World::new(1);
    world.reports(1, Links::Open);
    world.now = UnixMillis(START.0 - 3_600_000);
    assert!(!world.host(1).fresh, "after the controller's clock went back, every host looked fresh");
    world.beats(1, Links::Open, true);
    assert!(world.host(1).fresh);
}

#[test]
fn a_cut_is_shown_only_when_the_report_proves_it() {
    let mut world = World::new(1);
    let unproven = world.report(1, |report| {
        report.links = Links::Cut;
        report.proofs = Proofs::none();
    });
    world.hear(1, &unproven).expect("new");
    assert_eq!(world.host(1).links, Some(Links::Cutting));
    let pierced = world.report(1, |report| {
        report.links = Links::Cut;
        report.proofs.probes = Check::Failed { detail: "198.51.100.66 answered".to_owned(), at_ms: START };
    });
    world.hear(1, &pierced).expect("new");
    assert_eq!(world.host(1).links, Some(Links::Failed));
    for change in [
        |report: &mut ReportV1| report.drift = vec!["a rule is missing".to_owned()],
        |report: &mut ReportV1| report.rules_meant = Some(Digest::of(b"meant")),
    ] {
        let drifted = world.report(1, |report| {
            report.links = Links::Cut;
            change(report);
        });
        world.hear(1, &drifted).expect("new");
        assert_eq!(world.host(1).links, Some(Links::Failed));
    }
    world.reports(1, Links::Cut);
    assert_eq!(world.host(1).links, Some(Links::Cut));
}

#[test]
fn a_heartbeat_worsens_the_tile_at_once_and_proves_nothing_by_itself() {
    let mut world = World::new(1);
    world.beats(1, Links::Cut, true);
    assert_eq!(world.host(1).links, Some(Links::Cutting), "no report has proven it");
    world.reports(1, Links::Cut);
    assert_eq!(world.host(1).links, Some(Links::Cut));
    world.beats(1, Links::Cut, true);
    assert_eq!(world.host(1).links, Some(Links::Cut));
    world.beats(1, Links::Cut, false);
    assert_eq!(world.host(1).links, Some(Links::Failed));
    // A receipt says nothing of the rules: what the heartbeat said stands.
    let receipt = world.receipt(1, Digest::of(b"order"), Outcome::Acknowledged {});
    world.hear(1, &receipt).expect("new");
    assert_eq!(world.host(1).links, Some(Links::Failed));
    world.reports(1, Links::Cut);
    assert_eq!(world.host(1).links, Some(Links::Cut));
    world.beats(1, Links::Open, true);
    assert_eq!(world.host(1).links, Some(Links::Open));
}

#[test]
fn reports_kept_while_offline_do_not_overrule_the_heartbeat_that_came_before_them() {
    let mut world = World::new(1);
    let kept = world.report(1, |report| report.links = Links::Cut);
    let newest = world.report(1, |report| report.links = Links::Open);
    world.beats(1, Links::Open, true);
    world.hear(1, &kept).expect("new");
    assert_eq!(world.host(1).links, Some(Links::Open), "an outdated report was shown");
    world.hear(1, &newest).expect("new");
    assert_eq!(world.host(1).links, Some(Links::Open));
}

#[test]
fn a_heartbeat_that_knows_less_than_was_heard_already_is_refused() {
    let mut world = World::new(1);
    world.reports(1, Links::Open);
    let before = world.chain(1).clone();
    world.reports(1, Links::Cut);
    world.chains.insert(1, before);
    let restored = world.heartbeat(1, Links::Open, true, NONCE);
    assert_eq!(world.hear_heartbeat(1, &restored), Err(Ignored::NotNewer { seq: 1, newest: 2 }));
    let mut other_head = world.heartbeat(1, Links::Open, true, NONCE);
    (other_head.seq, other_head.head) = (2, Some(Digest::of(b"another history")));
    assert_eq!(world.hear_heartbeat(1, &other_head), Err(Ignored::Fork(2)));
    assert_eq!(world.host(1).links, Some(Links::Cut));
}

#[test]
fn a_boot_time_clock_that_goes_back_within_a_boot_is_refused_and_a_new_boot_begins_at_zero() {
    let mut world = World::new(1);
    world.chain(1).boottime_ms = 5_000;
    world.reports(1, Links::Cut);
    world.chain(1).boottime_ms = 1_000;
    let back = world.report(1, |report| report.links = Links::Open);
    assert_eq!(world.hear(1, &back), Err(Ignored::ClockWentBack));
    let host = world.host(1);
    assert_eq!(host.links, Some(Links::Cut));
    assert!(host.alarms.iter().any(|alarm| alarm.starts_with("clock_went_back")), "{:?}", host.alarms);
    world.chain(1).boot = "boot-2".to_owned();
    world.chain(1).boottime_ms = 0;
    world.reports(1, Links::Open);
    assert_eq!(world.host(1).boot_id.as_deref(), Some("boot-2"));
}

#[test]
fn a_rebuilt_host_begins_without_any_state() {
    let mut world = World::new(2);
    for index in [1, 2] {
        world.reports(index, Links::Cut);
    }
    world.inventory(2, &[1, 2], 2);
    for index in [1, 2] {
        let host = world.host(index);
        assert_eq!((host.links, host.fresh, host.boot_id), (None, false, None));
    }
    world.chains.clear();
    world.reports(1, Links::Open);
    world.inventory(3, &[1], 2);
    assert_eq!(world.host(1).links, Some(Links::Open), "an unchanged host lost its state");
    assert!(world.fleet.host_view(&id(2), world.now).is_none());
}

#[test]
fn the_host_s_own_alarms_and_its_clock_are_passed_on_as_it_says_them() {
    let mut world = World::new(1);
    world.now = START.plus(2_500);
    let report = world.report(1, |report| {
        report.alarms = vec![crate::report::Alarm {
            kind: "rules_removed".to_owned(),
            detail: "by pid 4242".to_owned(),
            at_ms: START,
        }];
    });
    world.hear(1, &report).expect("new");
    let host = world.host(1);
    assert_eq!(host.alarms, ["rules_removed: by pid 4242"]);
    assert_eq!(host.clock_offset_ms, Some(-2_500));
    assert_eq!(host.reported_at_ms, Some(START));
    assert_eq!(host.last_contact_ms, Some(world.now));
}
