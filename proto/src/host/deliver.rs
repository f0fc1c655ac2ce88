//! Orders as they arrive: judged, parked, refused, or written down and carried out (protocol steps 9 to 16).

use super::{Effect, Host, Journal, Now, Refusal, Stage, StreamState, admit, note};
use crate::frame::Delivery;
use crate::id::Nonce;
use crate::order::{Action, Head, Stream};
use crate::policy::Policy;
use crate::report::Outcome;
use crate::trust::Class;
use crate::verify::VerifyError;

/// Refusals that are written down in a minute; the others are counted.
const REFUSALS_PER_MINUTE: u32 = 30;
/// Orders kept while a newer trust root is on its way.
const MAX_PARKED: usize = 8;

impl Host {
    pub(super) fn deliver(&mut self, delivery: Delivery, now: &Now, effects: &mut Vec<Effect>) {
        let digest = delivery.order.digest();
        if let Some(known) = self.state.remembered.iter().find(|r| r.order == digest) {
            // C1: the same answer again, and nothing done twice. Without a connection it waits in the
            // outbox, or a controller has it already.
            effects.extend(self.connected.map(|_| Effect::Send(known.receipt.clone())));
            return;
        }
        let (refusal, order_id) = match self.admission(now).admit(&delivery) {
            Ok(admitted) => return self.accept(admitted, now, effects),
            Err(refused) => *refused,
        };
        if let Refusal::Verify(VerifyError::NewerRoot { .. }) = refusal {
            if self.parked.contains(&delivery) {
                return;
            }
            if self.parked.len() < MAX_PARKED {
                effects.push(note("order_parked", format!("order {} awaits a newer root", digest.short())));
                self.parked.push(delivery);
                return;
            }
        }
        if !self.may_write_refusal(now, effects) {
            return;
        }
        let detail = refusal.to_string();
        effects.push(note("order_refused", format!("{}: {detail}", refusal.code())));
        let outcome = Outcome::Refused { code: refusal.code().to_owned(), detail };
        self.receipt(digest, order_id, outcome, Vec::new(), now);
        self.persist();
        self.send_from(self.sent_through, effects);
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
        let head = Head { stream: order.stream, gen_epoch: order.gen_epoch, generation: order.generation };
        self.state.set_stream(StreamState { head, order: digest, order_id: order.order_id });
        if admitted.order.signers().len() >= Class::Release.minimum() {
            // One stolen key must not set the clock so far ahead that every release has expired.
            self.raise_time_floor(order.issued_at_ms, now);
        }
        if order.action.class() == Class::Release {
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
                self.persist();
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
        effects.push(note("order_accepted", detail));
        self.persist();
        self.apply(now, effects);
        self.send_from(self.sent_through, effects);
    }

    fn may_write_refusal(&mut self, now: &Now, effects: &mut Vec<Effect>) -> bool {
        let minute = now.clocks.boottime_ms / 60_000;
        if self.refusals.0 != minute {
            self.refusals = (minute, 0);
        }
        self.refusals.1 = self.refusals.1.saturating_add(1);
        let full = self.state.outbox_full();
        if self.refusals.1 <= REFUSALS_PER_MINUTE && !full {
            return true;
        }
        if full || self.refusals.1 == REFUSALS_PER_MINUTE + 1 {
            let detail =
                format!("more than {REFUSALS_PER_MINUTE} refused orders in a minute, or a full outbox");
            self.state.raise_alarm("refusals_suppressed", &detail, now.wall());
        }
        if self.refusals.1 == REFUSALS_PER_MINUTE + 1 {
            effects.push(note("refusals_suppressed", "the log stays silent until the minute is over"));
        }
        false
    }
}
