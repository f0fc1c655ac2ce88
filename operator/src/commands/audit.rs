//! `digue audit`: verifying the controller's store by the local trust roots.

use clap::{Args, Subcommand};
use digue_proto::fleet::view::{API_VERSION, FleetView};
use serde_json::json;

use crate::app::{App, Session};
use crate::audit::{self, Auditor, Checkpoint};
use crate::client::api::Envelopes;
use crate::files;
use crate::message::msg;
use crate::output::{self, printable};
use crate::problem::{Exit, Outcome, Problem};
use crate::time;
use crate::trust_store::TrustStore;

/// Documents asked for at once.
const PAGE: u32 = 500;
/// File of the trust folder that remembers where the store ended.
const SEEN: &str = "audit_seen";

/// The controller's store.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Verify every stored document; exit with 12 if one does not hold.
    Verify(Verify),
}

/// Arguments of `audit verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// As JSON.
    #[arg(long)]
    json: bool,
}

/// Runs an `audit` command.
pub(crate) async fn run(app: &App, command: AuditCommand) -> Outcome<Exit> {
    let AuditCommand::Verify(args) = command;
    let session = app.session().await?;
    let store = TrustStore::new(&session.context.trust_dir);
    let mut auditor = Auditor::new(session.trust.deployment_id(), store.chain()?, seen(&session)?);
    let before: FleetView = session.client.get("/api/v1/hosts").await?;
    let mut after = 0;
    loop {
        let page: Envelopes =
            session.client.get(&format!("/api/v1/envelopes?after={after}&limit={PAGE}")).await?;
        page.envelopes.iter().for_each(|stored| auditor.take(stored));
        match page.next {
            Some(next) if next > after => after = next,
            Some(_) | None => break,
        }
    }
    let now: FleetView = session.client.get("/api/v1/hosts").await?;
    let checkpoint = auditor.checkpoint();
    let (mut found, fleet) = auditor.finish();
    found.failures.extend(audit::claims(&before, &now, &fleet, time::now()));
    if args.json {
        output::print_json(&json!({ "apiVersion": API_VERSION, "audit": found }))?;
    } else {
        let by_type: Vec<String> =
            found.by_type.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        let text = msg!(
            "audit-counts",
            documents = found.documents,
            chains = found.chains,
            awaiting = found.awaiting,
            list = by_type.join(", "),
        );
        output::print(&app.say(&text))?;
        for failure in &found.failures {
            let seq = failure.seq.map_or_else(String::new, |seq| format!("#{seq} "));
            let host = failure.host.as_ref().map_or_else(String::new, |host| format!("{host}: "));
            output::print(&format!("{} {seq}{host}{}", app.glyphs.holds(false), printable(&failure.what)))?;
        }
    }
    if found.failures.is_empty() {
        remember(&session, checkpoint)?;
        app.note(&msg!("audit-holds"));
        return Ok(Exit::Done);
    }
    Err(Problem::new("E0680", msg!("audit-failures", count = found.failures.len())))
}

/// Where the last audit at this desk that found nothing wrong ended.
fn seen(session: &Session) -> Outcome<Option<Checkpoint>> {
    let bytes = files::read_if_there(&session.context.trust_dir.join(SEEN))?.unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut words = text.split_whitespace();
    let seq = words.next().and_then(|word| word.parse().ok());
    let history = words.next().and_then(|word| word.parse().ok());
    Ok(seq.zip(history).map(|(seq, history)| Checkpoint { seq, history }))
}

fn remember(session: &Session, Checkpoint { seq, history }: Checkpoint) -> Outcome<()> {
    files::write(&session.context.trust_dir.join(SEEN), format!("{seq} {history}\n").as_bytes(), 0o600)
}
