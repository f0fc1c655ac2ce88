//! The host's chain of signed documents, and its outbox.

use super::state::REMEMBERED_ORDERS;
use super::{Document, Effect, Host, Now, Remembered};
use crate::envelope::PayloadType;
use crate::id::{Digest, Nonce, OrderId};
use crate::report::{HeartbeatV1, Outcome, ReceiptV1, ReportV1};
use crate::strict;

impl Host {
    /// Writes a receipt into the chain. It leaves the host only after the next `Persist`.
    pub(super) fn receipt(
        &mut self,
        order: Digest,
        order_id: Option<OrderId>,
        outcome: Outcome,
        remarks: Vec<String>,
        now: &Now,
    ) {
        let refused = matches!(outcome, Outcome::Refused { .. });
        let receipt = ReceiptV1 {
            deployment_id: self.trust.deployment_id(),
            host_id: self.identity.host_id.clone(),
            seq: self.state.seq + 1,
            prev: self.state.chain_head,
            clocks: now.clocks.clone(),
            order,
            order_id,
            outcome,
            remarks,
            root_version: self.trust.version(),
            challenge: Some(self.challenge),
        };
        let document = self.append(PayloadType::Receipt, &receipt);
        if !refused {
            self.state.remembered.retain(|r| r.order != order);
            self.state.remembered.push(Remembered { order, receipt: document });
            let surplus = self.state.remembered.len().saturating_sub(REMEMBERED_ORDERS);
            self.state.remembered.drain(..surplus);
        }
    }

    /// Writes a report into the chain. One that no controller was ever handed is replaced: only the
    /// newest state matters, and an unreachable controller must not fill the disk.
    pub(super) fn report(&mut self, now: &Now) {
        let unsent = self.state.outbox.last().filter(|last| {
            last.payload_type == PayloadType::Report
                && last.seq == Some(self.state.seq)
                && self.state.seq > self.sent_through
        });
        if let Some(last) = unsent
            && let Ok(old) = strict::from_slice::<ReportV1>(&last.payload, last.payload_type.max_payload())
        {
            self.state.outbox.pop();
            self.state.seq -= 1;
            self.state.chain_head = old.prev;
        }
        let report = self.current_report(now);
        self.append(PayloadType::Report, &report);
    }

    fn current_report(&self, now: &Now) -> ReportV1 {
        ReportV1 {
            deployment_id: self.trust.deployment_id(),
            host_id: self.identity.host_id.clone(),
            seq: self.state.seq + 1,
            prev: self.state.chain_head,
            clocks: now.clocks.clone(),
            agent_version: self.identity.agent_version.clone(),
            level: self.identity.level,
            level_detail: self.identity.level_detail.clone(),
            root_version: self.trust.version(),
            root_digest: self.trust.digest(),
            heads: self.state.streams.iter().map(|s| s.head).collect(),
            order_id: self.state.net_order,
            links: self.links(),
            policy: self.state.policy.clone(),
            blocked: self.state.blocked.clone(),
            rules_meant: self.observed.meant,
            rules_observed: self.observed.found,
            drift: self.observed.drift.clone(),
            proofs: self.proofs.clone(),
            sessions_cut: self.sessions_cut,
            alarms: self.state.alarms.clone(),
            challenge: Some(self.challenge),
        }
    }

    fn append<T: serde::Serialize>(&mut self, payload_type: PayloadType, value: &T) -> Document {
        // These types hold no maps and nothing that can fail to serialise, see `strict::to_vec`.
        let payload = strict::to_vec(value).unwrap_or_default();
        self.state.seq += 1;
        let document = Document { seq: Some(self.state.seq), payload_type, payload };
        self.state.chain_head = Some(document.digest());
        self.state.outbox.push(document.clone());
        document
    }

    pub(super) fn heartbeat(&self, nonce: Nonce, rules_hold: bool, now: &Now) -> Option<Effect> {
        let heartbeat = HeartbeatV1 {
            deployment_id: self.trust.deployment_id(),
            host_id: self.identity.host_id.clone(),
            seq: self.state.seq,
            head: self.state.chain_head,
            clocks: now.clocks.clone(),
            links: self.links(),
            rules_hold,
            echo: Some(nonce),
        };
        let payload = strict::to_vec(&heartbeat).ok()?;
        Some(Effect::Send(Document { seq: None, payload_type: PayloadType::Heartbeat, payload }))
    }

    /// Hands the documents after `seq` to the link, if there is one.
    pub(super) fn send_from(&mut self, seq: u64, effects: &mut Vec<Effect>) {
        if self.connected.is_none() {
            return;
        }
        let waiting = self.state.outbox.iter().filter(|d| d.seq.is_some_and(|s| s > seq));
        effects.extend(waiting.cloned().map(Effect::Send));
        self.sent_through = self.state.seq;
    }
}
