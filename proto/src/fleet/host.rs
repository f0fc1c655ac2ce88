//! What is known of one host: only what its key signed, in the order of its own chain.
//!
//! An older document never replaces a newer one (C15), and nothing that was ordered, queued or sent
//! touches this state.

use crate::fleet::chain::{Chain, Place};
use crate::frame::STALE_SECONDS;
use crate::id::{Challenge, Digest, Nonce, UnixMillis};
use crate::key::PublicKey;
use crate::report::{Clocks, HeartbeatV1, Links, ReceiptV1, ReportV1};
use crate::trust::InventoryHost;
use crate::verify::Verified;

/// How far a contact may lie in the controller's future before its clock is taken to have gone back, in
/// milliseconds. Such a contact proves nothing about now.
const CLOCK_TOLERANCE_MS: u64 = 5_000;
/// Most remarks of the controller kept for one host.
const MAX_REMARKS: usize = 16;

/// Why a signed document changes nothing in the view. It may still be worth keeping.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Ignored {
    /// The host is not in the signed inventory (D8).
    #[error("the host is not in the signed inventory")]
    NotInInventory,
    /// Not signed by the key that the inventory names for this host (D5).
    #[error("the inventory names another key for this host")]
    WrongKey,
    /// The number does not grow: a repeat, or a document that was lost and came late.
    #[error("number {seq} is not newer than {newest}")]
    NotNewer {
        /// Of the document.
        seq: u64,
        /// Known before.
        newest: u64,
    },
    /// Two histories of one host exist (D10).
    #[error("number {0} contradicts the host's chain: its key or its disk was copied")]
    Fork(u64),
    /// The boot-time clock went back within one boot.
    #[error("the host's boot-time clock went back within one boot")]
    ClockWentBack,
    /// A heartbeat that does not repeat the nonce of its connection: an old one, played again (C15).
    #[error("the heartbeat does not repeat the nonce of this connection")]
    WrongEcho,
}

/// The state of one incarnation of one host.
#[derive(Debug, Clone, Default)]
pub(super) struct HostState {
    key: Option<PublicKey>,
    incarnation: u64,
    chain: Chain,
    report: Option<Verified<ReportV1>>,
    /// The latest heartbeat, as long as no newer report came.
    beat: Option<Verified<HeartbeatV1>>,
    /// Clocks of the newest document.
    clocks: Option<Clocks>,
    /// The boot that the newest fact of any kind belongs to.
    boot_id: Option<String>,
    contact: Option<UnixMillis>,
    offset_ms: Option<i64>,
    challenge: Option<Challenge>,
    root_version: Option<u64>,
    remarks: Vec<String>,
}

impl HostState {
    /// A state for what the inventory says now: kept if it is the same machine, begun anew if not.
    pub(super) fn carried_over(before: Option<Self>, host: &InventoryHost) -> Self {
        match before {
            Some(same) if same.key == host.host_key && same.incarnation == host.incarnation => same,
            _ => Self { key: host.host_key.clone(), incarnation: host.incarnation, ..Self::default() },
        }
    }

    pub(super) fn check_key(&self, by: &PublicKey) -> Result<(), Ignored> {
        if self.key.as_ref() == Some(by) { Ok(()) } else { Err(Ignored::WrongKey) }
    }

    pub(super) fn take_report(&mut self, report: &Verified<ReportV1>, at: UnixMillis) -> Result<(), Ignored> {
        let value = report.value();
        self.take_document(value.seq, report.digest(), value.prev, &value.clocks, at)?;
        self.challenge = value.challenge;
        self.root_version = Some(value.root_version);
        if self.beat.as_ref().is_some_and(|beat| beat.value().seq < value.seq) {
            self.beat = None;
        }
        self.report = Some(report.clone());
        Ok(())
    }

    pub(super) fn take_receipt(
        &mut self,
        receipt: &Verified<ReceiptV1>,
        at: UnixMillis,
    ) -> Result<(), Ignored> {
        let value = receipt.value();
        self.take_document(value.seq, receipt.digest(), value.prev, &value.clocks, at)?;
        self.challenge = value.challenge;
        self.root_version = Some(value.root_version);
        Ok(())
    }

    fn take_document(
        &mut self,
        seq: u64,
        digest: Digest,
        prev: Option<Digest>,
        clocks: &Clocks,
        at: UnixMillis,
    ) -> Result<(), Ignored> {
        let newest = self.chain.newest();
        let backwards = self
            .clocks
            .as_ref()
            .is_some_and(|last| last.boot_id == clocks.boot_id && clocks.boottime_ms < last.boottime_ms);
        match self.chain.take(seq, digest, prev, at) {
            Place::Fork => return Err(Ignored::Fork(seq)),
            Place::Gap | Place::Repeat => return Err(Ignored::NotNewer { seq, newest }),
            Place::Newest => {}
        }
        if backwards {
            self.remark(format!("clock_went_back: the boot-time clock went back at document {seq}"));
            return Err(Ignored::ClockWentBack);
        }
        if self.beat.as_ref().is_none_or(|beat| beat.value().seq < seq) {
            self.boot_id = Some(clocks.boot_id.clone());
            // What a heartbeat said of the boot before is over.
            self.beat.take_if(|beat| beat.value().clocks.boot_id != clocks.boot_id);
        }
        self.clocks = Some(clocks.clone());
        self.met(clocks, at);
        Ok(())
    }

    pub(super) fn take_heartbeat(
        &mut self,
        signed: &Verified<HeartbeatV1>,
        given: Nonce,
        at: UnixMillis,
    ) -> Result<(), Ignored> {
        let heartbeat = signed.value();
        if heartbeat.echo != Some(given) {
            return Err(Ignored::WrongEcho);
        }
        let (seq, newest) = (heartbeat.seq, self.chain.newest());
        if self.chain.digest_at(seq).is_some_and(|known| heartbeat.head != Some(known)) {
            self.chain.note_fork(seq, at);
            return Err(Ignored::Fork(seq));
        }
        if seq < newest {
            return Err(Ignored::NotNewer { seq, newest });
        }
        let clocks = &heartbeat.clocks;
        let last = self.beat.as_ref().map(|beat| &beat.value().clocks);
        if last.is_some_and(|l| l.boot_id == clocks.boot_id && clocks.boottime_ms <= l.boottime_ms) {
            return Err(Ignored::ClockWentBack);
        }
        self.beat = Some(signed.clone());
        self.boot_id = Some(clocks.boot_id.clone());
        self.met(clocks, at);
        Ok(())
    }

    fn met(&mut self, clocks: &Clocks, at: UnixMillis) {
        self.contact = Some(at);
        let offset = i128::from(clocks.wall_ms.0) - i128::from(at.0);
        self.offset_ms = i64::try_from(offset).ok();
    }

    /// Adds something that the controller itself noticed about this host.
    pub(super) fn remark(&mut self, text: String) {
        if !self.remarks.contains(&text) {
            self.remarks.push(text);
            let too_many = self.remarks.len().saturating_sub(MAX_REMARKS);
            self.remarks.drain(..too_many);
        }
    }

    /// Whether the last sign of life is younger than [`STALE_SECONDS`] and not in the future.
    pub(super) fn fresh(&self, now: UnixMillis) -> bool {
        self.contact.is_some_and(|at| {
            now.since(at) < STALE_SECONDS * 1000 && at.0 <= now.0.saturating_add(CLOCK_TOLERANCE_MS)
        })
    }

    /// The links as measured; `Cut` only if the newest report proves it and nothing newer contradicts it.
    pub(super) fn links(&self) -> Option<Links> {
        let reported = self.report().map(|report| judge(report.value()));
        match self.beat().map(Verified::value) {
            None => reported,
            Some(beat) if !beat.rules_hold => Some(Links::Failed),
            Some(HeartbeatV1 { links, .. }) if self.reported_as_said() == Some(*links) => reported,
            // The proofs stand in a report that has not arrived yet.
            Some(HeartbeatV1 { links: Links::Cut, .. }) => Some(Links::Cutting),
            Some(beat) => Some(beat.links),
        }
    }

    fn reported_as_said(&self) -> Option<Links> {
        self.report().map(|report| report.value().links)
    }

    /// What the controller noticed, with a fork of the chain first.
    pub(super) fn remarks(&self) -> Vec<String> {
        let fork = self.chain.forked().map(|(seq, _)| {
            format!("chain_fork: two histories of this host exist from document {seq} on; was its key or disk copied?")
        });
        fork.into_iter().chain(self.remarks.iter().cloned()).collect()
    }

    pub(super) const fn chain(&self) -> &Chain {
        &self.chain
    }
    pub(super) const fn report(&self) -> Option<&Verified<ReportV1>> {
        self.report.as_ref()
    }
    /// The latest heartbeat, as long as no newer report came.
    pub(super) const fn beat(&self) -> Option<&Verified<HeartbeatV1>> {
        self.beat.as_ref()
    }
    pub(super) const fn contact(&self) -> Option<UnixMillis> {
        self.contact
    }
    pub(super) const fn offset_ms(&self) -> Option<i64> {
        self.offset_ms
    }
    pub(super) const fn challenge(&self) -> Option<Challenge> {
        self.challenge
    }
    pub(super) const fn root_version(&self) -> Option<u64> {
        self.root_version
    }
    /// The boot that the newest fact belongs to.
    pub(super) fn boot_id(&self) -> Option<&str> {
        self.boot_id.as_deref()
    }
}

/// What a report's own measurements amount to. A cut that they do not prove is not shown as one.
fn judge(report: &ReportV1) -> Links {
    let drifted = !report.drift.is_empty() || report.rules_meant != report.rules_observed;
    match report.links {
        Links::Cut if drifted || report.proofs.probes.failed() => Links::Failed,
        Links::Cut if !report.proofs.verified() => Links::Cutting,
        Links::Cut | Links::Cutting | Links::Open | Links::Releasing | Links::Failed => report.links,
    }
}
