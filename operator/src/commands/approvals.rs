//! `digue approvals`: everything that waits for a signature, orders and statements alike.

use clap::Subcommand;
use serde_json::json;

use crate::app::{App, Session};
use crate::commands::{order, verdict};
use crate::message::{Message, msg};
use crate::output::{self, Column, Format, Listing};
use crate::plan::show;
use crate::problem::{Exit, Outcome};
use crate::statements;

/// What waits for a signature.
#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// List what waits.
    List {
        /// Output format.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Show one from its bytes.
    Show {
        /// An order or a statement, or the first digits.
        id: String,
    },
    /// Show one from its bytes, and sign them.
    Sign {
        /// An order or a statement, or the first digits.
        id: String,
        /// Signer of the context, or key file; may be repeated.
        #[arg(long, value_name = "NAME", required = true)]
        sign: Vec<String>,
    },
}

/// Runs an `approvals` command.
pub(crate) async fn run(app: &App, command: ApprovalsCommand) -> Outcome<Exit> {
    let session = app.session().await?;
    match command {
        ApprovalsCommand::List { output } => list(app, &session, output).await,
        ApprovalsCommand::Show { id } => {
            if is_statement(&session, &id).await? {
                let waiting = verdict::waiting(&session, &id).await?;
                let (statement, _) = statements::read(&session.trust, &waiting.envelope)?;
                output::print(&statements::describe(app, &statement, &waiting.envelope.digest()))?;
            } else {
                let id = order::resolve(&session, &id).await?;
                let (detail, read) = order::fetch(&session, id).await?;
                let mut lines = show::order(app, &read, &session.trust);
                lines.extend(order::signature_lines(app, &session.trust, &detail.bundle.order, &read));
                output::print(&lines.join("\n"))?;
            }
            Ok(Exit::Done)
        }
        ApprovalsCommand::Sign { id, sign } => {
            if is_statement(&session, &id).await? {
                let waiting = verdict::waiting(&session, &id).await?;
                return verdict::sign_waiting(app, &session, &waiting, &sign).await;
            }
            let id = order::resolve(&session, &id).await?;
            order::sign_order(app, &session, id, &sign, None).await
        }
    }
}

/// Whether digits name a waiting statement rather than an order.
async fn is_statement(session: &Session, id: &str) -> Outcome<bool> {
    let waiting = verdict::all_waiting(session).await?;
    Ok(waiting.statements.iter().any(|s| !id.is_empty() && s.digest.to_string().starts_with(id)))
}

async fn list(app: &App, session: &Session, format: Format) -> Outcome<Exit> {
    let waiting = verdict::all_waiting(session).await?;
    let column = |title: &Message, machine| Column { title: app.say(title), machine, wide: false };
    let mut listing = Listing {
        columns: vec![
            column(&msg!("column-id"), "id"),
            column(&msg!("column-kind"), "kind"),
            column(&msg!("column-what"), "what"),
            column(&msg!("column-signatures"), "signers"),
            column(&msg!("column-reason"), "reason"),
        ],
        json_key: "approvals",
        json_more: vec![("count", json!(waiting.orders.len() + waiting.statements.len()))],
        ..Listing::default()
    };
    let mut push =
        |id: String, kind: &str, what: String, signers: Vec<String>, needed: usize, reason: String| {
            let short: String = id.chars().take(8).collect();
            let have = format!("{}/{needed} {}", signers.len(), signers.join(" "));
            listing.rows.push(vec![short, kind.to_owned(), what.clone(), have, reason.clone()]);
            listing.values.push(vec![
                id.clone(),
                kind.to_owned(),
                what.clone(),
                signers.join(" "),
                reason.clone(),
            ]);
            listing.json.push(json!({
                "id": id, "kind": kind, "what": what, "signers": signers, "needed": needed, "reason": reason,
            }));
            listing.names.push(id);
        };
    for waiting in &waiting.orders {
        // What is listed comes from the bytes that would be signed.
        let (detail, read) = order::fetch(session, waiting.order_id).await?;
        let what = app.say(&show::effect(&read.order.action, read.leaves.len()));
        let signers = session.trust.tally(&detail.bundle.order, read.class).counted;
        let signers = signers.iter().map(ToString::to_string).collect();
        let needed = show::needed(&session.trust, &read.order.action);
        push(read.order.order_id.to_string(), "order", what, signers, needed, read.order.reason.clone());
    }
    for waiting in &waiting.statements {
        let (statement, class) = statements::read(&session.trust, &waiting.envelope)?;
        let what = format!("{} {}", statement.host_id, app.say(&statements::stated(statement.verdict)));
        let signers = session.trust.tally(&waiting.envelope, class).counted;
        let signers = signers.iter().map(ToString::to_string).collect();
        let needed = session.trust.threshold(class.role());
        push(
            waiting.envelope.digest().to_string(),
            "statement",
            what,
            signers,
            needed,
            statement.reason.clone(),
        );
    }
    if listing.names.is_empty() && format == Format::Table {
        app.note(&msg!("approvals-none"));
        return Ok(Exit::Done);
    }
    listing.print(format)?;
    Ok(Exit::Done)
}
