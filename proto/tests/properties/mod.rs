//! Random schedules of everything that can happen to a host: orders good, bad, repeated, altered, withheld
//! and for others; crashes, restarts, reboots, lost connections, clocks set at will, drivers that fail, a
//! full disk, a controller that lies. Whatever the schedule, the invariants below hold after every step.
//!
//! `PROPTEST_CASES` runs more of them.

mod schedule;

use std::collections::BTreeSet;

use digue_proto::frame::Delivery;
use digue_proto::host::{HostState, Input};
use digue_proto::id::{Challenge, Digest};
use digue_proto::order::{Action, Stream};
use digue_proto::policy::OnLostManagement;
use digue_proto::report::Links;
use proptest::prelude::*;

use crate::support::machine::{Faults, InForce};
use crate::support::world::{block_list, cut_policy, isolate_policy, root_v1};
use crate::support::{Draft, Machine, World};
use schedule::{Damage, Kind, Step, schedules};

/// Most documents that an outbox may hold (`host::state`).
const OUTBOX: usize = 512 + 128 + 1;

/// A host, everything that was ever sent to it, and who had the right to open it.
struct Trial {
    world: World,
    twin: World,
    machine: Machine,
    sent: Vec<(Delivery, Option<Challenge>)>,
    /// Orders that open, signed and vouched for as they must be, and delivered while the challenge that
    /// they name was the host's own.
    granted: BTreeSet<Digest>,
    generations: [u64; 3],
    durable: Option<HostState>,
    judged: usize,
}

impl Trial {
    fn new() -> Self {
        let world = World::new();
        let mut twin = root_v1();
        twin.issued_at_ms.0 += 1;
        let mut machine = Machine::asleep(&world);
        machine.wake().expect("no crash was asked for");
        Self {
            twin: World::with_root(&twin),
            world,
            machine,
            sent: Vec::new(),
            granted: BTreeSet::new(),
            generations: [0; 3],
            durable: None,
            judged: 0,
        }
    }

    /// An order of this kind, right in every way for the host as it is now.
    fn draft(&mut self, world: &World, kind: Kind) -> Draft {
        let challenge = self.machine.challenge();
        let stream = match kind {
            Kind::Cut | Kind::Isolate | Kind::Drill | Kind::Adjust | Kind::Release | Kind::ReleaseByThree => {
                0
            }
            Kind::Block | Kind::Unblock => 1,
            Kind::Report => 2,
        };
        self.generations[stream] += 1;
        let generation = self.generations[stream];
        let boot = self.machine.boot_id();
        let draft = match kind {
            Kind::Cut => world.cut(generation),
            Kind::Isolate => world.contain(generation, isolate_policy()),
            Kind::Drill => world.drill(generation, 300, challenge),
            Kind::Adjust => world.adjust(generation, cut_policy(), challenge),
            Kind::Release => {
                let clean = world.clean_with(&["bruno", "claire"], |s| {
                    s.boot_id = Some(boot);
                    s.valid_until_ms.0 = u64::MAX;
                });
                world.release(generation, challenge).vouched(clean)
            }
            Kind::ReleaseByThree => {
                let release = world.order(generation, Action::Release { without_verdict: true });
                release.challenged(challenge).by(&["alice", "bruno", "denis"])
            }
            Kind::Block => world.block(generation, block_list(&["198.51.100.0/24", "203.0.113.9/32"])),
            Kind::Unblock => world.unblock(generation, block_list(&["203.0.113.9/32"]), challenge),
            Kind::Report => world.order(generation, Action::Report {}),
        };
        draft.edit(|o| o.not_after_ms.0 = u64::MAX)
    }

    fn deliver(&mut self, index: usize) {
        let Some((delivery, challenge)) = self.sent.get(index).cloned() else { return };
        if challenge == Some(self.machine.challenge()) {
            self.granted.insert(delivery.order.digest());
        }
        let _ = self.machine.give(&delivery);
    }

    fn order(&mut self, kind: Kind, damage: Damage, deliver: bool) {
        let world = if damage == Damage::OtherDeployment { self.twin.clone() } else { self.world.clone() };
        let mut draft = self.draft(&world, kind);
        // Only a release rests on a statement.
        let good = damage == Damage::None || (damage == Damage::NoStatement && kind != Kind::Release);
        match damage {
            Damage::OneSigner => draft.signers.truncate(1),
            Damage::OnePersonTwice => draft.signers = vec!["alice".to_owned(), "alice-spare".to_owned()],
            Damage::OtherHost => draft = draft.with_leaf(|l| l.host_id = "srv-002".parse().expect("a name")),
            Damage::NoStatement => draft.statement = None,
            Damage::GuessedChallenge => draft = draft.challenged(Challenge::from_bytes([7; 16])),
            Damage::Relabelled => draft = draft.typed(digue_proto::envelope::PayloadType::Protect),
            Damage::None | Damage::OtherDeployment | Damage::Altered(_) => {}
        }
        let mut delivery = draft.deliver();
        if let Damage::Altered(at) = damage {
            let payload = &mut delivery.order.payload;
            let at = at % payload.len();
            payload[at] ^= 1;
        }
        let relaxing = draft.order.action.class() == digue_proto::trust::Class::Release;
        let challenge = draft.leaf.as_ref().and_then(|l| l.challenge).filter(|_| good && relaxing);
        self.sent.push((delivery, challenge));
        if deliver {
            self.deliver(self.sent.len() - 1);
        }
    }

    fn step(&mut self, step: &Step) {
        let machine = &mut self.machine;
        // A crash is no failure: the agent starts again below.
        let _ = match *step {
            Step::Order(kind, damage) => return self.order(kind, damage, true),
            Step::Withhold(kind) => return self.order(kind, Damage::None, false),
            Step::Repeat(which) => return self.deliver(which.checked_rem(self.sent.len()).unwrap_or(0)),
            Step::Restart => machine.restart(),
            Step::Reboot => machine.reboot(),
            Step::Connect => machine.connect(),
            Step::Disconnect => machine.disconnect(),
            Step::Tick => machine.tick(),
            Step::Heartbeat => machine.heartbeat(),
            Step::CardMoved => machine.input(Input::CardsChanged { detail: "eth1 came".to_owned() }),
            Step::Flushed => {
                machine.kernel.rules = None;
                machine.kernel.timer_ms = None;
                machine.input(Input::RulesChanged { by: "4711 nft".to_owned() })
            }
            Step::CrashAfter(effects) => return machine.fuse = Some(effects),
            Step::Pass(ms) => return machine.pass(ms),
            Step::SetWall(ms) => return machine.wall_ms = ms,
            Step::DiskFull(full) => return machine.disk.full = full,
            Step::NeverStored(never) => return machine.never_stored = never,
            Step::Faults(apply, unreadable, probes, management) => {
                return machine.faults = Faults { apply, unreadable, probes, management };
            }
        };
    }

    /// The agent starts again by itself, and may stop again while it does.
    fn start_again(&mut self) {
        while !self.machine.awake() {
            let _ = self.machine.restart();
        }
    }

    fn check(&mut self, step: &Step) {
        let machine = &self.machine;
        assert!(machine.state().outbox.len() <= OUTBOX, "after {step:?}: the outbox grows without end");
        assert!(!machine.claims_too_much(), "after {step:?}: a cut is called verified without its proofs");
        self.numbers_only_grow(step);
        self.opens_only_with_the_right_to(step);
        let machine = &self.machine;
        let state = machine.state();
        if state.policy.contains() && machine.links() == Links::Open {
            panic!("after {step:?}: a contained host says that its links are open");
        }
        let bytes = state.to_bytes().expect("JSON");
        assert!(HostState::from_bytes(&bytes).is_ok(), "after {step:?}: a state that cannot be read again");
    }

    /// Generations, the chain, the root and the time floor never go back, in memory or on disk.
    fn numbers_only_grow(&mut self, step: &Step) {
        let Some(now) = self.machine.durable() else { return };
        if let Some(before) = &self.durable {
            for stream in Stream::ALL {
                let (was, is) = (before.head(stream).order(), now.head(stream).order());
                assert!(is >= was, "after {step:?}: {stream:?} went from {was:?} back to {is:?}");
                let (was, is) = (before.stream(stream), now.stream(stream));
                let (Some(was), Some(is)) = (was, is) else { continue };
                assert!(
                    is.head != was.head || is.order == was.order,
                    "after {step:?}: one number, two orders"
                );
            }
            // A report that no controller was handed may be replaced, and then its number is used again.
            let known = self.machine.receiver.chain.last_key_value().map_or(0, |(seq, _)| *seq);
            assert!(now.seq >= known, "after {step:?}: the chain went back behind what was sent");
            assert!(now.root_version >= before.root_version && now.time_floor_ms >= before.time_floor_ms);
        }
        self.durable = Some(now);
    }

    /// Of two states on disk the later is more open only by a granted order, or by a drill's own timer.
    fn opens_only_with_the_right_to(&mut self, step: &Step) {
        let history = &self.machine.in_force;
        for pair in history.get(self.judged.saturating_sub(1)..).unwrap_or_default().windows(2) {
            let [before, after] = pair else { continue };
            let by = |order: Option<Digest>| order.is_some_and(|o| self.granted.contains(&o));
            if !after.policy.relaxes(&before.policy).is_empty() {
                let right = by(after.orders[0]) || timer_ran_out(before, after);
                assert!(right, "after {step:?}: opened without an order:\n{before:?}\n{after:?}");
            }
            if after.blocked.relaxes(&before.blocked) {
                assert!(by(after.orders[1]), "after {step:?}: unblocked without an order");
            }
        }
        self.judged = history.len();
    }
}

/// Whether a drill, which two persons signed as an order that opens, had reached its end.
fn timer_ran_out(before: &InForce, after: &InForce) -> bool {
    let over = before.deadline_ms.is_some_and(|deadline| deadline <= after.boottime_ms);
    let drill = before.policy.on_lost_management != OnLostManagement::Hold;
    drill && over && !after.policy.contains() && after.orders == before.orders
}

/// A hundred schedules, unless `PROPTEST_CASES` asks for another number.
fn config() -> ProptestConfig {
    let asked = ProptestConfig::default();
    let cases = if asked.cases == 256 { 100 } else { asked.cases };
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 2_000, ..asked }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_a_host_opens_only_by_right_and_says_only_what_was_measured(
        steps in schedules()
    ) {
        let mut trial = Trial::new();
        for step in &steps {
            trial.step(step);
            trial.start_again();
            trial.check(step);
        }
    }

    /// After any trouble, once the faults are gone: what is in force is in the kernel, and proven.
    #[test]
    fn whatever_happened_a_host_settles_once_the_trouble_is_over(steps in schedules()) {
        let mut trial = Trial::new();
        for step in &steps {
            trial.step(step);
            trial.start_again();
        }
        let machine = &mut trial.machine;
        machine.faults = Faults::default();
        (machine.disk.full, machine.never_stored, machine.fuse) = (false, false, None);
        machine.restart().expect("it starts");
        for _ in 0..4 {
            machine.connect().expect("it connects");
            machine.tick().expect("no crash was asked for");
            machine.heartbeat().expect("no crash was asked for");
            machine.pass(16_000);
        }
        let state = machine.state();
        prop_assert!(state.outbox.is_empty() && state.journal.is_empty(), "{:?}", state.journal);
        prop_assert_eq!(machine.contained(), state.policy.contains());
        prop_assert_eq!(machine.links(), if state.policy.contains() { Links::Cut } else { Links::Open });
        let in_kernel = machine.kernel.rules.as_ref().map_or_else(|| block_list(&[]), |r| r.blocked.clone());
        prop_assert_eq!(&in_kernel, &state.blocked);
        let last = machine.receiver.reports.last().expect("a report");
        prop_assert_eq!(&last.policy, &state.policy, "the newest report says what is in force");
    }
}
