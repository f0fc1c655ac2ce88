//! The host core: a state machine that admits orders and says what to do.
//!
//! `handle(input, now)` returns effects; it performs none. The agent is a shell that carries them out in
//! order and feeds back what it observed. Architecture invariant: there is no effect that means "open";
//! opening is `Apply` of the open policy, after an admitted order.

mod admit;
mod chain;
mod contain;
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
use crate::order::{Action, Stream};
use crate::policy::Policy;
use crate::report::{Level, Links, Outcome, Proofs};
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

/// Refusals that are written down in a minute; the others are counted.
const REFUSALS_PER_MINUTE: u32 = 30;
/// After this much boot time the challenge changes, so that a withheld release dies (3.6.3).
const CHALLENGE_LIFE_MS: u64 = 24 * 3_600_000;
/// Orders kept while a newer trust root is on its way.
const MAX_PARKED: usize = 8;

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
    prove_due_ms: Option<u64>,
    rearmed_at_ms: u64,
    refusals: (u64, u32),
    parked: Vec<Delivery>,
}

impl Host {
    /// Wakes a host with what was found on disk, and says what to do before anything else.
    ///
    /// An unreadable state counts as contained: the closed policy is applied (invariant 9).
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
            prove_due_ms: None,
            rearmed_at_ms: 0,
            refusals: (now.clocks.boottime_ms, 0),
            parked: Vec::new(),
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
        for entry in &mut host.state.journal {
            entry.stage = Stage::Applying;
        }
        host.end_overdue_rollback(now, &mut effects);
        if host.has_rules() || !host.state.journal.is_empty() {
            host.apply(now, &mut effects);
        } else {
            effects.push(Effect::ReadBack);
            host.report(now);
            effects.insert(0, Effect::Persist(Box::new(host.state.clone())));
        }
        (host, effects)
    }

    /// Takes one input and returns what to do about it.
    pub fn handle(&mut self, input: Input, now: &Now) -> Vec<Effect> {
        let mut effects = Vec::new();
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
            Input::Connected(nonce) => {
                self.connected = Some(nonce);
                self.management_seen(now, &mut effects);
                self.send_from(0, &mut effects);
                if self.awaits_proof() {
                    self.prove(now, &mut effects);
                }
            }
            Input::Disconnected => self.connected = None,
            Input::Stored(digest) => {
                let before = self.state.outbox.len();
                self.state.outbox.retain(|d| d.digest() != digest);
                if self.state.outbox.len() != before {
                    self.management_seen(now, &mut effects);
                    effects.push(self.persist());
                }
            }
            Input::HeartbeatDue(observed) => {
                let holds = self.read_back(observed, now, &mut effects);
                effects.extend(self.connected.and_then(|nonce| self.heartbeat(nonce, holds, now)));
            }
            Input::Tick => self.tick(now, &mut effects),
        }
        effects
    }

    fn deliver(&mut self, delivery: Delivery, now: &Now, effects: &mut Vec<Effect>) {
        let digest = delivery.order.digest();
        if let Some(known) = self.state.remembered.iter().find(|r| r.order == digest) {
            // C1: the same answer again, and nothing done twice.
            effects.push(Effect::Send(known.receipt.clone()));
            return;
        }
        let admitted = self.admission(now).admit(&delivery);
        match admitted {
            Ok(admitted) => self.accept(admitted, now, effects),
            Err((Refusal::Verify(crate::verify::VerifyError::NewerRoot { .. }), _))
                if self.parked.len() < MAX_PARKED =>
            {
                effects.push(note("order_parked", format!("order {} awaits a newer root", digest.short())));
                self.parked.push(delivery);
            }
            Err((refusal, order_id)) => {
                let detail = refusal.to_string();
                effects.push(note("order_refused", format!("{}: {detail}", refusal.code())));
                if !self.may_write_refusal(now) {
                    return;
                }
                let outcome = Outcome::Refused { code: refusal.code().to_owned(), detail };
                self.receipt(digest, order_id, outcome, Vec::new(), now);
                effects.push(self.persist());
                self.send_from(self.sent_through, effects);
            }
        }
    }

    fn admission<'a>(&'a self, now: &'a Now) -> admit::Admission<'a> {
        admit::Admission {
            host_id: &self.identity.host_id,
            fingerprint: &self.fingerprint,
            controllers: &self.identity.controllers,
            trust: &self.trust,
            state: &self.state,
            challenge: self.challenge,
            boot_id: &now.clocks.boot_id,
            now: self.believed_time(now),
        }
    }

    /// Step 14 to 16: number, journal and policy in one durable write, then act.
    fn accept(&mut self, admitted: admit::Admitted, now: &Now, effects: &mut Vec<Effect>) {
        let (order, digest) = (admitted.order.value(), admitted.order.digest());
        let head = crate::order::Head {
            stream: order.stream,
            gen_epoch: order.gen_epoch,
            generation: order.generation,
        };
        self.state.set_stream(StreamState { head, order: digest, order_id: order.order_id });
        self.state.time_floor_ms = self.state.time_floor_ms.max(order.issued_at_ms);
        if order.action.class() == crate::trust::Class::Release {
            self.challenge = Nonce::from_bytes(now.entropy); // spent (C4)
            self.challenge_since_ms = now.clocks.boottime_ms;
        }
        let mut releasing = false;
        match &order.action {
            Action::Contain { policy, .. } | Action::Adjust { policy } => {
                self.state.policy = policy.clone();
                self.state.net_order = Some(order.order_id);
            }
            Action::Release { .. } => {
                releasing = true;
                self.state.policy = Policy::open();
                self.state.net_order = Some(order.order_id);
            }
            Action::Block { blocked } | Action::Unblock { blocked } => self.state.blocked = blocked.clone(),
            Action::Report {} => {
                let outcome = Outcome::Verified {};
                self.receipt(digest, Some(order.order_id), outcome, admitted.remarks, now);
                self.report(now);
                effects.push(self.persist());
                self.send_from(self.sent_through, effects);
                return;
            }
        }
        if order.stream == Stream::Net {
            self.state.rollback = None;
        }
        self.state.journal.retain(|j| j.stream != order.stream);
        self.state.journal.push(Journal {
            stream: order.stream,
            order: digest,
            order_id: order.order_id,
            stage: Stage::Applying,
            releasing,
            remarks: admitted.remarks.clone(),
        });
        self.apply_failed = false;
        self.receipt(digest, Some(order.order_id), Outcome::Acknowledged {}, admitted.remarks, now);
        let detail = format!("order {} ({}) accepted", order.order_id.short(), digest.short());
        effects.push(self.persist());
        effects.push(note("order_accepted", detail));
        let send_at = effects.len();
        self.apply(now, effects);
        // The acknowledgement leaves once the cut stands: signing it first would delay the cut.
        let mut sends = Vec::new();
        self.send_from(self.sent_through, &mut sends);
        let after_apply = effects.len().max(send_at);
        effects.splice(after_apply..after_apply, sends);
    }

    fn may_write_refusal(&mut self, now: &Now) -> bool {
        let minute = now.clocks.boottime_ms / 60_000;
        if self.refusals.0 != minute {
            self.refusals = (minute, 0);
        }
        self.refusals.1 = self.refusals.1.saturating_add(1);
        if self.refusals.1 > REFUSALS_PER_MINUTE || self.state.outbox.len() >= state::MAX_OUTBOX {
            let detail = format!("more than {REFUSALS_PER_MINUTE} refused orders in a minute, or a full outbox");
            self.state.raise_alarm("refusals_suppressed", &detail, now.wall());
            return false;
        }
        true
    }

    fn believed_time(&self, now: &Now) -> UnixMillis {
        let floor = self.state.time_floor_ms.max(self.identity.built_at_ms);
        now.wall().max(floor).max(self.trust.root().issued_at_ms)
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

    fn persist(&self) -> Effect {
        Effect::Persist(Box::new(self.state.clone()))
    }
}

fn note(event: &'static str, detail: impl Into<String>) -> Effect {
    Effect::Note { event, detail: detail.into() }
}
