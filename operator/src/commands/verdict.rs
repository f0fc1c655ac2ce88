//! `digue verdict`: what people state about servers.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use digue_proto::envelope::Envelope;
use digue_proto::id::{Digest, HostId};
use digue_proto::statement::{Assurance, Stated};
use digue_proto::trust::Class;
use serde_json::json;

use crate::app::{App, Session};
use crate::client::api::{Approvals, NewSignature, StatementState, Statements, WaitingStatement};
use crate::fleet;
use crate::message::{Message, msg};
use crate::output::{self, Column, Format, Listing, printable};
use crate::plan::show::names;
use crate::problem::{Exit, Outcome, Problem};
use crate::selector::{Labels, Selection};
use crate::statements::{self, Draft};
use crate::time;

/// How long a warning stands in its statement; nothing but another statement ends it.
const WARNING_VALID: Duration = Duration::from_secs(366 * 86_400);

/// What people state about servers.
#[derive(Debug, Subcommand)]
pub(crate) enum VerdictCommand {
    /// List the statements in force.
    List {
        /// Only about this server.
        #[arg(long)]
        host: Option<HostId>,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// State that servers are clean, suspect or compromised, and sign it.
    Set(Set),
    /// Add a signature to a statement that awaits some.
    Sign {
        /// The statement's digest, or its first digits.
        digest: String,
        /// Signer of the context, or key file; may be repeated.
        #[arg(long, value_name = "NAME", required = true)]
        sign: Vec<String>,
    },
}

/// Arguments of `verdict set`.
#[derive(Debug, Args)]
#[command(allow_missing_positional = true)]
pub(crate) struct Set {
    /// Servers by name, joined by commas; or choose them by -l or --all.
    #[arg(value_delimiter = ',')]
    hosts: Vec<HostId>,
    /// What is stated.
    #[arg(value_enum)]
    verdict: Verdict,
    /// Hosts by label: k=v, k!=v, joined by commas; all of them must hold, also over repeated options.
    #[arg(short = 'l', long = "label", value_name = "K=V")]
    labels: Vec<Labels>,
    /// Every host of the signed inventory.
    #[arg(long)]
    all: bool,
    /// Why; it is signed and shown everywhere.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Strength of a clean statement: L1 the live agent alone, L2 also a view that the server cannot
    /// forge, L3 rebuilt or restored.
    #[arg(long, value_enum)]
    assurance: Option<Strength>,
    /// How long a clean statement holds.
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = time::duration)]
    valid: Duration,
    /// SHA-256 of a document that it rests on; may be repeated.
    #[arg(long = "ref", value_name = "DIGEST")]
    evidence: Vec<Digest>,
    /// Signer of the context, or key file; may be repeated.
    #[arg(long, value_name = "NAME", required = true)]
    sign: Vec<String>,
}

/// What can be stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verdict {
    /// Confirmed clean.
    Clean,
    /// Suspect.
    Suspect,
    /// Compromised.
    Compromised,
}

impl From<Verdict> for Stated {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Clean => Self::Clean,
            Verdict::Suspect => Self::Suspect,
            Verdict::Compromised => Self::Compromised,
        }
    }
}

/// `--assurance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "verbatim")]
pub(crate) enum Strength {
    /// The live agent alone.
    L1,
    /// Also a view that the server cannot forge.
    L2,
    /// Rebuilt from trusted media, or restored from before the intrusion.
    L3,
}

impl From<Strength> for Assurance {
    fn from(strength: Strength) -> Self {
        match strength {
            Strength::L1 => Self::L1,
            Strength::L2 => Self::L2,
            Strength::L3 => Self::L3,
        }
    }
}

/// Runs a `verdict` command.
pub(crate) async fn run(app: &App, command: VerdictCommand) -> Outcome<Exit> {
    match command {
        VerdictCommand::List { host, output } => list(app, host, output).await,
        VerdictCommand::Set(args) => set(app, args).await,
        VerdictCommand::Sign { digest, sign } => {
            let session = app.session().await?;
            let waiting = waiting(&session, &digest).await?;
            sign_waiting(app, &session, &waiting, &sign).await
        }
    }
}

async fn list(app: &App, host: Option<HostId>, format: Format) -> Outcome<Exit> {
    let session = app.session().await?;
    let path =
        host.map_or_else(|| "/api/v1/statements".to_owned(), |h| format!("/api/v1/statements?host={h}"));
    let answer: Statements = session.client.get(&path).await?;
    let column = |title: &Message, machine, wide| Column { title: app.say(title), machine, wide };
    let mut listing = Listing {
        columns: vec![
            column(&msg!("column-host"), "host", false),
            column(&msg!("column-verdict"), "verdict", false),
            column(&msg!("column-signatures"), "signers", false),
            column(&msg!("column-issued"), "issued_at_ms", false),
            column(&msg!("column-valid"), "valid_until_ms", false),
            column(&msg!("column-digest"), "digest", false),
            column(&msg!("column-reason"), "reason", true),
        ],
        json_key: "statements",
        ..Listing::default()
    };
    for envelope in &answer.statements {
        // What does not verify here is not shown as a statement, whatever the controller says.
        let verified = match session.trust.verify_statement(envelope) {
            Ok(verified) => verified,
            Err(error) => {
                app.note(&msg!(
                    "statement-ignored",
                    digest = envelope.digest().short(),
                    why = error.to_string()
                ));
                continue;
            }
        };
        let (statement, digest) = (verified.value(), verified.digest());
        let signers: Vec<String> = verified.signers().iter().map(ToString::to_string).collect();
        let word = app.say(&statements::stated(statement.verdict));
        listing.rows.push(vec![
            statement.host_id.to_string(),
            statement.assurance.map_or_else(|| word.clone(), |a| format!("{word} ({a:?})")),
            signers.join(" "),
            time::date_clock(statement.issued_at_ms),
            time::date_clock(statement.valid_until_ms),
            digest.short(),
            printable(&statement.reason),
        ]);
        listing.values.push(vec![
            statement.host_id.to_string(),
            format!("{:?}", statement.verdict).to_lowercase(),
            signers.join(" "),
            statement.issued_at_ms.0.to_string(),
            statement.valid_until_ms.0.to_string(),
            digest.to_string(),
            statement.reason.clone(),
        ]);
        listing.names.push(digest.to_string());
        listing.json.push(json!({ "digest": digest, "signers": signers, "statement": statement }));
    }
    listing.print(format)?;
    Ok(Exit::Done)
}

async fn set(app: &App, args: Set) -> Outcome<Exit> {
    let verdict = Stated::from(args.verdict);
    let clean = verdict == Stated::Clean;
    if clean != args.assurance.is_some() {
        return Err(Problem::new(
            "E0601",
            if clean { msg!("assurance-missing") } else { msg!("assurance-useless") },
        ));
    }
    let draft = Draft {
        verdict,
        assurance: args.assurance.map(Assurance::from),
        valid_ms: time::millis(if clean { args.valid } else { WARNING_VALID }),
        evidence: args.evidence,
        reason: args.reason,
    };
    let session = app.session().await?;
    let fleet = fleet::load(app, &session).await?;
    let now = time::now();
    let mut envelopes = Vec::new();
    let selection = Selection { hosts: args.hosts, labels: args.labels, all: args.all };
    let chosen = selection.choose(&fleet.view.hosts)?;
    let hosts: Vec<HostId> = chosen.into_iter().map(|row| row.name.clone()).collect();
    for host in &hosts {
        let unknown = || Problem::new("E0640", msg!("host-unknown", host = host.to_string()));
        let row = fleet.host(host).ok_or_else(unknown)?;
        let listed = fleet.inventory.host(host).ok_or_else(unknown)?;
        if clean && !row.fresh {
            app.note(&msg!("clean-but-silent", host = host.to_string()));
        }
        envelopes.push(statements::draft(&session.trust, row, listed, &draft, now)?);
    }
    for envelope in &envelopes {
        let (statement, _) = statements::read(&session.trust, envelope)?;
        output::print(&statements::describe(app, &statement, &envelope.digest()))?;
    }
    let keys = session.keys(app, &args.sign)?;
    let word = app.say(&statements::stated(verdict));
    let list = names(hosts.iter());
    let question = msg!("confirm-verdict", count = envelopes.len(), verdict = word, names = list);
    app.confirm_count(&question, envelopes.len())?;
    let class = statements::class_of(verdict).0;
    let mut waiting = Vec::new();
    for mut envelope in envelopes {
        app.add_signatures(&mut envelope, &keys, session.trust.root(), |e| session.trust.tally(e, class))
            .await?;
        let state: StatementState = session.client.post("/api/v1/statements", &envelope).await?;
        if state.state != "accepted" {
            waiting.push(state);
        }
    }
    ended(app, &waiting)
}

/// Says what still waits for signatures.
fn ended(app: &App, waiting: &[StatementState]) -> Outcome<Exit> {
    let Some(first) = waiting.first() else {
        app.note(&msg!("statement-accepted"));
        return Ok(Exit::Done);
    };
    for state in waiting {
        let signers: Vec<String> = state.signers.iter().map(ToString::to_string).collect();
        app.note(&msg!(
            "statement-awaits",
            digest = state.digest.short(),
            have = signers.len(),
            need = state.needed,
            names = signers.join(", "),
        ));
    }
    Err(Problem::new("E0633", msg!("statement-next-signature", digest = first.digest.short())))
}

/// Every statement that awaits signatures.
pub(crate) async fn all_waiting(session: &Session) -> Outcome<Approvals> {
    session.client.get("/api/v1/approvals").await
}

/// A statement that awaits signatures, by its digest or its first digits.
pub(crate) async fn waiting(session: &Session, text: &str) -> Outcome<WaitingStatement> {
    let mut found: Vec<WaitingStatement> = all_waiting(session).await?.statements;
    found.retain(|s| !text.is_empty() && s.digest.to_string().starts_with(text));
    if found.len() > 1 {
        return Err(Problem::new("E0601", msg!("order-ambiguous", id = text)));
    }
    found.pop().ok_or_else(|| Problem::new("E0624", msg!("order-unknown", id = text)))
}

/// Shows a statement from its bytes, signs those bytes, and hands the signature in.
pub(crate) async fn sign_waiting(
    app: &App,
    session: &Session,
    waiting: &WaitingStatement,
    signers: &[String],
) -> Outcome<Exit> {
    let mut envelope: Envelope = waiting.envelope.clone();
    let digest = envelope.digest();
    let (statement, class): (_, Class) = statements::read(&session.trust, &envelope)?;
    output::print(&statements::describe(app, &statement, &digest))?;
    let keys = session.keys(app, signers)?;
    let verdict = app.say(&statements::stated(statement.verdict));
    let names = statement.host_id.to_string();
    app.confirm_count(&msg!("confirm-verdict", count = 1usize, verdict = verdict, names = names), 1)?;
    let before = envelope.signatures.len();
    app.add_signatures(&mut envelope, &keys, session.trust.root(), |e| session.trust.tally(e, class)).await?;
    let mut last = None;
    for armour in envelope.signatures.iter().skip(before) {
        let path = format!("/api/v1/statements/{digest}/signatures");
        last =
            Some(session.client.post::<_, StatementState>(&path, &NewSignature { signature: armour }).await?);
    }
    let still = match last {
        Some(state) if state.state == "accepted" => Vec::new(),
        Some(state) => vec![state],
        None => {
            let signers = session.trust.tally(&envelope, class).counted.into_iter().collect();
            let state = "awaiting_signatures".to_owned();
            vec![StatementState { digest, state, signers, needed: waiting.needed }]
        }
    };
    ended(app, &still)
}
