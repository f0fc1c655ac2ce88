//! The host core: a state machine that admits orders and says what to do.
//!
//! `handle(input, now)` returns effects; it performs none. The agent is a shell that carries them out in
//! order and feeds back what it observed. Architecture invariant: there is no effect that means "open";
//! opening is `Apply` of the open policy, after an admitted order.

mod admit;
mod chain;
mod contain;
mod deliver;
mod effect;
mod roots;
mod state;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;

pub use admit::Refusal;
pub use effect::{Applied, Apply, Document, Effect, Input, Now, Observed, Prove, Proved};
pub use state::{HostState, Journal, Loaded, Remembered, Rollback, Stage, StreamState};

use crate::frame::Delivery;
use crate::id::{Challenge, HostId, Nonce, UnixMillis};
use crate::key::{Fingerprint, PublicKey};
use crate::limits::MAX_DETAIL;
use crate::policy::Policy;
use crate::report::{Alarm, Level, Links, Proofs};
use crate::trust_chain::Trust;

/// What the agent knows about its host before the first order.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The host's name.
    pub host_id: HostId,
    /// Its public key.
    pub host_key: PublicKey,
    /// The controllers of its configuration.
    pub controllers: Vec<SocketAddr>,
    /// The agent's version.
    pub agent_version: String,
    /// What the kernel supports, measured.
    pub level: Level,
    /// Why it is not higher.
    pub level_detail: Vec<String>,
    /// When the program was built; the wall clock is never believed to be earlier.
    pub built_at_ms: UnixMillis,
}

/// After this much boot time the challenge changes, so that a withheld release dies (3.6.3).
const CHALLENGE_LIFE_MS: u64 = 24 * 3_600_000;

/// A host, as far as deciding goes.
#[derive(Debug, Clone)]
pub struct Host {
    identity: Identity,
    fingerprint: Fingerprint,
    trust: Trust,
    state: HostState,
    /// In memory only: a restored disk image cannot know it (C10).
    challenge: Challenge,
    challenge_since_ms: u64,
    connected: Option<Nonce>,
    /// The time floor and the boot time from which it counts on.
    time_anchor: (UnixMillis, u64),
    /// The highest chain number handed to the link; what was handed over is never rewritten.
    sent_through: u64,
    observed: Observed,
    proofs: Proofs,
    sessions_cut: u64,
    /// Numbers the requests to apply and prove.
    request: u64,
    /// A request to apply is on its way, or has failed and is due again at this boot time.
    apply_due_ms: Option<u64>,
    apply_failed: bool,
    /// Since when, in boot time, the answer to the newest request to apply is awaited.
    applying_since_ms: Option<u64>,
    prove_due_ms: Option<u64>,
    rearmed_at_ms: u64,
    refusals: (u64, u32),
    parked: Vec<Delivery>,
    /// A report is due with the next input, or once the outbox has room.
    report_due: bool,
    /// The alarms of the last report.
    told_alarms: Vec<Alarm>,
    /// Something changed that must be on disk before anything else of this call is done.
    dirty: bool,
}

impl Host {
    /// Wakes a host with what was found on disk, and says what to do before anything else.
    ///
    /// An unreadable state counts as contained: the closed policy is applied (invariant 9). Nothing is
    /// written, so that a full disk keeps no agent from starting.
    pub fn wake(identity: Identity, trust: Trust, loaded: Loaded, now: &Now) -> (Self, Vec<Effect>) {
        let (state, unreadable) = match loaded {
            Loaded::Absent => (HostState::fresh(), None),
            Loaded::State(state) => (*state, None),
            Loaded::Unreadable(why) => {
                let policy = Policy::closed(identity.controllers.clone());
                (HostState { policy, ..HostState::fresh() }, Some(why))
            }
        };
        let mut host = Self {
            fingerprint: identity.host_key.fingerprint(),
            identity,
            trust,
            time_anchor: (state.time_floor_ms, now.clocks.boottime_ms),
            // What was in the outbox may have been sent before the restart.
            sent_through: state.seq,
            state,
            challenge: Nonce::from_bytes(now.entropy),
            challenge_since_ms: now.clocks.boottime_ms,
            connected: None,
            observed: Observed::default(),
            proofs: Proofs::none(),
            sessions_cut: 0,
            request: 0,
            apply_due_ms: None,
            apply_failed: false,
            applying_since_ms: None,
            prove_due_ms: None,
            rearmed_at_ms: 0,
            refusals: (now.clocks.boottime_ms, 0),
            parked: Vec::new(),
            report_due: true,
            told_alarms: Vec::new(),
            dirty: false,
        };
        let mut effects = Vec::new();
        if let Some(why) = unreadable {
            host.state.raise_alarm("state_unreadable", &why, now.wall());
            effects.push(note("state_unreadable", why));
        }
        if host.trust.version() < host.state.root_version {
            let detail = format!(
                "the trust root on disk is version {}, version {} was in force",
                host.trust.version(),
                host.state.root_version
            );
            host.state.raise_alarm("root_rolled_back", &detail, now.wall());
            effects.push(note("root_rolled_back", detail));
        }
        host.state.root_version = host.state.root_version.max(host.trust.version());
        let issued = host.trust.root().issued_at_ms.max(host.identity.built_at_ms);
        host.raise_time_floor(issued, now);
        for entry in &mut host.state.journal {
            entry.stage = Stage::Applying;
        }
        // A drill that ended while the agent was away is not closed again; the first input records it.
        if (host.has_rules() || !host.state.journal.is_empty()) && !host.rollback_is_overdue(now) {
            host.apply(now, &mut effects);
        } else {
            effects.push(Effect::ReadBack);
        }
        let effects = host.in_order(effects);
        (host, effects)
    }

    /// Takes one input and returns what to do about it.
    ///
    /// What must be on disk comes first, so that a write that fails leaves nothing half done: the shell
    /// then puts back the `Host` that it had before this call and gives the input again later.
    pub fn handle(&mut self, input: Input, now: &Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.end_overdue_rollback(now, &mut effects);
        self.rotate_challenge(now, &mut effects);
        match input {
            Input::Deliver(delivery) => self.deliver(*delivery, now, &mut effects),
            Input::Roots(roots) => self.roots(roots, now, &mut effects),
            Input::Applied(applied) => self.applied(*applied, now, &mut effects),
            Input::Proved(proved) => self.proved(*proved, now, &mut effects),
            Input::ReadBack(observed) => {
                self.read_back(observed, now, &mut effects);
            }
            Input::RulesChanged { by } => {
                if self.has_rules() {
                    self.state.raise_alarm("rules_changed", &by, now.wall());
                    effects.push(note("rules_changed", by));
                }
                effects.push(Effect::ReadBack);
            }
            Input::CardsChanged { detail } => {
                if self.has_rules() {
                    self.state.raise_alarm("cards_changed", &detail, now.wall());
                    effects.push(note("cards_changed", detail));
                    self.apply(now, &mut effects);
                }
            }
            Input::WayAround { detail } => {
                if self.has_rules() {
                    self.state.raise_alarm("way_around", &detail, now.wall());
                    effects.push(note("way_around", detail));
                }
            }
            Input::Connected(nonce) => {
                self.connected = Some(nonce);
                self.management_seen(now, &mut effects);
                self.send_from(0, &mut effects);
                if self.awaits_proof() {
                    self.prove(now, &mut effects);
                }
            }
            Input::Disconnected => self.connected = None,
            Input::Stored(digest) => self.stored(digest, now, &mut effects),
            Input::HeartbeatDue(observed) => {
                let holds = self.read_back(observed, now, &mut effects);
                effects.extend(self.connected.and_then(|nonce| self.heartbeat(nonce, holds, now)));
            }
            Input::Tick => {
                // Whatever raised an alarm, it is told; at the pace of ticks, whoever raises it how often.
                self.report_due |= self.told_alarms != self.state.alarms;
                self.tick(now, &mut effects);
            }
        }
        self.overdue_report(now, &mut effects);
        self.in_order(effects)
    }

    /// The wall clock, but never earlier than what is proven: the latest time in a document that two
    /// people signed, and the time since then on the clock that nobody can set.
    fn believed_time(&self, now: &Now) -> UnixMillis {
        let (floor, boottime) = self.time_anchor;
        now.wall().max(floor.plus(now.clocks.boottime_ms.saturating_sub(boottime)))
    }

    fn raise_time_floor(&mut self, to: UnixMillis, now: &Now) {
        self.state.time_floor_ms = self.state.time_floor_ms.max(to);
        let (floor, boottime) = self.time_anchor;
        if to > floor.plus(now.clocks.boottime_ms.saturating_sub(boottime)) {
            self.time_anchor = (to, now.clocks.boottime_ms);
        }
    }

    /// The state of the links: measured, never ordered.
    pub fn links(&self) -> Links {
        let releasing = self.state.journal.iter().any(|j| j.releasing);
        if self.apply_failed || !self.observed.drift.is_empty() || self.proofs.probes.failed() {
            return Links::Failed;
        }
        match (self.state.policy.contains(), releasing) {
            (false, true) => Links::Releasing,
            (false, false) => Links::Open,
            (true, _) if self.proofs.verified() => Links::Cut,
            (true, _) => Links::Cutting,
        }
    }

    /// The durable state.
    pub const fn state(&self) -> &HostState {
        &self.state
    }
    /// The challenge that the next relaxing order must repeat.
    pub const fn challenge(&self) -> Challenge {
        self.challenge
    }
    /// The trust root in force.
    pub const fn trust(&self) -> &Trust {
        &self.trust
    }
    /// The proofs gathered since the last change.
    pub const fn proofs(&self) -> &Proofs {
        &self.proofs
    }
    /// What was last read back.
    pub const fn observed(&self) -> &Observed {
        &self.observed
    }

    /// Asks for the state to be written before anything else of this call is done.
    const fn persist(&mut self) {
        self.dirty = true;
    }

    fn in_order(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let dirty = std::mem::take(&mut self.dirty);
        effect::in_order(effects, dirty.then(|| Effect::Persist(Box::new(self.state.clone()))))
    }
}

fn note(event: &'static str, detail: impl AsRef<str>) -> Effect {
    Effect::Note { event, detail: line(detail.as_ref()) }
}

/// One line of at most [`MAX_DETAIL`] bytes: what strangers sent must neither fill a document nor move
/// the cursor of whoever reads it.
fn line(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let clean = text.chars().map(|c| if steers(c) { ' ' } else { c });
    let mut length = 0;
    clean
        .take_while(|c| {
            length += c.len_utf8();
            length <= MAX_DETAIL
        })
        .collect()
}
