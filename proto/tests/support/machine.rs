//! A server in memory: the core, its disk, its kernel and its clocks, with a crash at any effect.
//!
//! It carries effects out as the agent must (`host::Effect`): in order, nothing after a write that failed,
//! and results only once all effects of the call are done. It checks that a numbered document is on the
//! disk before it leaves.

use std::collections::VecDeque;

use digue_proto::envelope::Envelope;
use digue_proto::frame::Delivery;
use digue_proto::host::{
    Applied, Apply, Document, Effect, Host, HostState, Input, Loaded, Now, Observed, Prove, Proved,
};
use digue_proto::id::{Challenge, Digest, Nonce, UnixMillis};
use digue_proto::order::Stream;
use digue_proto::policy::{BlockList, OnLostManagement, Policy};
use digue_proto::report::{Check, Clocks, Links, Outcome};
use digue_proto::strict;
use digue_proto::trust_chain::Trust;

use super::receiver::Receiver;
use super::world::{BOOT, T0, World};

/// The machine stopped where the test asked it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crashed;

/// What survives a crash of the process, and of the machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub(crate) state: Option<Vec<u8>>,
    pub(crate) roots: Vec<Envelope>,
    /// Writes fail.
    pub(crate) full: bool,
}

/// What survives a crash of the process alone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kernel {
    pub(crate) rules: Option<Apply>,
    /// When the containment is lifted without the agent, in boot time.
    pub(crate) timer_ms: Option<u64>,
    /// The timer has lifted it: the tables stand and let everything pass.
    pub(crate) lifted: bool,
    /// How often rules were applied.
    pub(crate) applications: usize,
    /// The application that was read back and found to hold.
    pub(crate) read_back: Option<usize>,
    /// The application whose proofs all held.
    pub(crate) proven: Option<usize>,
}

/// What was in force at one time, by the state on disk.
#[derive(Debug, Clone)]
pub(crate) struct InForce {
    pub(crate) policy: Policy,
    pub(crate) blocked: BlockList,
    /// The newest orders of the streams `net` and `block`.
    pub(crate) orders: [Option<Digest>; 2],
    pub(crate) boottime_ms: u64,
    /// When the kernel's timer would end it.
    pub(crate) deadline_ms: Option<u64>,
}

/// How the drivers misbehave.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    pub(crate) apply: bool,
    pub(crate) unreadable: bool,
    pub(crate) probes: bool,
    pub(crate) management: bool,
}

/// A server.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) world: World,
    host: Option<Host>,
    pub(crate) disk: Disk,
    pub(crate) kernel: Kernel,
    pub(crate) faults: Faults,
    pub(crate) receiver: Receiver,
    pub(crate) connected: bool,
    /// The controller keeps what it hears and never says so.
    pub(crate) never_stored: bool,
    /// Answers to applications are lost on their way to the core.
    pub(crate) swallow_answers: bool,
    pub(crate) wall_ms: u64,
    pub(crate) boottime_ms: u64,
    pub(crate) boot: u32,
    entropy: u64,
    /// Effects until the machine stops.
    pub(crate) fuse: Option<usize>,
    pub(crate) notes: Vec<(&'static str, String)>,
    /// Inputs that wait for a disk that can be written.
    left: VecDeque<Input>,
    /// Every state that was written, in short.
    pub(crate) in_force: Vec<InForce>,
    /// The state on disk, read.
    durable: Option<HostState>,
    /// What the driver was last asked for, in the memory of the process.
    meant: Option<Apply>,
}

impl Machine {
    /// A server that never received an order, awake and connected.
    pub(crate) fn new(world: &World) -> Self {
        let mut machine = Self::asleep(world);
        machine.wake().expect("no crash was asked for");
        machine.connect().expect("no crash was asked for");
        machine
    }

    /// A server before its agent's first start.
    pub(crate) fn asleep(world: &World) -> Self {
        Self {
            world: world.clone(),
            host: None,
            disk: Disk { state: None, roots: vec![world.first.clone()], full: false },
            kernel: Kernel::default(),
            faults: Faults::default(),
            receiver: Receiver::default(),
            connected: false,
            never_stored: false,
            swallow_answers: false,
            wall_ms: T0,
            boottime_ms: 1_000_000,
            boot: 1,
            entropy: 0,
            fuse: None,
            notes: Vec::new(),
            left: VecDeque::new(),
            in_force: Vec::new(),
            durable: None,
            meant: None,
        }
    }

    pub(crate) fn host(&self) -> &Host {
        self.host.as_ref().expect("the agent is running")
    }

    pub(crate) fn state(&self) -> &HostState {
        self.host().state()
    }

    pub(crate) fn challenge(&self) -> Challenge {
        self.host().challenge()
    }

    pub(crate) fn links(&self) -> Links {
        self.host().links()
    }

    /// Whether the kernel contains anything.
    pub(crate) fn contained(&self) -> bool {
        !self.kernel.lifted && self.kernel.rules.as_ref().is_some_and(|apply| apply.policy.contains())
    }

    pub(crate) fn boot_id(&self) -> String {
        if self.boot == 1 { BOOT.to_owned() } else { format!("0f6a7f5e-0000-4000-8000-{:012}", self.boot) }
    }

    fn now(&mut self) -> Now {
        self.entropy += 1;
        let digest = Digest::of_parts(&[b"entropy", &self.entropy.to_be_bytes()]);
        let mut entropy = [0u8; 16];
        entropy.copy_from_slice(&digest.as_bytes()[..16]);
        let clocks = Clocks {
            wall_ms: UnixMillis(self.wall_ms),
            boottime_ms: self.boottime_ms,
            boot_id: self.boot_id(),
        };
        Now { clocks, entropy }
    }

    /// Time goes by on both clocks; the kernel's own timer may fire.
    pub(crate) fn pass(&mut self, ms: u64) {
        self.boottime_ms += ms;
        self.wall_ms = self.wall_ms.saturating_add(ms);
        if self.kernel.timer_ms.is_some_and(|timer| timer <= self.boottime_ms) {
            self.kernel.timer_ms = None;
            self.kernel.lifted = true;
        }
    }

    /// Starts the agent from what is on disk.
    pub(crate) fn wake(&mut self) -> Result<(), Crashed> {
        let loaded = match &self.disk.state {
            None => Loaded::Absent,
            Some(bytes) => match HostState::from_bytes(bytes) {
                Ok(state) => Loaded::State(Box::new(state)),
                Err(error) => Loaded::Unreadable(error.to_string()),
            },
        };
        let trust = Trust::from_chain(&self.disk.roots, &self.world.deployment()).expect("roots on disk");
        let now = self.now();
        let (host, effects) = Host::wake(self.world.identity.clone(), trust, loaded, &now);
        self.host = Some(host);
        self.left.clear();
        let writes = |e: &Effect| matches!(e, Effect::Persist(_) | Effect::PersistRoot(_));
        assert!(!effects.iter().any(writes), "waking needs a disk that can be written");
        self.run(effects)
    }

    /// The process ends and starts again.
    pub(crate) fn restart(&mut self) -> Result<(), Crashed> {
        self.host = None;
        self.connected = false;
        self.meant = None;
        self.left.clear();
        if self.durable.as_ref().is_some_and(|state| state.outbox.len() >= 32) {
            self.flush();
        }
        self.pass(1_000);
        self.wake()
    }

    /// The machine ends and starts again: the kernel forgets.
    pub(crate) fn reboot(&mut self) -> Result<(), Crashed> {
        self.kernel = Kernel { applications: self.kernel.applications, ..Kernel::default() };
        self.boot += 1;
        self.boottime_ms = 10_000;
        self.restart()
    }

    pub(crate) fn connect(&mut self) -> Result<(), Crashed> {
        self.connected = true;
        self.entropy += 1;
        let nonce = Nonce::from_bytes(u128::from(self.entropy).to_be_bytes());
        self.input(Input::Connected(nonce))
    }

    pub(crate) fn disconnect(&mut self) -> Result<(), Crashed> {
        self.connected = false;
        self.input(Input::Disconnected)
    }

    pub(crate) fn tick(&mut self) -> Result<(), Crashed> {
        self.input(Input::Tick)
    }

    pub(crate) fn heartbeat(&mut self) -> Result<(), Crashed> {
        let observed = self.observe();
        self.input(Input::HeartbeatDue(observed))
    }

    pub(crate) fn give(&mut self, delivery: &Delivery) -> Result<(), Crashed> {
        self.input(Input::Deliver(Box::new(delivery.clone())))
    }

    /// Delivers and returns what the host answered about this order, in this call.
    pub(crate) fn answer(&mut self, delivery: &Delivery) -> Vec<Outcome> {
        let before = self.receiver.receipts.len();
        self.give(delivery).expect("no crash was asked for");
        let digest = delivery.order.digest();
        let new = self.receiver.receipts[before..].iter().filter(|r| r.order == digest);
        new.map(|r| r.outcome.clone()).collect()
    }

    /// Delivers and asserts that the order is refused with this code and nothing else happens.
    pub(crate) fn refuses(&mut self, delivery: &Delivery, code: &str) {
        let changes = self.kernel.applications;
        let held = (self.state().policy.clone(), self.state().blocked.clone(), self.state().streams.clone());
        let outcomes = self.answer(delivery);
        let [Outcome::Refused { code: found, detail }] = outcomes.as_slice() else {
            panic!("expected a refusal {code}, the host answered {outcomes:?}");
        };
        assert_eq!(found, code, "{detail}");
        assert_eq!(self.kernel.applications, changes, "a refused order reached the kernel");
        let holds = (self.state().policy.clone(), self.state().blocked.clone(), self.state().streams.clone());
        assert_eq!(holds, held, "a refused order changed the state");
    }

    /// Delivers and asserts that the order is carried out and proven.
    pub(crate) fn obeys(&mut self, delivery: &Delivery) {
        let outcomes = self.answer(delivery);
        assert!(outcomes.contains(&Outcome::Verified {}), "the host answered {outcomes:?}");
    }

    /// Starts with what is on disk, and with a controller that never heard of this host.
    pub(crate) fn wake_with_new_receiver(&mut self) {
        self.receiver = Receiver::default();
        self.meant = None;
        self.wake().expect("no crash was asked for");
        self.connect().expect("no crash was asked for");
    }

    /// Feeds one input alone; what would follow from it is not carried out.
    pub(crate) fn deliver_unchecked(&mut self, input: Input) {
        let now = self.now();
        self.host.as_mut().expect("the agent is running").handle(input, &now);
    }

    /// Whether the agent is running.
    pub(crate) const fn awake(&self) -> bool {
        self.host.is_some()
    }

    /// The state that is on disk.
    pub(crate) fn durable(&self) -> Option<HostState> {
        self.durable.clone()
    }

    /// The streams of the state that is on disk.
    pub(crate) fn durable_head(&self) -> Vec<digue_proto::host::StreamState> {
        self.durable.as_ref().map_or_else(Vec::new, |state| state.streams.clone())
    }

    /// Delivers an order that a full outbox cannot answer, and asserts that it is carried out.
    pub(crate) fn obeys_though_full(&mut self, delivery: &Delivery) {
        let changes = self.kernel.applications;
        self.give(delivery).expect("no crash was asked for");
        assert!(self.kernel.applications > changes, "the order did not reach the kernel");
    }

    /// Delivers an order that may have been admitted before a crash; either way it holds afterwards.
    pub(crate) fn obeys_or_has_obeyed(&mut self, delivery: &Delivery) {
        self.give(delivery).expect("no crash was asked for");
        let outcomes = self.receiver.outcomes(delivery.order.digest());
        assert!(outcomes.contains(&Outcome::Verified {}), "the host answered {outcomes:?}");
        let accepted = outcomes.iter().filter(|o| **o == Outcome::Acknowledged {}).count();
        assert_eq!(accepted, 1, "accepted {accepted} times: {outcomes:?}");
    }

    /// Feeds one input and everything that follows from it.
    pub(crate) fn input(&mut self, input: Input) -> Result<(), Crashed> {
        self.left.push_back(input);
        while let Some(input) = self.left.pop_front() {
            let now = self.now();
            let before = self.host.clone();
            let effects = self.host.as_mut().ok_or(Crashed)?.handle(input.clone(), &now);
            assert!(!self.claims_too_much(), "a cut is called verified without its proofs");
            let mut answers = VecDeque::new();
            if !self.carry_out(effects, &mut answers)? {
                self.host = before;
                self.left.push_front(input);
                return Ok(());
            }
            if self.swallow_answers {
                answers.retain(|answer| !matches!(answer, Input::Applied(_)));
            }
            answers.into_iter().rev().for_each(|answer| self.left.push_front(answer));
        }
        Ok(())
    }

    fn run(&mut self, effects: Vec<Effect>) -> Result<(), Crashed> {
        let mut answers = VecDeque::new();
        self.carry_out(effects, &mut answers)?;
        answers.into_iter().try_for_each(|answer| self.input(answer))
    }

    /// Whether everything could be written; if not, nothing was done.
    fn carry_out(&mut self, effects: Vec<Effect>, queue: &mut VecDeque<Input>) -> Result<bool, Crashed> {
        assert_writes_come_first(&effects);
        for effect in effects {
            if let Some(fuse) = &mut self.fuse {
                if *fuse == 0 {
                    self.fuse = None;
                    self.host = None;
                    self.connected = false;
                    return Err(Crashed);
                }
                *fuse -= 1;
            }
            match effect {
                Effect::Persist(_) | Effect::PersistRoot(_) if self.disk.full => return Ok(false),
                Effect::Persist(state) => self.persist(&state),
                Effect::PersistRoot(root) => {
                    if !self.disk.roots.contains(&root) {
                        self.disk.roots.push(*root);
                    }
                }
                Effect::Apply(apply) => queue.push_back(Input::Applied(Box::new(self.apply(*apply)))),
                Effect::Prove(prove) => queue.push_back(Input::Proved(Box::new(self.prove(&prove)))),
                Effect::ReadBack => queue.push_back(Input::ReadBack(self.observe())),
                Effect::RearmRollback { seconds } => {
                    if self.kernel.timer_ms.is_some() {
                        self.kernel.timer_ms = Some(self.boottime_ms + u64::from(seconds) * 1_000);
                    }
                }
                Effect::Send(document) => self.send(&document, queue),
                Effect::Note { event, detail } => self.notes.push((event, detail)),
            }
        }
        Ok(true)
    }

    fn persist(&mut self, state: &HostState) {
        let order = |stream| state.stream(stream).map(|s| s.order);
        self.in_force.push(InForce {
            policy: state.policy.clone(),
            blocked: state.blocked.clone(),
            orders: [order(Stream::Net), order(Stream::Block)],
            boottime_ms: self.boottime_ms,
            deadline_ms: state.rollback.as_ref().map(|r| r.deadline_ms),
        });
        self.durable = Some(state.clone());
        // Writing and reading a large state each time would be most of the time of a flood.
        if state.outbox.len() < 32 || state.outbox.len().is_multiple_of(64) {
            self.flush();
        }
    }

    /// The bytes of the state that was last written.
    fn flush(&mut self) {
        if let Some(state) = &self.durable {
            let bytes = state.to_bytes().expect("JSON");
            let read = HostState::from_bytes(&bytes).expect("a state that was written must be readable");
            assert_eq!(read, *state, "a state changes when it is written and read");
            self.disk.state = Some(bytes);
        }
    }

    fn apply(&mut self, apply: Apply) -> Applied {
        let request = apply.request;
        if self.faults.apply {
            let result = Err("the kernel refuses".to_owned());
            return Applied { request, result, sessions_cut: 0, fallback: None };
        }
        self.kernel.applications += 1;
        self.assert_on_disk(&apply);
        self.kernel.timer_ms = match apply.policy.on_lost_management {
            OnLostManagement::Hold => None,
            OnLostManagement::ReopenAfter(s) => Some(self.boottime_ms + u64::from(s) * 1_000),
        };
        let rules = apply.policy.contains() || !apply.blocked.networks.is_empty();
        self.kernel.lifted = false;
        self.kernel.rules = rules.then_some(apply);
        self.meant = self.kernel.rules.clone();
        let observed = self.observe();
        if observed.drift.is_empty() {
            self.kernel.read_back = Some(self.kernel.applications);
        }
        Applied { request, result: Ok(observed), sessions_cut: 0, fallback: None }
    }

    /// What the driver reads back and compares with what it was last asked for.
    pub(crate) fn observe(&self) -> Observed {
        let digest = |apply: &Apply| {
            let policy = strict::to_vec(&apply.policy).expect("JSON");
            Digest::of_parts(&[&policy, &strict::to_vec(&apply.blocked).expect("JSON")])
        };
        let meant = self.meant.as_ref().map(digest);
        if self.faults.unreadable {
            return Observed { meant, found: None, drift: vec!["the rules cannot be read".to_owned()] };
        }
        let found = self.kernel.rules.as_ref().map(digest);
        let drift = if meant == found { Vec::new() } else { vec!["the rules differ".to_owned()] };
        Observed { meant, found, drift }
    }

    /// Rules are made of what is on disk, less the exceptions that have run out. What cannot be read closes.
    fn assert_on_disk(&self, apply: &Apply) {
        let state = self.disk.state.as_ref().map(|bytes| HostState::from_bytes(bytes));
        let (policy, blocked) = match state {
            Some(Ok(_)) => {
                self.durable.as_ref().map(|s| (s.policy.clone(), s.blocked.clone())).expect("read before")
            }
            Some(Err(_)) => (Policy::closed(self.world.identity.controllers.clone()), BlockList::default()),
            None => (Policy::open(), BlockList::default()),
        };
        let running = |p: &Policy| Policy { exceptions: Vec::new(), ..p.clone() };
        assert_eq!(
            (running(&apply.policy), &apply.blocked),
            (running(&policy), &blocked),
            "not what is on disk"
        );
        assert!(apply.policy.exceptions.iter().all(|e| policy.exceptions.contains(e)));
    }

    fn prove(&mut self, prove: &Prove) -> Proved {
        let at_ms = UnixMillis(self.wall_ms);
        let passed = |detail: &str| Check::Passed { detail: detail.to_owned(), at_ms };
        let failed = |detail: &str| Check::Failed { detail: detail.to_owned(), at_ms };
        let probes = match (prove.contained, self.faults.probes) {
            (false, _) => Check::NotPossible { detail: "an open host has nothing to probe".to_owned() },
            (true, false) => passed("no probe got through"),
            (true, true) => failed("a probe got through"),
        };
        let reached = self.connected && !self.faults.management;
        let management = if reached { passed("a new connection") } else { failed("no controller answers") };
        if management.passed() && !probes.failed() {
            self.kernel.proven = Some(self.kernel.applications);
        }
        Proved { request: prove.request, probes, management }
    }

    fn send(&mut self, document: &Document, queue: &mut VecDeque<Input>) {
        if document.seq.is_some() {
            let durable = self.durable.as_ref().expect("a document leaves a host without a state on disk");
            let known = durable.outbox.iter().chain(durable.remembered.iter().map(|r| &r.receipt));
            assert!(known.into_iter().any(|d| d == document), "a document left before it was on disk");
        }
        if !self.connected {
            return;
        }
        self.receiver.hear(&self.world, document);
        if document.seq.is_some() && !self.never_stored {
            queue.push_back(Input::Stored(document.digest()));
        }
    }

    /// Whether the core claims a verified cut although, since the last change, the rules were not read
    /// back or a proof did not hold.
    pub(crate) fn claims_too_much(&self) -> bool {
        let newest = Some(self.kernel.applications);
        self.links() == Links::Cut && (self.kernel.read_back != newest || self.kernel.proven != newest)
    }
}

/// A write that fails must leave nothing half done: at most one state a call, and nothing before it but
/// trust roots.
fn assert_writes_come_first(effects: &[Effect]) {
    let rank = |effect: &Effect| match effect {
        Effect::PersistRoot(_) => 0,
        Effect::Persist(_) => 1,
        Effect::Note { .. }
        | Effect::Apply(_)
        | Effect::Prove(_)
        | Effect::ReadBack
        | Effect::RearmRollback { .. }
        | Effect::Send(_) => 2,
    };
    assert!(effects.is_sorted_by_key(rank), "something is done before the state is written: {effects:?}");
    assert!(effects.iter().filter(|e| rank(e) == 1).count() <= 1, "two states in one call");
}
