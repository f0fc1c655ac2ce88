//! Statements about hosts: made here, read from their bytes before anyone signs, and verified on return.

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::fleet::view::HostView;
use digue_proto::id::{Digest, UnixMillis};
use digue_proto::statement::{Assurance, Stated, StatementV1};
use digue_proto::strict;
use digue_proto::trust::{Class, InventoryHost};
use digue_proto::trust_chain::Trust;
use digue_proto::words::fingerprint_words;

use crate::app::App;
use crate::message::{Message, msg};
use crate::output::printable;
use crate::problem::{OrProblem as _, Outcome, Problem};
use crate::time;

/// What a new statement says.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    /// The verdict.
    pub(crate) verdict: Stated,
    /// Strength of a clean statement.
    pub(crate) assurance: Option<Assurance>,
    /// How long it holds, in milliseconds.
    pub(crate) valid_ms: u64,
    /// Digests that it rests on.
    pub(crate) evidence: Vec<Digest>,
    /// Why.
    pub(crate) reason: String,
}

/// The class and payload type of a verdict.
pub(crate) const fn class_of(verdict: Stated) -> (Class, PayloadType) {
    match verdict {
        Stated::Clean => (Class::Clean, PayloadType::Clean),
        Stated::Suspect | Stated::Compromised => (Class::Suspect, PayloadType::Suspect),
    }
}

/// An unsigned statement about the host as it is now.
pub(crate) fn draft(
    trust: &Trust,
    row: &HostView,
    listed: &InventoryHost,
    draft: &Draft,
    now: UnixMillis,
) -> Outcome<Envelope> {
    let host = || listed.host_id.to_string();
    let refused = || Problem::new("E0656", msg!("statement-refused", host = host()));
    let host_key = listed.fingerprint().ok_or_else(|| refused().because("it has no key"))?;
    if draft.verdict == Stated::Clean && row.boot_id.is_none() {
        return Err(refused().because("nothing was ever heard from it"));
    }
    let mut evidence = draft.evidence.clone();
    evidence.sort_unstable();
    evidence.dedup();
    let statement = StatementV1 {
        deployment_id: trust.deployment_id(),
        host_id: listed.host_id.clone(),
        host_key,
        incarnation: listed.incarnation,
        boot_id: row.boot_id.clone(),
        verdict: draft.verdict,
        assurance: draft.assurance,
        // What was examined is at best as new as the last thing heard from the host.
        observed_at_ms: row.last_contact_ms.map_or(now, |heard| heard.min(now)),
        issued_at_ms: now,
        valid_until_ms: now.plus(draft.valid_ms),
        evidence,
        reason: draft.reason.clone(),
    };
    statement.validate().or_problem(refused)?;
    let payload = strict::to_vec(&statement).or_problem(refused)?;
    Ok(Envelope { payload_type: class_of(draft.verdict).1, payload, signatures: Vec::new() })
}

/// A statement as it reads, for showing before it is signed; no signature is checked.
pub(crate) fn read(trust: &Trust, envelope: &Envelope) -> Outcome<(StatementV1, Class)> {
    let bad = || Problem::new("E0661", msg!("statement-unreadable", digest = envelope.digest().short()));
    let limit = envelope.payload_type.max_payload();
    let statement: StatementV1 = strict::from_slice(&envelope.payload, limit).or_problem(bad)?;
    statement.validate().or_problem(bad)?;
    let (class, payload_type) = class_of(statement.verdict);
    if payload_type != envelope.payload_type || statement.deployment_id != trust.deployment_id() {
        return Err(bad().because("its type or deployment is another one"));
    }
    Ok((statement, class))
}

/// The word for what is stated.
pub(crate) fn stated(verdict: Stated) -> Message {
    match verdict {
        Stated::Clean => msg!("verdict-clean"),
        Stated::Suspect => msg!("verdict-suspect"),
        Stated::Compromised => msg!("verdict-compromised"),
    }
}

/// A statement in words, from its parsed bytes.
pub(crate) fn describe(app: &App, statement: &StatementV1, digest: &Digest) -> String {
    let assurance = statement.assurance.map_or_else(String::new, |a| format!(" ({a:?})"));
    let verdict = format!("{}{assurance}", app.say(&stated(statement.verdict)));
    let mut lines = vec![
        app.say(&msg!("statement-title", host = statement.host_id.to_string(), verdict = verdict)),
        app.say(&msg!("order-words", words = fingerprint_words(digest))),
        app.say(&msg!("statement-reason", reason = printable(&statement.reason))),
        app.say(&msg!(
            "statement-times",
            observed = time::date_clock(statement.observed_at_ms),
            until = time::date_clock(statement.valid_until_ms),
        )),
    ];
    if !statement.evidence.is_empty() {
        let list: Vec<String> = statement.evidence.iter().map(Digest::short).collect();
        lines.push(app.say(&msg!("statement-evidence", list = list.join(" "))));
    }
    lines.join("\n")
}
