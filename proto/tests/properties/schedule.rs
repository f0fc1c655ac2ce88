//! What can happen to a host, and schedules of it.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::support::world::{DAY, T0};

/// A kind of order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Cut,
    Isolate,
    Drill,
    Adjust,
    Release,
    ReleaseByThree,
    Block,
    Unblock,
    Report,
}

/// What an attacker did to an order, or which part of it he could not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Damage {
    None,
    OneSigner,
    OnePersonTwice,
    OtherHost,
    OtherDeployment,
    NoStatement,
    GuessedChallenge,
    Relabelled,
    Altered(usize),
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Order(Kind, Damage),
    /// Signed, and kept back by the controller.
    Withhold(Kind),
    /// Any delivery made or withheld before.
    Repeat(usize),
    CrashAfter(usize),
    Restart,
    Reboot,
    Connect,
    Disconnect,
    Pass(u64),
    SetWall(u64),
    Tick,
    Heartbeat,
    Faults(bool, bool, bool, bool),
    DiskFull(bool),
    NeverStored(bool),
    /// Someone empties the packet filter.
    Flushed,
    CardMoved,
}

fn kind() -> impl Strategy<Value = Kind> {
    use Kind::{Adjust, Block, Cut, Drill, Isolate, Release, ReleaseByThree, Report, Unblock};
    prop::sample::select(vec![Cut, Isolate, Drill, Adjust, Release, ReleaseByThree, Block, Unblock, Report])
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        8 => Just(Damage::None),
        1 => Just(Damage::OneSigner),
        1 => Just(Damage::OnePersonTwice),
        1 => Just(Damage::OtherHost),
        1 => Just(Damage::OtherDeployment),
        1 => Just(Damage::NoStatement),
        1 => Just(Damage::GuessedChallenge),
        1 => Just(Damage::Relabelled),
        1 => any::<usize>().prop_map(Damage::Altered),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let wall = prop_oneof![Just(0), Just(u64::MAX), Just(T0), T0 - 4_000 * DAY..T0 + 4_000 * DAY];
    let pass = prop_oneof![1u64..10_000, 200_000u64..700_000, Just(DAY + 1)];
    prop_oneof![
        12 => (kind(), damage()).prop_map(|(kind, damage)| Step::Order(kind, damage)),
        2 => kind().prop_map(Step::Withhold),
        4 => any::<usize>().prop_map(Step::Repeat),
        3 => (0usize..14).prop_map(Step::CrashAfter),
        1 => Just(Step::Restart),
        1 => Just(Step::Reboot),
        4 => Just(Step::Connect),
        1 => Just(Step::Disconnect),
        3 => pass.prop_map(Step::Pass),
        1 => wall.prop_map(Step::SetWall),
        4 => Just(Step::Tick),
        3 => Just(Step::Heartbeat),
        2 => any::<(bool, bool, bool, bool)>().prop_map(|(a, u, p, m)| Step::Faults(a, u, p, m)),
        1 => Just(Step::Faults(false, false, false, false)),
        1 => any::<bool>().prop_map(Step::DiskFull),
        1 => any::<bool>().prop_map(Step::NeverStored),
        1 => Just(Step::Flushed),
        1 => Just(Step::CardMoved),
    ]
}

/// Up to sixty things that happen to one host.
pub(super) fn schedules() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..60)
}
