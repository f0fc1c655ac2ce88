//! Verifying everything that the controller stored, from the pinned root upwards and without its help.
//!
//! Each document is judged by the trust root and the inventory that stood before it, as the agents did.
//! Deliberately absent: anything the controller says about a document. Only its place in the sequence and
//! its time of arrival are taken from there.

use std::collections::BTreeMap;

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::fleet::Fleet;
use digue_proto::fleet::view::{FleetView, HostView, Verdict};
use digue_proto::id::{Digest, HostId, UnixMillis};
use digue_proto::key::PublicKey;
use digue_proto::report::{Links, Outcome, ReceiptV1, ReportV1};
use digue_proto::trust_chain::Trust;
use digue_proto::verify::{Verified, VerifyError, verify_host};
use serde::Serialize;

use crate::client::api::StoredEnvelope;

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// Place in the store, if it concerns one document.
    pub(crate) seq: Option<u64>,
    /// The host, if it concerns one.
    pub(crate) host: Option<HostId>,
    /// What does not hold; not translated, like all machine output.
    pub(crate) what: String,
}

/// One document of a host's chain.
#[derive(Debug, Clone, Copy)]
struct Link {
    digest: Digest,
    prev: Option<Digest>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Found {
    /// Documents read.
    pub(crate) documents: u64,
    /// Documents by type.
    pub(crate) by_type: BTreeMap<String, u64>,
    /// Chains of hosts.
    pub(crate) chains: usize,
    /// Orders and statements that still await signatures.
    pub(crate) awaiting: usize,
    /// What does not hold.
    pub(crate) failures: Vec<Failure>,
}

/// Folds the store, document after document.
pub(crate) struct Auditor {
    pinned: Digest,
    held: Vec<Envelope>,
    roots: usize,
    fleet: Fleet,
    chains: BTreeMap<(HostId, PublicKey), BTreeMap<u64, Link>>,
    orders: BTreeMap<Digest, bool>,
    statements: BTreeMap<Digest, bool>,
    answers: Vec<(u64, HostId, Digest)>,
    last_seq: u64,
    history: Digest,
    seen: Option<Checkpoint>,
    found: Found,
}

/// What the store held up to one entry, as remembered by a desk (E1): a store that was put back to an
/// earlier state, or rewritten before this entry, does not lead to the same digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The last entry.
    pub(crate) seq: u64,
    /// Digest over every entry up to it, in order.
    pub(crate) history: Digest,
}

impl Auditor {
    /// Starts from the pinned digest and the roots held here.
    ///
    /// `seen` is where the last audit at this desk that found nothing wrong ended.
    pub(crate) fn new(pinned: Digest, held: Vec<Envelope>, seen: Option<Checkpoint>) -> Self {
        Self {
            history: Digest::of(&[]),
            seen,
            pinned,
            held,
            roots: 0,
            fleet: Fleet::default(),
            chains: BTreeMap::new(),
            orders: BTreeMap::new(),
            statements: BTreeMap::new(),
            answers: Vec::new(),
            last_seq: 0,
            found: Found {
                documents: 0,
                by_type: BTreeMap::new(),
                chains: 0,
                awaiting: 0,
                failures: Vec::new(),
            },
        }
    }

    fn fail(&mut self, seq: Option<u64>, host: Option<&HostId>, what: impl Into<String>) {
        self.found.failures.push(Failure { seq, host: host.cloned(), what: what.into() });
    }

    /// Takes the next document of the store.
    pub(crate) fn take(&mut self, stored: &StoredEnvelope) {
        let seq = stored.seq;
        if seq != self.last_seq + 1 {
            let what = format!(
                "entries {} to {} of the store are missing",
                self.last_seq + 1,
                seq.saturating_sub(1)
            );
            self.fail(Some(seq), None, what);
        }
        self.last_seq = seq;
        self.found.documents += 1;
        self.history = history(&self.history, stored);
        if self.seen.is_some_and(|seen| seen.seq == seq && seen.history != self.history) {
            let what =
                "it or an entry before it is not what was stored when this desk last verified the store";
            self.fail(Some(seq), None, what);
        }
        let kind = stored.envelope.payload_type;
        *self.found.by_type.entry(kind.to_string()).or_default() += 1;
        let judged = match kind {
            PayloadType::Root => self.root(&stored.envelope),
            PayloadType::Inventory => self.inventory(&stored.envelope),
            PayloadType::Query | PayloadType::Protect | PayloadType::Release => self.order(&stored.envelope),
            PayloadType::Clean | PayloadType::Suspect => self.statement(stored),
            PayloadType::Receipt | PayloadType::Report => self.host_document(stored),
            PayloadType::Heartbeat | PayloadType::Enrol => Err("a document that is never stored".to_owned()),
        };
        if let Err(what) = judged {
            self.fail(Some(seq), stored.host_id.as_ref(), format!("{kind}: {what}"));
        }
    }

    fn trust(&self) -> Result<&Trust, String> {
        self.fleet.trust().ok_or_else(|| "it stands before any trust root".to_owned())
    }

    fn root(&mut self, envelope: &Envelope) -> Result<(), String> {
        let next = match self.fleet.trust() {
            None => Trust::initial(envelope, &self.pinned),
            Some(trust) => trust.next(envelope),
        };
        let next = next.map_err(|e| e.to_string())?;
        let held = self.held.get(self.roots).map(Envelope::digest);
        self.roots += 1;
        self.fleet.set_trust(next);
        if held.is_some_and(|held| held != envelope.digest()) {
            return Err("it is not the root of this version that is held here".to_owned());
        }
        Ok(())
    }

    fn inventory(&mut self, envelope: &Envelope) -> Result<(), String> {
        let verified = self.trust()?.verify_inventory(envelope).map_err(|e| e.to_string())?;
        let before = self.fleet.inventory().map_or(0, |i| i.value().version);
        let version = verified.value().version;
        if version <= before {
            return Err(format!("version {version} does not follow {before}"));
        }
        self.fleet.set_inventory(verified);
        Ok(())
    }

    fn order(&mut self, envelope: &Envelope) -> Result<(), String> {
        let complete = match self.trust()?.verify_order(envelope) {
            Ok(_) => true,
            // Stored as it came; the signatures that complete it are stored as they come.
            Err(VerifyError::Threshold { .. }) => false,
            Err(error) => return Err(error.to_string()),
        };
        *self.orders.entry(envelope.digest()).or_default() |= complete;
        Ok(())
    }

    fn statement(&mut self, stored: &StoredEnvelope) -> Result<(), String> {
        let envelope = &stored.envelope;
        let complete = match self.trust()?.verify_statement(envelope) {
            Ok(_) => true,
            Err(VerifyError::Threshold { .. } | VerifyError::NoForensic) => false,
            Err(error) => return Err(error.to_string()),
        };
        *self.statements.entry(envelope.digest()).or_default() |= complete;
        let offer = self.fleet.offer_statement(envelope).map_err(|e| e.to_string())?;
        self.fleet.commit_statement(offer, stored.received_at_ms);
        Ok(())
    }

    fn host_document(&mut self, stored: &StoredEnvelope) -> Result<(), String> {
        let host = stored.host_id.clone().ok_or_else(|| "stored without a host".to_owned())?;
        let deployment = self.trust()?.deployment_id();
        let listed = self.fleet.inventory().and_then(|i| i.value().host(&host).cloned());
        let key =
            listed.and_then(|h| h.host_key).ok_or_else(|| "the inventory names no key for it".to_owned())?;
        let at = stored.received_at_ms;
        if stored.envelope.payload_type == PayloadType::Receipt {
            let receipt: Verified<ReceiptV1> =
                verify_host(&stored.envelope, &key, deployment).map_err(|e| e.to_string())?;
            let value = receipt.value();
            self.link(stored.seq, &host, &key, &value.host_id, value.seq, receipt.digest(), value.prev)?;
            if matches!(value.outcome, Outcome::Acknowledged {} | Outcome::Applied {} | Outcome::Verified {})
            {
                self.answers.push((stored.seq, host, value.order));
            }
            // What a late document does not change is no failure.
            let _late = self.fleet.apply_receipt(&receipt, &key, at);
        } else {
            let report: Verified<ReportV1> =
                verify_host(&stored.envelope, &key, deployment).map_err(|e| e.to_string())?;
            let value = report.value();
            self.link(stored.seq, &host, &key, &value.host_id, value.seq, report.digest(), value.prev)?;
            let _late = self.fleet.apply_report(&report, &key, at);
        }
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one link")]
    fn link(
        &mut self,
        at: u64,
        host: &HostId,
        key: &PublicKey,
        named: &HostId,
        seq: u64,
        digest: Digest,
        prev: Option<Digest>,
    ) -> Result<(), String> {
        if named != host {
            return Err(format!("it speaks for {named}"));
        }
        let chain = self.chains.entry((host.clone(), key.clone())).or_default();
        match chain.insert(seq, Link { digest, prev }) {
            Some(other) if other.digest != digest => Err(format!(
                "entry {at}: two documents of this host claim number {seq}: a cloned key or a restored machine"
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Where the store ends, to be remembered if everything holds.
    pub(crate) const fn checkpoint(&self) -> Checkpoint {
        Checkpoint { seq: self.last_seq, history: self.history }
    }

    /// Ends the fold: chains, answers and what still waits.
    pub(crate) fn finish(mut self) -> (Found, Fleet) {
        if let Some(seen) = self.seen.filter(|seen| seen.seq > self.last_seq) {
            let (last, seen) = (self.last_seq, seen.seq);
            self.fail(
                None,
                None,
                format!("the store went back: it ends at entry {last}, this desk verified {seen}"),
            );
        }
        let chains = std::mem::take(&mut self.chains);
        self.found.chains = chains.len();
        for ((host, _), chain) in &chains {
            for what in chain_failures(chain) {
                self.fail(None, Some(host), what);
            }
        }
        for (seq, host, order) in std::mem::take(&mut self.answers) {
            if self.orders.get(&order) != Some(&true) {
                let what =
                    format!("it obeyed order {}, which is not stored with enough signatures", order.short());
                self.fail(Some(seq), Some(&host), what);
            }
        }
        let waiting = |list: &BTreeMap<Digest, bool>| list.values().filter(|complete| !**complete).count();
        self.found.awaiting = waiting(&self.orders) + waiting(&self.statements);
        if self.roots < self.held.len() {
            let what = format!("{} trust roots held here are not stored", self.held.len() - self.roots);
            self.fail(None, None, what);
        }
        (self.found, self.fleet)
    }
}

/// The digest over everything up to `stored`. Signatures and the time of arrival are part of it.
fn history(before: &Digest, stored: &StoredEnvelope) -> Digest {
    let StoredEnvelope { seq, received_at_ms, envelope, host_id } = stored;
    let kind = envelope.payload_type.to_string();
    let (seq, at) = (seq.to_be_bytes(), received_at_ms.0.to_be_bytes());
    let host = host_id.as_ref().map_or("", HostId::as_str);
    let signatures = Digest::of_parts(&envelope.signatures.iter().map(String::as_bytes).collect::<Vec<_>>());
    let parts: [&[u8]; 7] = [
        before.as_bytes(),
        &seq,
        &at,
        kind.as_bytes(),
        host.as_bytes(),
        &envelope.payload,
        signatures.as_bytes(),
    ];
    Digest::of_parts(&parts)
}

/// Gaps and broken links of one chain.
fn chain_failures(chain: &BTreeMap<u64, Link>) -> Vec<String> {
    let mut failures = Vec::new();
    let mut before: Option<(u64, Link)> = None;
    for (seq, link) in chain {
        let expected = before.map_or(1, |(last, _)| last + 1);
        if *seq > expected {
            failures.push(format!("its documents {expected} to {} are missing", seq - 1));
        }
        match before {
            Some((last, previous)) if last + 1 == *seq && link.prev != Some(previous.digest) => {
                failures.push(format!("its document {seq} does not follow document {last}"));
            }
            None if *seq == 1 && link.prev.is_some() => {
                failures.push("its document 1 names one before it".to_owned());
            }
            Some(_) | None => {}
        }
        before = Some((*seq, *link));
    }
    failures
}

/// What the controller shows and the stored documents do not bear out. Only rows that were the same
/// before and after the documents were read are compared.
pub(crate) fn claims(before: &FleetView, after: &FleetView, fleet: &Fleet, now: UnixMillis) -> Vec<Failure> {
    let earlier: BTreeMap<&HostId, &HostView> = before.hosts.iter().map(|row| (&row.name, row)).collect();
    let steady = |row: &&HostView| earlier.get(&row.name).is_some_and(|other| same(row, other));
    let mut failures = Vec::new();
    for row in after.hosts.iter().filter(steady) {
        let mut claim = |what: &str| {
            failures.push(Failure { seq: None, host: Some(row.name.clone()), what: what.to_owned() });
        };
        match fleet.host_view(&row.name, now) {
            None => claim("the controller shows it; no stored inventory names it"),
            Some(own) => {
                if own.heads != row.heads || own.order_id != row.order_id {
                    claim("the controller shows another order in force than its last stored report");
                }
                if row.clean_statement.is_some() && row.clean_statement != own.clean_statement {
                    claim("the controller shows a clean statement that the stored documents do not bear out");
                }
                if row.verdict == Verdict::Clean && own.clean_statement.is_none() {
                    claim("the controller shows it clean; no stored statement says so");
                }
                let warned = matches!(own.verdict, Verdict::Suspect | Verdict::Compromised);
                if warned && row.verdict != own.verdict {
                    claim("the controller hides a stored warning about it");
                }
                // A heartbeat, which is not stored, may only make the links look worse.
                if row.links == Some(Links::Cut) && own.links != Some(Links::Cut) {
                    claim("the controller shows it cut and verified; its last stored report does not");
                }
            }
        }
    }
    failures
}

fn same(one: &HostView, other: &HostView) -> bool {
    let shown =
        |row: &HostView| (row.heads.clone(), row.order_id, row.clean_statement, row.verdict, row.links);
    shown(one) == shown(other)
}

#[cfg(test)]
mod tests;
