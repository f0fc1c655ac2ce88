//! The host's chain of signed documents, and its outbox.

use super::state::REMEMBERED_ORDERS;
use super::{Document, Effect, Host, Now, Remembered, line};
use crate::envelope::PayloadType;
use crate::id::{Digest, Nonce, OrderId};
use crate::report::{Check, HeartbeatV1, Outcome, Proofs, ReceiptV1, ReportV1};
use crate::strict;

/// Most lines of one list in a report.
const MAX_LINES: usize = 16;

fn lines(texts: &[String]) -> Vec<String> {
    texts.iter().take(MAX_LINES).map(|text| line(text)).collect()
}

fn told(check: &Check) -> Check {
    match check {
        Check::NotDone {} => Check::NotDone {},
        Check::Passed { detail, at_ms } => Check::Passed { detail: line(detail), at_ms: *at_ms },
        Check::Failed { detail, at_ms } => Check::Failed { detail: line(detail), at_ms: *at_ms },
        Check::NotPossible { detail } => Check::NotPossible { detail: line(detail) },
    }
}

fn bounded(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Failed { detail } => Outcome::Failed { detail: line(&detail) },
        Outcome::Refused { code, detail } => Outcome::Refused { code, detail: line(&detail) },
        same @ (Outcome::Acknowledged {} | Outcome::Applied {} | Outcome::Verified {}) => same,
    }
}

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
        if self.state.outbox_jammed() {
            let detail = "no controller has stored anything for long; receipts are not written";
            self.state.raise_alarm("receipts_suppressed", detail, now.wall());
            self.report_due = true;
            return;
        }
        let outcome = bounded(outcome);
        let remarks = remarks.iter().map(|r| line(r)).collect();
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
    /// newest state matters, and an unreachable controller must not fill the disk. With a full outbox the
    /// report waits until a controller has stored something.
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
        self.report_due = self.state.outbox_full();
        if self.report_due {
            return;
        }
        let report = self.current_report(now);
        self.told_alarms.clone_from(&report.alarms);
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
            level_detail: lines(&self.identity.level_detail),
            root_version: self.trust.version(),
            root_digest: self.trust.digest(),
            heads: self.state.streams.iter().map(|s| s.head).collect(),
            order_id: self.state.net_order,
            links: self.links(),
            policy: self.state.policy.clone(),
            blocked: self.state.blocked.clone(),
            rules_meant: self.observed.meant,
            rules_observed: self.observed.found,
            drift: lines(&self.observed.drift),
            proofs: Proofs {
                read_back: told(&self.proofs.read_back),
                probes: told(&self.proofs.probes),
                outside: told(&self.proofs.outside),
                management: told(&self.proofs.management),
            },
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

    /// A controller has the document on its disk.
    pub(super) fn stored(&mut self, digest: Digest, now: &Now, effects: &mut Vec<Effect>) {
        let before = self.state.outbox.len();
        self.state.outbox.retain(|d| d.digest() != digest);
        if self.state.outbox.len() == before {
            return;
        }
        self.management_seen(now, effects);
        self.persist();
    }

    /// Writes the report that waking asked for, or that had no room before.
    pub(super) fn overdue_report(&mut self, now: &Now, effects: &mut Vec<Effect>) {
        if self.report_due && !self.state.outbox_full() {
            self.report(now);
            self.persist();
            self.send_from(self.sent_through, effects);
        }
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
