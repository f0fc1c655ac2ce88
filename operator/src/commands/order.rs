//! `digue order`: orders as they were signed, and where they stand.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use digue_proto::bundle::OrderBundle;
use digue_proto::envelope::Envelope;
use digue_proto::fleet::view::{API_VERSION, OrderState, OrderView};
use digue_proto::id::{Digest, OrderId};
use digue_proto::strict;
use digue_proto::trust::InventoryV1;
use digue_proto::trust_chain::Trust;
use digue_proto::verify::VerifyError;
use serde_json::json;

use crate::app::{App, Session};
use crate::client::api::{NewSignature, OrderDetail};
use crate::commands::apply::{more_signatures, not_too_early};
use crate::commands::keys::allowed_signers;
use crate::files;
use crate::fleet;
use crate::follow::{self, Counts};
use crate::inventory_watch;
use crate::message::{Message, msg};
use crate::output::{self, Column, Format, Listing, printable};
use crate::plan::file::{Read, read_bundle};
use crate::plan::{collect, show};
use crate::problem::{Exit, OrProblem as _, Outcome, Problem};
use crate::state_words as words;
use crate::time;
use crate::trust_store::TrustStore;

/// Largest bundle file, in bytes.
const MAX_BUNDLE: usize = 64 * 1024 * 1024;

/// Orders.
#[derive(Debug, Subcommand)]
pub(crate) enum OrderCommand {
    /// List orders.
    List {
        /// Output format.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Show an order from its signed bytes, and how far it has come on each host.
    Show {
        /// The order, or the first digits of its name.
        id: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Follow an order until every host is settled.
    Watch {
        /// The order, or the first digits of its name.
        id: String,
        /// How long to wait.
        #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = time::duration)]
        timeout: Duration,
    },
    /// Add a signature to an order that awaits some.
    Sign {
        /// The order, or the first digits of its name.
        id: String,
        /// Signer of the context, or key file; may be repeated.
        #[arg(long, value_name = "NAME", required = true)]
        sign: Vec<String>,
        /// Wait until every host is settled.
        #[arg(long)]
        wait: bool,
        /// How long to wait.
        #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = time::duration)]
        timeout: Duration,
    },
    /// Verify an order or bundle file by the local trust roots; no controller is needed.
    Verify {
        /// The file; - is standard input.
        file: PathBuf,
    },
    /// Withdraw an order that still awaits signatures.
    Cancel {
        /// The order, or the first digits of its name.
        id: String,
    },
    /// Write an order as loose files that stock tools verify.
    Export {
        /// The order, or the first digits of its name.
        id: String,
        /// Folder to make.
        #[arg(short, long, value_name = "DIR")]
        dir: PathBuf,
    },
}

/// Runs an `order` command.
pub(crate) async fn run(app: &App, command: OrderCommand) -> Outcome<Exit> {
    match command {
        OrderCommand::List { output } => {
            let session = app.session().await?;
            let orders = collect::orders(&session).await?;
            listing(app, &orders)?.print(output)?;
            Ok(Exit::Done)
        }
        OrderCommand::Show { id, json } => {
            let session = app.session().await?;
            show_order(app, &session, resolve(&session, &id).await?, json).await
        }
        OrderCommand::Watch { id, timeout } => {
            let session = app.session().await?;
            let id = resolve(&session, &id).await?;
            watch(app, &session, id, timeout).await
        }
        OrderCommand::Sign { id, sign, wait, timeout } => {
            let session = app.session().await?;
            let id = resolve(&session, &id).await?;
            sign_order(app, &session, id, &sign, wait.then_some(timeout)).await
        }
        OrderCommand::Verify { file } => verify(app, &file),
        OrderCommand::Cancel { id } => {
            let session = app.session().await?;
            let id = resolve(&session, &id).await?;
            let () = session.client.submit(&format!("/api/v1/orders/{id}/cancel"), &json!({})).await?;
            app.note(&msg!("order-withdrawn", id = id.short()));
            Ok(Exit::Done)
        }
        OrderCommand::Export { id, dir } => {
            let session = app.session().await?;
            let id = resolve(&session, &id).await?;
            export(app, &session, id, &dir).await
        }
    }
}

/// An order by its whole name, or by the first digits if they name only one.
pub(crate) async fn resolve(session: &Session, text: &str) -> Outcome<OrderId> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let orders = collect::orders(session).await?;
    let mut found = orders.iter().filter(|o| !text.is_empty() && o.order_id.to_string().starts_with(text));
    match (found.next(), found.next()) {
        (Some(only), None) => Ok(only.order_id),
        (Some(_), Some(_)) => Err(Problem::new("E0601", msg!("order-ambiguous", id = text))),
        (None, _) => Err(Problem::new("E0624", msg!("order-unknown", id = text))),
    }
}

/// A listing of orders.
pub(crate) fn listing(app: &App, orders: &[OrderView]) -> Outcome<Listing> {
    let column = |title: &Message, machine, wide| Column { title: app.say(title), machine, wide };
    let mut listing = Listing {
        columns: vec![
            column(&msg!("column-order"), "order_id", false),
            column(&msg!("column-action"), "action", false),
            column(&msg!("column-state"), "state", false),
            column(&msg!("column-signatures"), "signers", false),
            column(&msg!("column-verified"), "verified", false),
            column(&msg!("column-incident"), "incident", false),
            column(&msg!("column-issued"), "issued_at_ms", false),
            column(&msg!("column-reason"), "reason", true),
        ],
        json_key: "orders",
        ..Listing::default()
    };
    for order in orders {
        let verified =
            order.hosts.iter().filter(|h| h.phase == digue_proto::fleet::view::Phase::Verified).count();
        let signers: Vec<String> = order.signers.iter().map(ToString::to_string).collect();
        listing.rows.push(vec![
            order.order_id.short(),
            order.action.clone(),
            app.say(&words::order_progress(order)),
            format!("{}/{} {}", signers.len(), order.needed, signers.join(" ")),
            format!("{verified}/{}", order.hosts.len()),
            order.incident.clone(),
            time::date_clock(order.issued_at_ms),
            order.reason.clone(),
        ]);
        listing.values.push(vec![
            order.order_id.to_string(),
            order.action.clone(),
            words::order_state_name(order.state).to_owned(),
            signers.join(" "),
            verified.to_string(),
            order.incident.clone(),
            order.issued_at_ms.0.to_string(),
            order.reason.clone(),
        ]);
        listing.names.push(order.order_id.to_string());
        listing.json.push(serde_json::to_value(order).or_problem(|| Problem::of("E0605"))?);
    }
    Ok(listing)
}

/// Fetches an order and reads it from its bytes; the controller's words about it are not used.
pub(crate) async fn fetch(session: &Session, id: OrderId) -> Outcome<(OrderDetail, Read)> {
    let detail = follow::ask(session, id).await?;
    let read = read_bundle(&detail.bundle)?;
    if read.order.order_id != id || read.order.deployment_id != session.trust.deployment_id() {
        return Err(Problem::new("E0661", msg!("order-other-bytes", id = id.to_string())));
    }
    Ok((detail, read))
}

/// Whose signatures count, as lines.
pub(crate) fn signature_lines(app: &App, trust: &Trust, envelope: &Envelope, read: &Read) -> Vec<String> {
    let tally = trust.tally(envelope, read.class);
    let need = show::needed(trust, &read.order.action);
    let names: Vec<String> = tally.counted.iter().map(ToString::to_string).collect();
    let mut lines =
        vec![app.say(&msg!("signatures-so-far", have = names.len(), need = need, names = names.join(", ")))];
    lines.extend(
        tally
            .rejected
            .iter()
            .map(|why| app.say(&msg!("signature-rejected", why = printable(&why.to_string())))),
    );
    lines
}

async fn show_order(app: &App, session: &Session, id: OrderId, as_json: bool) -> Outcome<Exit> {
    let (detail, read) = fetch(session, id).await?;
    let envelope = &detail.bundle.order;
    if as_json {
        let signers: Vec<_> = session.trust.tally(envelope, read.class).counted.into_iter().collect();
        output::print_json(&json!({
            "apiVersion": API_VERSION,
            "order": detail.order,
            "parsed": read.order,
            "targets": read.leaves,
            "digest": read.digest,
            "payload_type": read.payload_type,
            "verified_signers": signers,
        }))?;
        return Ok(Exit::Done);
    }
    let mut lines = show::order(app, &read, &session.trust);
    lines.extend(signature_lines(app, &session.trust, envelope, &read));
    lines.push(app.say(&words::order_progress(&detail.order)));
    output::print(&lines.join("\n"))?;
    if !detail.order.hosts.is_empty() {
        let column = |title: &Message, machine| Column { title: app.say(title), machine, wide: false };
        let rows = detail.order.hosts.iter().map(|host| {
            let code = host.code.as_deref().map_or_else(String::new, |c| format!("digue-{c} "));
            let remarks = host.remarks.join("; ");
            let detail = [host.detail.clone().unwrap_or_default(), remarks].join(" ");
            vec![
                host.host.to_string(),
                app.say(&words::phase(host.phase)),
                host.at_ms.map_or_else(String::new, time::clock),
                format!("{code}{}", detail.trim()),
            ]
        });
        let listing = Listing {
            columns: vec![
                column(&msg!("column-host"), "host"),
                column(&msg!("column-phase"), "phase"),
                column(&msg!("column-at"), "at"),
                column(&msg!("column-remarks"), "remarks"),
            ],
            rows: rows.collect(),
            ..Listing::default()
        };
        listing.print(Format::Table)?;
    }
    Ok(Exit::Done)
}

/// Waits for an order and says how it ended.
pub(crate) async fn watch(app: &App, session: &Session, id: OrderId, timeout: Duration) -> Outcome<Exit> {
    let (detail, read) = fetch(session, id).await?;
    if detail.order.state == OrderState::AwaitingSignatures {
        return Err(more_signatures(app, &detail.order));
    }
    let inventory = inventory(app, session).await?;
    let followed = follow::follow(app, session, id, &read.leaves, timeout).await?;
    follow::conclude(app, session, &inventory, &read.order, &followed).await
}

async fn inventory(app: &App, session: &Session) -> Outcome<InventoryV1> {
    let verified = fleet::inventory(session).await?;
    let verified = verified.ok_or_else(|| Problem::new("E0640", msg!("inventory-none")))?;
    inventory_watch::note_changes(app, session, &verified)?;
    Ok(verified.value().clone())
}

/// Shows an order from its bytes, signs those bytes, and hands the signature in.
pub(crate) async fn sign_order(
    app: &App,
    session: &Session,
    id: OrderId,
    signers: &[String],
    wait: Option<Duration>,
) -> Outcome<Exit> {
    let (detail, read) = fetch(session, id).await?;
    match detail.order.state {
        OrderState::AwaitingSignatures => {}
        OrderState::Sealed => {
            let have = session.trust.tally(&detail.bundle.order, read.class).counted.len();
            if have < session.trust.threshold(read.class.role()) {
                return Err(Problem::new("E0661", msg!("order-sealed-without", id = id.to_string())));
            }
            app.note(&msg!("order-already-sealed", id = id.short()));
            return Ok(Exit::Done);
        }
        OrderState::Cancelled => {
            return Err(Problem::new("E0652", msg!("order-was-cancelled", id = id.short())));
        }
    }
    if read.order.not_after_ms < time::now() {
        let at = time::date_clock(read.order.not_after_ms);
        return Err(Problem::new("E0652", msg!("plan-expired", at = at)));
    }
    let mut lines = show::order(app, &read, &session.trust);
    lines.extend(signature_lines(app, &session.trust, &detail.bundle.order, &read));
    output::print(&lines.join("\n"))?;
    let inventory = inventory(app, session).await?;
    for leaf in &read.leaves {
        let known = inventory.host(&leaf.host_id).and_then(digue_proto::trust::InventoryHost::fingerprint);
        if known.as_ref() != Some(&leaf.host_key) {
            return Err(Problem::new("E0661", msg!("order-other-key", host = leaf.host_id.to_string())));
        }
    }
    let keys = session.keys(app, signers)?;
    app.confirm_count(&show::question(&read.order.action, read.leaves.len()), read.leaves.len())?;
    let mut envelope = detail.bundle.order.clone();
    let before = envelope.signatures.len();
    app.add_signatures(&mut envelope, &keys, session.trust.root(), |e| session.trust.tally(e, read.class))
        .await?;
    not_too_early(session, &read, &envelope)?;
    let mut view = detail.order;
    for armour in envelope.signatures.iter().skip(before) {
        let path = format!("/api/v1/orders/{id}/signatures");
        view = session.client.post(&path, &NewSignature { signature: armour }).await?;
    }
    if view.state != OrderState::Sealed {
        return Err(more_signatures(app, &view));
    }
    app.note(&msg!("order-sealed-now", id = id.to_string()));
    match wait {
        Some(timeout) => {
            let followed = follow::follow(app, session, id, &read.leaves, timeout).await?;
            follow::conclude(app, session, &inventory, &read.order, &followed).await
        }
        None => {
            let counts = Counts::of(&view.hosts);
            app.note_text(&counts.summary(app, id));
            Ok(Exit::Done)
        }
    }
}

/// Reads a bundle, or a bare envelope.
fn read_file(path: &Path) -> Outcome<(Envelope, Option<OrderBundle>)> {
    let bytes = files::read(path)?;
    if let Ok(bundle) = strict::from_slice::<OrderBundle>(&bytes, MAX_BUNDLE) {
        return Ok((bundle.order.clone(), Some(bundle)));
    }
    let bad = || Problem::new("E0661", msg!("order-not-a-file", path = path.display().to_string()));
    Envelope::from_json(&bytes).map(|envelope| (envelope, None)).or_problem(bad)
}

fn verify(app: &App, path: &Path) -> Outcome<Exit> {
    let trust = TrustStore::new(&app.context()?.trust_dir).require()?;
    let (envelope, bundle) = read_file(path)?;
    let verified = trust.verify_order(&envelope).map_err(|error| {
        let message = if let VerifyError::Threshold { have, need, .. } = &error {
            msg!("signatures-counted", have = *have, need = *need)
        } else {
            msg!("order-not-verified")
        };
        Problem::new(error.code(), message).because(error)
    })?;
    if let Some(bundle) = &bundle {
        let read = read_bundle(bundle)?;
        output::print(&show::order(app, &read, &trust).join("\n"))?;
    }
    let names: Vec<String> = verified.signers().iter().map(ToString::to_string).collect();
    let digest: Digest = verified.digest();
    output::print(&app.say(&msg!("order-verified", digest = digest.to_string(), names = names.join(", "))))?;
    Ok(Exit::Done)
}

async fn export(app: &App, session: &Session, id: OrderId, dir: &Path) -> Outcome<Exit> {
    let (detail, read) = fetch(session, id).await?;
    let envelope = &detail.bundle.order;
    let inventory = inventory(app, session).await?;
    if dir.exists() {
        return Err(Problem::new("E0606", msg!("file-exists", path = dir.display().to_string())));
    }
    files::private_folder(dir)?;
    files::write(&dir.join("payload.json"), &envelope.payload, 0o644)?;
    let namespace = envelope.payload_type.namespace();
    let mut commands = Vec::new();
    for (number, armour) in envelope.signatures.iter().enumerate() {
        let alone = Envelope { signatures: vec![armour.clone()], ..envelope.clone() };
        let person = session.trust.tally(&alone, read.class).counted.into_iter().next();
        let name = person.map_or_else(|| format!("not-counted-{}", number + 1), |p| p.to_string());
        files::write(&dir.join(format!("{name}.sig")), armour.as_bytes(), 0o644)?;
        commands.push(format!(
            "ssh-keygen -Y verify -f allowed_signers -I {name} -n {namespace} -s {name}.sig < payload.json"
        ));
    }
    let signers = allowed_signers(&session.trust, Some(&inventory));
    files::write(&dir.join("allowed_signers"), signers.as_bytes(), 0o644)?;
    let bundle = strict::to_vec(&detail.bundle).or_problem(|| Problem::of("E0605"))?;
    files::write(&dir.join("bundle.json"), &bundle, 0o644)?;
    let sha = format!("{}  payload.json\n", read.digest);
    files::write(&dir.join("SHA256SUMS"), sha.as_bytes(), 0o644)?;
    let mut readme = show::order(app, &read, &session.trust);
    readme.push(String::new());
    readme.push(app.say(&msg!("export-readme")));
    readme.push("sha256sum -c SHA256SUMS".to_owned());
    readme.extend(commands);
    files::write(&dir.join("README.txt"), format!("{}\n", readme.join("\n")).as_bytes(), 0o644)?;
    app.note(&msg!("order-exported", id = id.short(), path = dir.display().to_string()));
    Ok(Exit::Done)
}
