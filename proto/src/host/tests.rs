//! The small parts of the core that no attack reaches alone. The core as a whole is tried in
//! `tests/attacks`, with a disk, a kernel and clocks around it.

use super::{Apply, Document, Effect, HostState, Prove, effect, line};
use crate::envelope::PayloadType;
use crate::id::UnixMillis;
use crate::limits::MAX_DETAIL;
use crate::policy::{BlockList, Policy};

fn apply(request: u64) -> Effect {
    let (policy, blocked) = (Policy::open(), BlockList::default());
    Effect::Apply(Box::new(Apply { request, policy, blocked, end_sessions: true }))
}

fn send(seq: u64) -> Effect {
    Effect::Send(Document { seq: Some(seq), payload_type: PayloadType::Report, payload: Vec::new() })
}

#[test]
fn a_line_is_short_keeps_whole_characters_and_steers_no_terminal() {
    let wave = "\u{1f30a}".repeat(1000);
    let short = line(&wave);
    assert_eq!(short.len(), MAX_DETAIL / 4 * 4);
    assert!(wave.starts_with(&short));
    assert_eq!(line("a\u{1b}[2Jb\r\nc\u{202e}d\u{2066}e"), "a [2Jb  c d e");
    assert_eq!(line("déjà vu"), "déjà vu");
}

#[test]
fn effects_are_ordered_so_that_nothing_is_done_before_the_state_is_written() {
    let note = Effect::Note { event: "x", detail: String::new() };
    let prove = Effect::Prove(Prove { request: 2, contained: true });
    let given = vec![send(1), prove.clone(), apply(1), note.clone(), Effect::ReadBack, send(2), apply(2)];
    let state = Effect::Persist(Box::new(HostState::fresh()));
    let ordered = effect::in_order(given, Some(state.clone()));
    assert_eq!(ordered, [state, note, apply(2), Effect::ReadBack, send(1), send(2), prove]);
}

#[test]
fn a_timer_is_not_restarted_beside_an_application_that_starts_its_own() {
    let rearm = Effect::RearmRollback { seconds: 60 };
    assert_eq!(effect::in_order(vec![rearm.clone(), apply(1)], None), [apply(1)]);
    assert_eq!(effect::in_order(vec![rearm.clone()], None), [rearm]);
}

#[test]
fn one_kind_of_alarm_does_not_push_out_another_and_a_repeat_takes_no_place() {
    let mut state = HostState::fresh();
    state.raise_alarm("reopened_by_timer", "it matters", UnixMillis(1));
    for i in 0..500 {
        state.raise_alarm("root_refused", &format!("{i}"), UnixMillis(i));
    }
    let of = |kind: &str| state.alarms.iter().filter(|a| a.kind == kind).count();
    assert_eq!((of("reopened_by_timer"), of("root_refused")), (1, 4));
    assert_eq!(state.alarms.last().map(|a| a.detail.as_str()), Some("499"));
    state.raise_alarm("root_refused", "499", UnixMillis(900));
    assert_eq!(state.alarms.len(), 5);
    assert_eq!(state.alarms.last().map(|a| a.at_ms), Some(UnixMillis(900)));
    for i in 0..100 {
        state.raise_alarm(&format!("kind {i}"), "", UnixMillis(i));
    }
    assert_eq!(state.alarms.len(), 64);
}

#[test]
fn a_full_outbox_keeps_room_for_the_receipts_of_accepted_orders() {
    let mut state = HostState::fresh();
    let document =
        |size: usize| Document { seq: None, payload_type: PayloadType::Receipt, payload: vec![b' '; size] };
    state.outbox = vec![document(1); 511];
    assert!(!state.outbox_full());
    state.outbox.push(document(1));
    assert!(state.outbox_full() && !state.outbox_jammed());
    state.outbox = vec![document(1); 640];
    assert!(state.outbox_jammed());
    state.outbox = vec![document(4 << 20)];
    assert!(state.outbox_full() && !state.outbox_jammed());
    state.outbox.push(document(1 << 20));
    assert!(state.outbox_jammed());
}
