//! A5: stolen keys sign the largest number there is, so that no number is left to use after it.

use digue_proto::host::Input;
use digue_proto::id::UnixMillis;
use digue_proto::limits::MAX_GENERATION_JUMP;
use digue_proto::trust_chain::TrustError;

use crate::support::world::{DAY, T0};
use crate::support::{Machine, World};

#[test]
fn a5_a_generation_that_jumps_too_far_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    for generation in [u64::MAX, MAX_GENERATION_JUMP + 1] {
        machine.refuses(&world.cut(generation).deliver(), "E0406");
    }
    machine.obeys(&world.cut(MAX_GENERATION_JUMP).deliver());
    machine.refuses(&world.cut(u64::MAX).deliver(), "E0406");
    machine.refuses(&world.cut(2 * MAX_GENERATION_JUMP + 1).deliver(), "E0406");
    machine.obeys(&world.cut(2 * MAX_GENERATION_JUMP).deliver());
}

#[test]
fn a5_an_epoch_that_the_root_does_not_name_is_refused() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    for epoch in [1, u64::MAX] {
        machine.refuses(&world.cut(1).edit(|o| o.gen_epoch = epoch).deliver(), "E0405");
    }
}

#[test]
fn a5_a_root_version_or_epoch_that_jumps_is_refused() {
    let world = World::new();
    for version in [u64::MAX, 3, 0] {
        let root = world.next_root(&["alice", "bruno"], |r| r.version = version);
        assert!(matches!(world.trust.next(&root), Err(TrustError::NotNext { .. })), "version {version}");
    }
    let root = world.next_root(&["alice", "bruno"], |r| r.gen_epoch = u64::MAX);
    let refused = world.trust.next(&root).expect_err("an absurd epoch");
    assert_eq!(refused.code(), "E0314");
}

#[test]
fn a5_a_new_epoch_recovers_a_stream_whose_numbers_were_used_up() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    machine.obeys(&world.cut(MAX_GENERATION_JUMP).deliver());
    let root = world.next_root(&["alice", "bruno"], |r| r.gen_epoch = 1);
    machine.input(Input::Roots(vec![root])).expect("no crash was asked for");
    machine.refuses(&world.cut(MAX_GENERATION_JUMP + 1).deliver(), "E0405");
    machine.obeys(&world.cut(1).edit(|o| o.gen_epoch = 1).deliver());
    machine.refuses(&world.cut(1).edit(|o| (o.gen_epoch, o.reason) = (1, "again".into())).deliver(), "E0404");
}

/// The clock can be fast-forwarded too: one stolen key dates a cut in the far future, and every release
/// that honest people sign would have expired before it was made.
#[test]
fn a5_one_key_cannot_move_the_time_floor_so_that_every_release_has_expired() {
    let world = World::new();
    let mut machine = Machine::new(&world);
    let future = UnixMillis(T0 + 100_000 * DAY);
    let cut = world.cut(1).edit(|o| (o.issued_at_ms, o.not_after_ms) = (future, future));
    machine.obeys(&cut.deliver());
    assert!(machine.state().time_floor_ms < UnixMillis(T0));
    machine.obeys(&world.release(2, machine.challenge()).deliver());
    assert!(!machine.contained());
}
