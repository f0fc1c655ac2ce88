//! Whether the rows that reassure are borne out by what servers and people signed.
//!
//! A row is the controller's word. Before a server is shown as cut or clean, its signed report, its
//! heartbeat and the statements about it are folded here by the same code as in the controller. The result
//! may only make a row worse. Rows that alarm are taken as they are: nobody is lulled by them. Deliberately
//! absent: trust in a clock that would make anything fresher; the signed time may only refuse.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::fleet::Fleet;
use digue_proto::fleet::view::{HostView, Verdict};
use digue_proto::frame::STALE_SECONDS;
use digue_proto::id::{Digest, HostId, UnixMillis};
use digue_proto::report::{HeartbeatV1, Links, ReportV1};
use digue_proto::statement::StatementV1;
use digue_proto::strict;
use digue_proto::trust::InventoryV1;
use digue_proto::trust_chain::Trust;
use digue_proto::verify::{Verified, verify_host};

use crate::app::Session;
use crate::client::api::{Proof, Proofs, Statements};
use crate::files;
use crate::problem::Outcome;

/// How far the clock in a fresh signed document may lie from this desk's, in milliseconds: the age at
/// which a host counts as silent, and some room for clocks that nobody sets during an incident.
const CLOCK_ROOM_MS: u64 = STALE_SECONDS * 1000 + 210_000;

/// The documents that rows rest on.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    proofs: BTreeMap<HostId, Proof>,
    statements: BTreeMap<HostId, Vec<Envelope>>,
}

/// What the signed documents do not bear out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Doubts {
    /// Shown cut or clean without documents that say so.
    pub(crate) unproven: Vec<HostId>,
    /// In contact by the controller's word, but the newest document carries quite another time.
    pub(crate) untimely: Vec<HostId>,
}

/// Whether a row says something that would let people stop worrying.
pub(crate) fn reassures(row: &HostView) -> bool {
    let said = row.links == Some(Links::Cut) || matches!(row.verdict, Verdict::Clean | Verdict::NoFinding);
    !row.exposed || (row.fresh && said)
}

/// Fetches what the rows rest on; no documents of hosts if none of them reassures.
pub(crate) async fn fetch(session: &Session, rows: &[HostView]) -> Outcome<Documents> {
    let mut documents = Documents::default();
    if rows.iter().any(|row| row.verdict != Verdict::Unassessed) {
        let answer: Statements = session.client.get("/api/v1/statements").await?;
        let known = Warnings::read(&session.context.trust_dir)?;
        let all = known.with(&session.trust, answer.statements)?;
        for envelope in all {
            // Its signatures are checked when it is folded in.
            let max = envelope.payload_type.max_payload();
            if let Ok(statement) = strict::from_slice::<StatementV1>(&envelope.payload, max) {
                documents.statements.entry(statement.host_id).or_default().push(envelope);
            }
        }
    }
    if !rows.iter().any(reassures) {
        return Ok(documents);
    }
    let mut path = "/api/v1/proofs".to_owned();
    loop {
        let page: Proofs = session.client.get(&path).await?;
        let before = documents.proofs.len();
        documents.proofs.extend(page.proofs.into_iter().map(|proof| (proof.host.clone(), proof)));
        match page.next {
            // A page that brings nothing new would go on for ever.
            Some(next) if documents.proofs.len() > before => path = format!("/api/v1/proofs?after={next}"),
            Some(_) | None => break,
        }
    }
    Ok(documents)
}

/// Warnings that this desk has seen. A controller, or a store put back to an earlier state, may leave one
/// out; it stays in force here all the same.
struct Warnings {
    file: PathBuf,
    known: BTreeMap<Digest, Envelope>,
}

impl Warnings {
    fn read(folder: &Path) -> Outcome<Self> {
        let file = folder.join("warnings_seen.jsonl");
        let bytes = files::read_if_there(&file)?.unwrap_or_default();
        let lines = bytes.split(|byte| *byte == b'\n');
        let known = lines.filter_map(|line| Envelope::from_json(line).ok());
        Ok(Self { known: known.map(|envelope| (envelope.digest(), envelope)).collect(), file })
    }

    /// What was offered and what was seen before; new warnings that verify are remembered.
    fn with(mut self, trust: &Trust, offered: Vec<Envelope>) -> Outcome<Vec<Envelope>> {
        let mut grew = false;
        for envelope in offered.iter().filter(|e| e.payload_type == PayloadType::Suspect) {
            let digest = envelope.digest();
            if !self.known.contains_key(&digest) && trust.verify_statement(envelope).is_ok() {
                grew = true;
                self.known.insert(digest, envelope.clone());
            }
        }
        if grew {
            let lines = self.known.values().filter_map(|envelope| envelope.to_json().ok());
            let text = lines.collect::<Vec<_>>().join(&b'\n');
            files::write(&self.file, &text, 0o600)?;
        }
        let there: BTreeSet<Digest> = offered.iter().map(Envelope::digest).collect();
        let withheld = self.known.into_iter().filter(|(digest, _)| !there.contains(digest));
        let withheld: Vec<Envelope> = withheld.map(|(_, envelope)| envelope).collect();
        Ok(offered.into_iter().chain(withheld).collect())
    }
}

/// Holds every row that reassures against the documents, on all cores.
pub(crate) fn check(
    trust: &Trust,
    inventory: &Verified<InventoryV1>,
    rows: &mut [HostView],
    documents: &Documents,
    now: UnixMillis,
) -> Doubts {
    let mut checked: Vec<&mut HostView> = rows.iter_mut().filter(|row| reassures(row)).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = checked.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let work = |part: &mut [&mut HostView]| fold(trust, inventory, part, documents, now);
        let parts: Vec<_> = checked.chunks_mut(share).map(|part| scope.spawn(move || work(part))).collect();
        let mut doubts = Doubts::default();
        for part in parts {
            match part.join() {
                Ok(Doubts { unproven, untimely }) => {
                    doubts.unproven.extend(unproven);
                    doubts.untimely.extend(untimely);
                }
                Err(panicked) => std::panic::resume_unwind(panicked),
            }
        }
        doubts
    })
}

fn fold(
    trust: &Trust,
    inventory: &Verified<InventoryV1>,
    rows: &mut [&mut HostView],
    documents: &Documents,
    now: UnixMillis,
) -> Doubts {
    let mut fleet = Fleet::default();
    fleet.set_trust(trust.clone());
    fleet.set_inventory(inventory.clone());
    let mut doubts = Doubts::default();
    for row in rows {
        let signed_at = take_proof(&mut fleet, trust, inventory, documents.proofs.get(&row.name), now);
        for envelope in documents.statements.get(&row.name).into_iter().flatten() {
            // What does not verify is no statement.
            if let Ok(offer) = fleet.offer_statement(envelope) {
                fleet.commit_statement(offer, now);
            }
        }
        let Some(own) = fleet.host_view(&row.name, now) else { continue };
        if row.fresh && signed_at.is_none_or(|at| at.0.abs_diff(now.0) > CLOCK_ROOM_MS) {
            row.fresh = false;
            if signed_at.is_some() {
                doubts.untimely.push(row.name.clone());
            }
        }
        if !hold_against(row, own) || signed_at.is_none() {
            doubts.unproven.push(row.name.clone());
        }
    }
    doubts
}

/// Folds a host's own documents in; gives the host's wall clock in the newest.
fn take_proof(
    fleet: &mut Fleet,
    trust: &Trust,
    inventory: &Verified<InventoryV1>,
    proof: Option<&Proof>,
    now: UnixMillis,
) -> Option<UnixMillis> {
    let proof = proof?;
    let key = inventory.value().host(&proof.host)?.host_key.clone()?;
    let deployment = trust.deployment_id();
    let mut newest = None;
    let report = proof.report.as_ref().and_then(|e| verify_host::<ReportV1>(e, &key, deployment).ok());
    if let Some(report) = report.filter(|report| report.value().host_id == proof.host)
        && fleet.apply_report(&report, &key, now).is_ok()
    {
        newest = Some(report.value().clocks.wall_ms);
    }
    let beat = proof.heartbeat.as_ref().and_then(|e| verify_host::<HeartbeatV1>(e, &key, deployment).ok());
    if let Some(beat) = beat.filter(|beat| beat.value().host_id == proof.host)
        && let Some(echo) = beat.value().echo
        && fleet.apply_heartbeat(&beat, &key, echo, now).is_ok()
    {
        newest = Some(beat.value().clocks.wall_ms);
    }
    newest
}

/// Makes a row no better than the documents are. Says whether they bear it out.
fn hold_against(row: &mut HostView, own: HostView) -> bool {
    let mut holds = true;
    if matches!(row.verdict, Verdict::Clean | Verdict::NoFinding) && row.verdict != own.verdict {
        holds = false;
        row.verdict = own.verdict;
        row.lapsed = own.lapsed;
    }
    if row.verdict == own.verdict {
        row.verdict_by = own.verdict_by;
        row.assurance = own.assurance;
        row.clean_statement = own.clean_statement;
    }
    if row.links == Some(Links::Cut) && own.links != Some(Links::Cut) {
        holds = false;
        row.links = own.links;
    }
    row.level = own.level;
    row.proofs = own.proofs;
    row.order_id = own.order_id;
    row.heads = own.heads;
    row.drift = own.drift;
    for alarm in own.alarms {
        if !row.alarms.contains(&alarm) {
            row.alarms.push(alarm);
        }
    }
    if !row.fresh && row.verdict == Verdict::Clean {
        row.verdict = Verdict::Unassessed;
        row.lapsed = Some("no contact with the host".to_owned());
    }
    let safe = row.verdict == Verdict::Clean || row.links == Some(Links::Cut);
    row.exposed = !(row.fresh && safe);
    holds
}

#[cfg(test)]
mod tests;
