//! What people stated about hosts, and the verdict that follows from it.
//!
//! A host is clean only while every reason for it still holds; anything older, unsure or contradictory
//! is not clean (invariants 9 and 10). Deliberately absent: anything that a host says of itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::envelope::Envelope;
use crate::fleet::host::HostState;
use crate::fleet::unsealed;
use crate::fleet::view::Verdict;
use crate::id::{Digest, HostId, PersonId, UnixMillis};
use crate::statement::{Assurance, Stated, StatementV1};
use crate::trust::{Class, InventoryHost};
use crate::trust_chain::Trust;
use crate::verify::{SignatureError, Verified, VerifyError};

/// How far in the future a clean statement may have been issued, in milliseconds, before it is taken to
/// come from a wrong clock.
const ISSUE_TOLERANCE_MS: u64 = 10 * 60 * 1000;

/// A statement with its signatures so far.
#[derive(Debug, Clone)]
pub struct StatementEntry {
    /// The host that it speaks of.
    pub host_id: HostId,
    /// What it says.
    pub verdict: Stated,
    /// The statement and every signature that counts.
    pub envelope: Envelope,
    /// Whose signatures count.
    pub signers: BTreeSet<PersonId>,
    /// Distinct persons needed.
    pub needed: usize,
    /// Whether it is in force (as far as signatures go).
    pub accepted: bool,
}

/// Why a statement or a signature for one is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementRefused {
    /// No trust root is known yet.
    #[error("no trust root is known yet")]
    NoRoot,
    /// Not a statement of this deployment, whatever its signatures.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A signature does not count.
    #[error("a signature does not count: {0}")]
    Signature(SignatureError),
    /// No statement with that digest.
    #[error("no statement {0} is known")]
    Unknown(Digest),
}

/// A checked change to the statements, to be made durable and then committed.
#[derive(Debug, Clone)]
pub struct StatementOffer {
    digest: Digest,
    entry: StatementEntry,
    verified: Option<Verified<StatementV1>>,
    /// Whether it changes anything; if not, nothing needs to be stored.
    pub changes: bool,
}

impl StatementOffer {
    /// The statement's digest.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
    /// The host that it speaks of.
    pub const fn host(&self) -> &HostId {
        &self.entry.host_id
    }
    /// The statement with all its signatures, to be stored.
    pub const fn envelope(&self) -> &Envelope {
        &self.entry.envelope
    }
}

#[derive(Debug, Clone)]
struct Accepted {
    statement: Verified<StatementV1>,
    at: UnixMillis,
}

/// Every statement, in force or waiting for signatures.
#[derive(Debug, Clone, Default)]
pub(super) struct Statements {
    entries: BTreeMap<Digest, StatementEntry>,
    sequence: Vec<Digest>,
    accepted: BTreeMap<HostId, Vec<Accepted>>,
}

/// The verdict on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) lapsed: Option<String>,
    pub(super) by: Vec<PersonId>,
    pub(super) assurance: Option<Assurance>,
    pub(super) clean_statement: Option<Digest>,
}

impl Statements {
    /// Checks a statement with its signatures, without changing anything.
    pub(super) fn offer(
        &self,
        envelope: &Envelope,
        trust: &Trust,
    ) -> Result<StatementOffer, StatementRefused> {
        let statement = unsealed::read_statement(envelope, trust)?;
        let class = class_of(statement.verdict);
        let digest = envelope.digest();
        let known = self.entries.get(&digest);
        let mut merged = known.map_or_else(
            || Envelope { signatures: Vec::new(), ..envelope.clone() },
            |entry| entry.envelope.clone(),
        );
        unsealed::merge(&mut merged, &envelope.signatures, class, trust)
            .map_err(StatementRefused::Signature)?;
        let verified = match trust.verify_statement(&merged) {
            Ok(verified) => Some(verified),
            Err(VerifyError::Threshold { .. } | VerifyError::NoForensic) => None,
            Err(refused) => return Err(refused.into()),
        };
        let changes = known.is_none_or(|k| k.envelope != merged || k.accepted != verified.is_some());
        let signers = trust.tally(&merged, class).counted;
        let needed = trust.threshold(class.role());
        let accepted = verified.is_some();
        let StatementV1 { host_id, verdict, .. } = statement;
        let entry = StatementEntry { host_id, verdict, envelope: merged, signers, needed, accepted };
        Ok(StatementOffer { digest, entry, verified, changes })
    }

    /// Checks one more signature for a statement that is known.
    pub(super) fn offer_signature(
        &self,
        digest: Digest,
        armour: &str,
        trust: &Trust,
    ) -> Result<StatementOffer, StatementRefused> {
        let known = self.entries.get(&digest).ok_or(StatementRefused::Unknown(digest))?;
        let with = Envelope { signatures: vec![armour.to_owned()], ..known.envelope.clone() };
        self.offer(&with, trust)
    }

    /// Takes what was offered.
    pub(super) fn commit(&mut self, offer: StatementOffer, at: UnixMillis) {
        let StatementOffer { digest, entry, verified, .. } = offer;
        if self.entries.insert(digest, entry).is_none() {
            self.sequence.push(digest);
        }
        if let Some(statement) = verified {
            let list = self.accepted.entry(statement.value().host_id.clone()).or_default();
            match list.iter_mut().find(|known| known.statement.digest() == digest) {
                Some(known) => known.statement = statement,
                None => list.push(Accepted { statement, at }),
            }
        }
    }

    /// Judges what was accepted by a new trust root: a clean statement that a revoked person carried is
    /// in force no longer, a warning stays.
    pub(super) fn judge_again(&mut self, trust: &Trust) {
        for list in self.accepted.values_mut() {
            list.retain(|accepted| {
                let revocable = accepted.statement.value().verdict == Stated::Clean;
                !revocable || trust.verify_statement(accepted.statement.envelope()).is_ok()
            });
        }
        let in_force: BTreeSet<Digest> =
            self.accepted.values().flatten().map(|accepted| accepted.statement.digest()).collect();
        for (digest, entry) in &mut self.entries {
            entry.accepted = in_force.contains(digest);
        }
    }

    /// Every statement in the order of arrival.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Digest, &StatementEntry)> {
        self.sequence.iter().filter_map(|digest| Some((*digest, self.entries.get(digest)?)))
    }

    pub(super) fn entry(&self, digest: Digest) -> Option<&StatementEntry> {
        self.entries.get(&digest)
    }

    /// The verdict on a host after all lapse rules.
    pub(super) fn judge(&self, host: &InventoryHost, state: &HostState, now: UnixMillis) -> Judged {
        let all = self.accepted.get(&host.host_id).map_or(&[][..], Vec::as_slice);
        let key = host.fingerprint();
        let bound = |a: &&Accepted| {
            let statement = a.statement.value();
            statement.incarnation == host.incarnation && Some(&statement.host_key) == key.as_ref()
        };
        let mine: Vec<&Accepted> = all.iter().filter(bound).collect();
        let latest = |verdict| mine.iter().rposition(|a| a.statement.value().verdict == verdict);
        if let Some(at) = latest(Stated::Compromised) {
            return stated(Verdict::Compromised, mine.get(at).copied());
        }
        let clean = mine
            .iter()
            .enumerate()
            .filter(|(_, a)| a.statement.value().verdict == Stated::Clean)
            .max_by_key(|(at, a)| (a.statement.value().issued_at_ms, *at))
            .map(|(at, a)| (at, *a));
        let suspect = latest(Stated::Suspect).and_then(|at| Some((at, *mine.get(at)?)));
        match (clean, suspect) {
            (None, None) => {
                let lapsed = all.last().map(|_| "stated for an earlier incarnation or key".to_owned());
                Judged { lapsed, ..stated(Verdict::Unassessed, None) }
            }
            (None, Some((_, suspect))) => stated(Verdict::Suspect, Some(suspect)),
            (Some((clean_at, clean)), suspect) => {
                // Later by either order counts: neither a clock nor a slow courier may hide a warning.
                let issued = clean.statement.value().issued_at_ms;
                let warns = |a: &&&Accepted| {
                    a.statement.value().verdict == Stated::Suspect
                        && a.statement.value().issued_at_ms >= issued
                };
                if let Some(warning) = mine.iter().rfind(warns) {
                    return stated(Verdict::Suspect, Some(warning));
                }
                if let Some((_, warning)) = suspect.filter(|(at, _)| *at > clean_at) {
                    return stated(Verdict::Suspect, Some(warning));
                }
                judge_clean(clean, state, now)
            }
        }
    }
}

fn stated(verdict: Verdict, source: Option<&Accepted>) -> Judged {
    let by = source.map_or_else(Vec::new, |a| a.statement.signers().iter().cloned().collect());
    Judged { verdict, lapsed: None, by, assurance: None, clean_statement: None }
}

/// A clean statement that nothing contradicts: does every reason for it still hold?
fn judge_clean(clean: &Accepted, state: &HostState, now: UnixMillis) -> Judged {
    let statement = clean.statement.value();
    let lapsed = if now > statement.valid_until_ms {
        Some("its validity has ended".to_owned())
    } else if statement.issued_at_ms > now.plus(ISSUE_TOLERANCE_MS) {
        Some("it was issued in the future: a clock is wrong".to_owned())
    } else if state.boot_id().is_none() {
        Some("nothing was ever heard from the host".to_owned())
    } else if state.boot_id() != statement.boot_id.as_deref() {
        Some("the host has booted since it was examined".to_owned())
    } else if state.chain().forked().is_some_and(|(_, at)| at > clean.at) {
        Some("two histories of the host exist".to_owned())
    } else {
        let gap = state.chain().gap_after(clean.at);
        gap.map(|(first, last)| format!("the host's documents {first}-{last} are missing since"))
    };
    let valid = lapsed.is_none();
    let clean_statement = valid.then(|| clean.statement.digest());
    let lapsed = lapsed.or_else(|| (!state.fresh(now)).then(|| "no contact with the host".to_owned()));
    let verdict = if lapsed.is_none() { Verdict::Clean } else { Verdict::Unassessed };
    let by = clean.statement.signers().iter().cloned().collect();
    Judged { verdict, lapsed, by, assurance: statement.assurance, clean_statement }
}

const fn class_of(verdict: Stated) -> Class {
    match verdict {
        Stated::Clean => Class::Clean,
        Stated::Suspect | Stated::Compromised => Class::Suspect,
    }
}
