//! Carrying a containment through: apply, read back, prove, watch, roll back.

use super::{Applied, Apply, Effect, Host, Journal, Now, Observed, Prove, Proved, Rollback, Stage, note};
use crate::id::Nonce;
use crate::order::Stream;
use crate::policy::{OnLostManagement, Policy};
use crate::report::{Check, Outcome, Proofs};

/// Milliseconds until an application that failed is tried again.
const APPLY_RETRY_MS: u64 = 5_000;
/// Milliseconds until an application without an answer is asked for again.
const APPLY_LOST_MS: u64 = 60_000;
/// Milliseconds until proofs that did not hold are gathered again.
const PROVE_RETRY_MS: u64 = 15_000;
/// Milliseconds between two writes of a rollback deadline.
const REARM_EVERY_MS: u64 = 5_000;

impl Host {
    pub(super) fn has_rules(&self) -> bool {
        self.state.policy.contains() || !self.state.blocked.networks.is_empty()
    }

    /// Asks for the policy in force, without the exceptions that have expired.
    pub(super) fn apply(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        self.request += 1;
        self.proofs = Proofs::none();
        self.apply_due_ms = None;
        self.prove_due_ms = None;
        self.applying_since_ms = Some(now.clocks.boottime_ms);
        let mut policy = self.state.policy.clone();
        let time = self.believed_time(now);
        policy.exceptions.retain(|e| e.until_ms.is_none_or(|until| time < until));
        effects.push(Effect::Apply(Box::new(Apply {
            request: self.request,
            policy,
            blocked: self.state.blocked.clone(),
            end_sessions: true,
        })));
    }

    pub(super) fn applied(&mut self, applied: Applied, now: &Now, effects: &mut Vec<Effect>) {
        if applied.request != self.request {
            return;
        }
        self.applying_since_ms = None;
        self.sessions_cut = self.sessions_cut.saturating_add(applied.sessions_cut);
        if let Some(why) = &applied.fallback {
            self.state.raise_alarm("minimal_profile", why, now.wall());
            effects.push(note("minimal_profile", why));
        } else if applied.result.is_ok() {
            self.state.alarms.retain(|a| a.kind != "minimal_profile");
        }
        let failure = match applied.result {
            Ok(observed) => {
                self.observed = self.judged(observed);
                self.observed.drift.first().cloned()
            }
            Err(why) => {
                self.observed.drift = vec![why.clone()];
                Some(why)
            }
        };
        if let Some(detail) = failure {
            self.apply_did_not_hold(detail, now, effects);
            return;
        }
        self.apply_failed = false;
        let detail = "the rules read back equal the rules meant".to_owned();
        self.proofs.read_back = Check::Passed { detail, at_ms: now.wall() };
        self.start_rollback(now);
        let mut entries = self.state.journal.clone();
        for entry in entries.iter_mut().filter(|e| e.stage == Stage::Applying) {
            entry.stage = Stage::Applied;
            let id = Some(entry.order_id);
            self.receipt(entry.order, id, Outcome::Applied {}, entry.remarks.clone(), now);
        }
        self.state.journal = entries;
        self.persist();
        self.send_from(self.sent_through, effects);
        self.prove(now, effects);
    }

    fn apply_did_not_hold(&mut self, detail: String, now: &Now, effects: &mut Vec<Effect>) {
        effects.push(note("apply_failed", detail.clone()));
        self.proofs.read_back = Check::Failed { detail: detail.clone(), at_ms: now.wall() };
        self.apply_due_ms = Some(now.clocks.boottime_ms.saturating_add(APPLY_RETRY_MS));
        if !self.apply_failed {
            // Said once; the retries go on quietly until they succeed.
            for entry in self.state.journal.clone() {
                let outcome = Outcome::Failed { detail: detail.clone() };
                self.receipt(entry.order, Some(entry.order_id), outcome, entry.remarks, now);
            }
            self.apply_failed = true;
            self.report(now);
            self.persist();
            self.send_from(self.sent_through, effects);
        }
    }

    pub(super) fn prove(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        self.prove_due_ms = Some(now.clocks.boottime_ms.saturating_add(PROVE_RETRY_MS));
        let contained = self.state.policy.contains();
        effects.push(Effect::Prove(Prove { request: self.request, contained }));
    }

    pub(super) fn awaits_proof(&self) -> bool {
        let unproven = !self.proofs.verified() && (self.has_rules() || !self.state.journal.is_empty());
        unproven && self.apply_due_ms.is_none() && self.proofs.read_back.passed()
    }

    pub(super) fn proved(&mut self, proved: Proved, now: &Now, effects: &mut Vec<Effect>) {
        if proved.request != self.request {
            return;
        }
        let before = (kind(&self.proofs.probes), kind(&self.proofs.management));
        self.proofs.probes = proved.probes;
        self.proofs.management = proved.management;
        if self.proofs.management.passed() {
            self.management_seen(now, effects);
        }
        let verified = self.proofs.verified();
        if verified {
            self.prove_due_ms = None;
            for entry in std::mem::take(&mut self.state.journal) {
                self.receipt(entry.order, Some(entry.order_id), Outcome::Verified {}, entry.remarks, now);
            }
        }
        let changed = before != (kind(&self.proofs.probes), kind(&self.proofs.management));
        if verified || changed {
            self.report(now);
            self.persist();
            self.send_from(self.sent_through, effects);
        }
    }

    /// Rules that are wanted and cannot be compared do not hold, whatever the driver says (invariant 9).
    fn judged(&self, mut observed: Observed) -> Observed {
        let compared = observed.meant.is_some() && observed.meant == observed.found;
        if observed.drift.is_empty() && self.has_rules() && !compared {
            observed.drift.push("the rules could not be compared with those meant".to_owned());
        }
        observed
    }

    /// Takes in what was read back; returns whether the rules are the ones meant.
    pub(super) fn read_back(&mut self, observed: Observed, now: &Now, effects: &mut Vec<Effect>) -> bool {
        let observed = self.judged(observed);
        let holds = observed.drift.is_empty();
        let changed = self.observed.drift.is_empty() != holds;
        if self.applying_since_ms.is_some() {
            // Read before the rules that are on their way; they bring their own read-back.
            return holds;
        }
        self.observed = observed;
        if holds {
            if changed && self.apply_due_ms.is_none() {
                self.report(now);
                self.persist();
                self.send_from(self.sent_through, effects);
            }
            return true;
        }
        let detail = self.observed.drift.first().cloned().unwrap_or_default();
        if self.apply_due_ms.is_none() {
            self.state.raise_alarm("rules_drifted", &detail, now.wall());
            effects.push(note("rules_drifted", detail));
            // The report that the rules did not hold is written before they are repaired.
            self.report(now);
            self.persist();
            self.apply(now, effects);
            self.send_from(self.sent_through, effects);
        }
        false
    }

    pub(super) fn tick(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        let boottime = now.clocks.boottime_ms;
        let time = self.believed_time(now);
        let expired = |e: &crate::policy::Exception| e.until_ms.is_some_and(|until| until <= time);
        if self.state.policy.exceptions.iter().any(expired) {
            self.state.policy.exceptions.retain(|e| !expired(e));
            effects.push(note("exception_expired", "an exception reached its end date"));
            self.persist();
            self.apply(now, effects);
        } else if self.apply_due_ms.is_some_and(|due| due <= boottime)
            || self.applying_since_ms.is_some_and(|since| boottime.saturating_sub(since) >= APPLY_LOST_MS)
        {
            self.apply(now, effects);
        } else if self.awaits_proof() && self.prove_due_ms.is_none_or(|due| due <= boottime) {
            self.prove(now, effects);
        } else if let Some(rollback) = &self.state.rollback {
            // A drill lives on proofs of contact: gather one in each third of its time.
            let third = u64::from(rollback.seconds) * 1_000 / 3;
            if rollback.deadline_ms.saturating_sub(boottime) < 2 * third
                && self.prove_due_ms.is_none_or(|due| due <= boottime)
            {
                self.prove(now, effects);
            }
        }
    }

    /// A challenge lives for a day at most; before an order is judged by it, not only when a tick comes.
    pub(super) fn rotate_challenge(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        let boottime = now.clocks.boottime_ms;
        if boottime.saturating_sub(self.challenge_since_ms) > super::CHALLENGE_LIFE_MS {
            self.challenge = Nonce::from_bytes(now.entropy);
            self.challenge_since_ms = boottime;
            self.report(now);
            self.persist();
            self.send_from(self.sent_through, effects);
        }
    }

    fn start_rollback(&mut self, now: &Now) {
        self.state.rollback = match self.state.policy.on_lost_management {
            OnLostManagement::Hold => None,
            OnLostManagement::ReopenAfter(seconds) => Some(Rollback {
                boot_id: now.clocks.boot_id.clone(),
                deadline_ms: now.clocks.boottime_ms.saturating_add(u64::from(seconds) * 1_000),
                seconds,
            }),
        };
    }

    /// A controller answered: the rollback starts anew.
    pub(super) fn management_seen(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        let boottime = now.clocks.boottime_ms;
        let Some(rollback) = &mut self.state.rollback else { return };
        if boottime.saturating_sub(self.rearmed_at_ms) < REARM_EVERY_MS {
            return;
        }
        self.rearmed_at_ms = boottime;
        rollback.deadline_ms = boottime.saturating_add(u64::from(rollback.seconds) * 1_000);
        let seconds = rollback.seconds;
        self.persist();
        effects.push(Effect::RearmRollback { seconds });
    }

    pub(super) fn rollback_is_overdue(&self, now: &Now) -> bool {
        self.state.rollback.as_ref().is_some_and(|rollback| {
            rollback.boot_id == now.clocks.boot_id && rollback.deadline_ms <= now.clocks.boottime_ms
        })
    }

    /// The kernel's timer has lifted the containment: follow it, and say so.
    pub(super) fn end_overdue_rollback(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        if !self.rollback_is_overdue(now) {
            return;
        }
        self.state.rollback = None;
        self.state.policy = Policy::open();
        let detail = "no controller was reached in the time that the order gave";
        let (over, rest): (Vec<Journal>, Vec<Journal>) =
            std::mem::take(&mut self.state.journal).into_iter().partition(|j| j.stream == Stream::Net);
        self.state.journal = rest;
        for entry in over {
            let outcome = Outcome::Failed { detail: detail.to_owned() };
            self.receipt(entry.order, Some(entry.order_id), outcome, entry.remarks, now);
        }
        self.state.raise_alarm("reopened_by_timer", detail, now.wall());
        effects.push(note("reopened_by_timer", detail));
        self.report(now);
        self.persist();
        self.apply(now, effects);
        self.send_from(self.sent_through, effects);
    }
}

const fn kind(check: &Check) -> u8 {
    match check {
        Check::NotDone {} => 0,
        Check::Passed { .. } => 1,
        Check::Failed { .. } => 2,
        Check::NotPossible { .. } => 3,
    }
}
