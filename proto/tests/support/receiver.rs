//! An honest controller's ear: it takes signed documents and checks that the chain has no gap and no fork.

use std::collections::BTreeMap;

use digue_proto::envelope::PayloadType;
use digue_proto::host::Document;
use digue_proto::id::Digest;
use digue_proto::report::{HeartbeatV1, Outcome, ReceiptV1, ReportV1};
use digue_proto::sign;
use digue_proto::verify::verify_host;

use super::people::public;
use super::world::World;

/// What one controller heard from one host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Receiver {
    /// Digest of each document by its number.
    pub(crate) chain: BTreeMap<u64, Digest>,
    pub(crate) receipts: Vec<ReceiptV1>,
    pub(crate) reports: Vec<ReportV1>,
    pub(crate) heartbeats: Vec<HeartbeatV1>,
    /// Answers that were heard before.
    pub(crate) repeats: usize,
}

impl Receiver {
    /// Signs the document with the host's key and verifies it as a controller does.
    ///
    /// # Panics
    /// If the chain forks or has a gap.
    pub(crate) fn hear(&mut self, world: &World, document: &Document) {
        let kind = document.payload_type;
        if document.seq.is_some_and(|seq| self.chain.get(&seq) == Some(&document.digest())) {
            self.repeats += 1;
            return;
        }
        let envelope = sign::seal(&world.host, kind, document.payload.clone()).expect("a signature");
        let key = public(&world.host);
        match kind {
            PayloadType::Receipt => {
                let receipt =
                    verify_host::<ReceiptV1>(&envelope, &key, world.deployment()).expect("a receipt");
                let receipt = receipt.value().clone();
                self.link(receipt.seq, receipt.prev, document);
                self.receipts.push(receipt);
            }
            PayloadType::Report => {
                let report = verify_host::<ReportV1>(&envelope, &key, world.deployment()).expect("a report");
                let report = report.value().clone();
                self.link(report.seq, report.prev, document);
                self.reports.push(report);
            }
            PayloadType::Heartbeat => {
                let beat =
                    verify_host::<HeartbeatV1>(&envelope, &key, world.deployment()).expect("a heartbeat");
                let beat = beat.value().clone();
                let known = self.chain.get(&beat.seq).copied();
                assert_eq!(known, beat.head, "a heartbeat names a head that was never sent");
                self.heartbeats.push(beat);
            }
            PayloadType::Root
            | PayloadType::Inventory
            | PayloadType::Query
            | PayloadType::Protect
            | PayloadType::Release
            | PayloadType::Clean
            | PayloadType::Suspect
            | PayloadType::Enrol => panic!("a host never sends a {kind}"),
        }
    }

    fn link(&mut self, seq: u64, prev: Option<Digest>, document: &Document) {
        let digest = document.digest();
        assert_eq!(document.seq, Some(seq), "the number outside is not the one that is signed");
        assert!(!self.chain.contains_key(&seq), "the chain forks at {seq}");
        let last = self.chain.last_key_value();
        assert_eq!(seq, last.map_or(1, |(seq, _)| seq + 1), "the chain has a gap before {seq}");
        assert_eq!(prev, last.map(|(_, digest)| *digest), "document {seq} does not continue the chain");
        self.chain.insert(seq, digest);
    }

    /// What came of an order, oldest first.
    pub(crate) fn outcomes(&self, order: Digest) -> Vec<Outcome> {
        self.receipts.iter().filter(|r| r.order == order).map(|r| r.outcome.clone()).collect()
    }

    /// The codes of all refusals, oldest first.
    pub(crate) fn refusals(&self) -> Vec<String> {
        let code = |outcome: &Outcome| match outcome {
            Outcome::Refused { code, .. } => Some(code.clone()),
            Outcome::Acknowledged {}
            | Outcome::Applied {}
            | Outcome::Verified {}
            | Outcome::Failed { .. } => None,
        };
        self.receipts.iter().filter_map(|r| code(&r.outcome)).collect()
    }
}
