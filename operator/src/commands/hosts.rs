//! `digue hosts`: the signed inventory and what is known of each server.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use digue_proto::fleet::view::{API_VERSION, HostView, Verdict};
use digue_proto::id::HostId;
use digue_proto::policy::Profile;
use digue_proto::report::Links;
use digue_proto::trust::Label;
use serde_json::json;

use crate::app::App;
use crate::commands::enroll::{self, Enroll};
use crate::files;
use crate::fleet;
use crate::host_table;
use crate::import::{self, Imported, Preview};
use crate::inventory_edit;
use crate::message::msg;
use crate::output::{self, Format};
use crate::problem::{Exit, Outcome, Problem};
use crate::selector::Labels;
use crate::state_words as words;
use crate::time;

/// Servers and the signed inventory.
#[derive(Debug, Subcommand)]
pub(crate) enum Hosts {
    /// List servers.
    List {
        /// Only servers with these labels: k=v, k!=v, joined by commas.
        #[arg(short = 'l', long = "label", value_name = "K=V")]
        labels: Vec<Labels>,
        /// Output format.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Show everything known of one server.
    Show {
        /// The server.
        host: HostId,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Set labels (k=v) or remove them (k-).
    Label {
        /// The server.
        host: HostId,
        /// k=v or k-.
        #[arg(required = true, value_name = "K=V|K-")]
        changes: Vec<LabelChange>,
        /// Signer; may be repeated.
        #[arg(long, value_name = "NAME", required = true)]
        sign: Vec<String>,
    },
    /// Add and change servers from a file; never retires any.
    Import(Import),
    /// Bring servers' keys into the inventory.
    Enroll(Enroll),
    /// Take a server out of the inventory.
    Retire {
        /// The server.
        host: HostId,
        /// Why; printed for the incident log.
        #[arg(long)]
        reason: String,
        /// Signer; may be repeated.
        #[arg(long, value_name = "NAME", required = true)]
        sign: Vec<String>,
    },
    /// Sign the inventory again as it is, after a trust root that took a signer's key back.
    Renew {
        /// Signer; may be repeated.
        #[arg(long, value_name = "NAME", required = true)]
        sign: Vec<String>,
    },
    /// Exit with 0 if the server is confirmed clean and in contact, else 1.
    IsClean {
        /// The server.
        host: HostId,
    },
    /// Exit with 0 if the server's links are cut, verified and in contact, else 1.
    IsCut {
        /// The server.
        host: HostId,
    },
}

/// `k=v` or `k-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LabelChange {
    /// Set to this value alone.
    Set(Label),
    /// Remove all values.
    Remove(String),
}

impl std::str::FromStr for LabelChange {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((key, value)) = text.split_once('=') {
            let (key, value) = (key.trim().to_owned(), value.trim().to_owned());
            if !key.is_empty() && !value.is_empty() {
                return Ok(Self::Set(Label { key, value }));
            }
        } else if let Some(key) = text.strip_suffix('-').filter(|key| !key.is_empty()) {
            return Ok(Self::Remove(key.to_owned()));
        }
        Err(format!("{text:?} is neither K=V nor K-"))
    }
}

/// Kinds of inventory files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Source {
    /// CSV with French or English titles.
    Csv,
    /// Output of `ansible-inventory --list`.
    Ansible,
}

/// Arguments of `hosts import`.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file; - is standard input.
    file: PathBuf,
    /// Kind of file.
    #[arg(long, value_enum)]
    from: Source,
    /// Show what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Signer; may be repeated.
    #[arg(long, value_name = "NAME", required_unless_present = "dry_run")]
    sign: Vec<String>,
}

/// Runs a `hosts` command.
pub(crate) async fn run(app: &App, command: Hosts) -> Outcome<Exit> {
    match command {
        Hosts::List { labels, output } => list(app, &labels, output).await,
        Hosts::Show { host, json } => show(app, &host, json).await,
        Hosts::Label { host, changes, sign } => label(app, &host, changes, &sign).await,
        Hosts::Import(args) => import_file(app, args).await,
        Hosts::Enroll(args) => enroll::run(app, args).await,
        Hosts::Retire { host, reason, sign } => retire(app, &host, &reason, &sign).await,
        Hosts::Renew { sign } => renew(app, &sign).await,
        Hosts::IsClean { host } => predicate(app, &host, |h| h.fresh && h.verdict == Verdict::Clean).await,
        Hosts::IsCut { host } => predicate(app, &host, |h| h.fresh && h.links == Some(Links::Cut)).await,
    }
}

async fn list(app: &App, labels: &[Labels], format: Format) -> Outcome<Exit> {
    let session = app.session().await?;
    let fleet = fleet::load(app, &session).await?;
    let rows: Vec<&HostView> =
        fleet.view.hosts.iter().filter(|h| labels.iter().all(|l| l.hold(&h.labels))).collect();
    host_table::listing(app, &rows, fleet.view.computed_at_ms)?.print(format)?;
    Ok(Exit::Done)
}

fn unknown(host: &HostId) -> Problem {
    Problem::new("E0640", msg!("host-unknown", host = host.to_string()))
}

async fn predicate(app: &App, host: &HostId, holds: impl Fn(&HostView) -> bool) -> Outcome<Exit> {
    let session = app.session().await?;
    let fleet = fleet::load(app, &session).await?;
    let row = fleet.host(host).ok_or_else(|| unknown(host))?;
    let contact = if row.fresh { "fresh" } else { "stale" };
    output::print(&format!(
        "{} {} {contact}",
        words::verdict_name(row.verdict),
        words::links_name(row.links)
    ))?;
    Ok(if holds(row) { Exit::Done } else { Exit::Failed })
}

async fn show(app: &App, host: &HostId, as_json: bool) -> Outcome<Exit> {
    let session = app.session().await?;
    let fleet = fleet::load(app, &session).await?;
    let row = fleet.host(host).ok_or_else(|| unknown(host))?;
    let listed = fleet.inventory.host(host).ok_or_else(|| unknown(host))?;
    let report = crate::reports::fetch(&session, listed).await?;
    if as_json {
        output::print_json(&json!({
            "apiVersion": API_VERSION, "host": row, "inventory": listed, "report": report,
        }))?;
        return Ok(Exit::Done);
    }
    let now = fleet.view.computed_at_ms;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let list = |values: &[String]| values.join("; ");
    let signers: Vec<String> = row.verdict_by.iter().map(ToString::to_string).collect();
    let labels: Vec<String> = row.labels.iter().map(|l| format!("{}={}", l.key, l.value)).collect();
    let addresses: Vec<String> = listed.addresses.iter().map(ToString::to_string).collect();
    let mut lines = vec![
        (app.say(&msg!("column-host")), row.name.to_string()),
        (app.say(&msg!("column-verdict")), format!("{} {}", words::verdict_cell(app, row), list(&signers))),
        (app.say(&msg!("host-lapsed")), text(&row.lapsed)),
        (app.say(&msg!("column-links")), words::links_cell(app, row)),
        (
            app.say(&msg!("host-profile")),
            report.as_ref().map_or_else(String::new, |r| profile(app, r.policy.profile)),
        ),
        (app.say(&msg!("host-order")), row.order_id.map_or_else(String::new, |id| id.short())),
        (
            app.say(&msg!("host-awaited")),
            list(&row.unconfirmed.iter().map(|id| id.short()).collect::<Vec<_>>()),
        ),
        (app.say(&msg!("column-heard")), host_table::last_heard(app, row, now)),
        (app.say(&msg!("column-level")), row.level.map_or_else(String::new, |l| format!("{l:?}"))),
        (app.say(&msg!("host-key")), row.host_key.as_ref().map_or_else(String::new, ToString::to_string)),
        (app.say(&msg!("host-addresses")), list(&addresses)),
        (app.say(&msg!("host-labels")), labels.join(" ")),
        (app.say(&msg!("host-drift")), list(&row.drift)),
        (app.say(&msg!("host-alarms")), list(&row.alarms)),
        (app.say(&msg!("host-gaps")), list(&row.chain_gaps)),
    ];
    if let Some(proofs) = &row.proofs {
        let checks = [
            (msg!("proof-read-back"), &proofs.read_back),
            (msg!("proof-probes"), &proofs.probes),
            (msg!("proof-outside"), &proofs.outside),
            (msg!("proof-management"), &proofs.management),
        ];
        lines.extend(checks.map(|(title, check)| (app.say(&title), crate::reports::check_words(app, check))));
    }
    if let Some(report) = &report {
        lines.push((
            app.say(&msg!("host-stays-open")),
            crate::plan::show::stays_open(app, &report.policy).join("; "),
        ));
        let blocked: Vec<String> = report.blocked.networks.iter().map(ToString::to_string).collect();
        lines.push((app.say(&msg!("host-blocked")), blocked.join(" ")));
    }
    let shown = lines.into_iter().filter(|(_, value)| !value.trim().is_empty());
    let shown: Vec<String> =
        shown.map(|(title, value)| format!("{title:<22} {}", output::printable(&value))).collect();
    output::print(&shown.join("\n"))?;
    Ok(Exit::Done)
}

fn profile(app: &App, profile: Profile) -> String {
    app.say(&match profile {
        Profile::Observe => msg!("profile-observe"),
        Profile::Cut => msg!("profile-cut"),
        Profile::Isolate => msg!("profile-isolate"),
        Profile::Dark => msg!("profile-dark"),
    })
}

async fn label(app: &App, host: &HostId, changes: Vec<LabelChange>, sign: &[String]) -> Outcome<Exit> {
    let session = app.session().await?;
    let current = fleet::inventory(&session).await?;
    let mut inventory = inventory_edit::next(current.as_ref().map(|i| i.value()), &session.trust);
    let entry = inventory.hosts.iter_mut().find(|h| h.host_id == *host).ok_or_else(|| unknown(host))?;
    for change in changes {
        match change {
            LabelChange::Set(label) => {
                entry.labels.retain(|l| l.key != label.key);
                entry.labels.push(label);
            }
            LabelChange::Remove(key) => entry.labels.retain(|l| l.key != key),
        }
    }
    let question = msg!("confirm-inventory", count = 1usize);
    inventory_edit::submit(app, &session, inventory, sign, &question, 1).await?;
    Ok(Exit::Done)
}

async fn renew(app: &App, sign: &[String]) -> Outcome<Exit> {
    let session = app.session().await?;
    let fleet = fleet::load(app, &session).await?;
    let inventory = inventory_edit::next(Some(&fleet.inventory), &session.trust);
    let count = inventory.hosts.len();
    let question = msg!("confirm-renew", count = count);
    inventory_edit::submit(app, &session, inventory, sign, &question, count).await?;
    Ok(Exit::Done)
}

async fn retire(app: &App, host: &HostId, reason: &str, sign: &[String]) -> Outcome<Exit> {
    let session = app.session().await?;
    let fleet = fleet::load(app, &session).await?;
    let row = fleet.host(host).ok_or_else(|| unknown(host))?;
    if row.links.is_some_and(|links| links != Links::Open) {
        app.note(&msg!("retire-contained", host = host.to_string()));
    }
    let mut inventory = inventory_edit::next(Some(&fleet.inventory), &session.trust);
    inventory.hosts.retain(|h| h.host_id != *host);
    let question = msg!("confirm-retire", host = host.to_string());
    inventory_edit::submit(app, &session, inventory, sign, &question, 1).await?;
    let at = time::date_clock(time::now());
    output::print(&app.say(&msg!("host-retired", at = at, host = host.to_string(), reason = reason)))?;
    Ok(Exit::Done)
}

fn read(args: &Import) -> Outcome<Vec<Imported>> {
    let bytes = files::read(&args.file)?;
    let (code, read) = match args.from {
        Source::Csv => ("E0641", import::csv::read(&bytes)),
        Source::Ansible => ("E0642", import::ansible::read(&bytes)),
    };
    read.map_err(|problems| {
        let path = args.file.display().to_string();
        let count = problems.len();
        Problem::new(code, msg!("import-refused", path = path, count = count)).because(problems.join("\n  "))
    })
}

async fn import_file(app: &App, args: Import) -> Outcome<Exit> {
    // Before anything is asked of the controller: a bad file needs none.
    let imported = read(&args)?;
    let session = app.session().await?;
    let current = fleet::inventory(&session).await?;
    let preview = import::preview(current.as_ref().map(|i| i.value()), &imported);
    print_preview(app, &preview)?;
    let exit = if preview.ambiguous.is_empty() { Exit::Done } else { Exit::Partial };
    if args.dry_run || preview.count() == 0 {
        return Ok(exit);
    }
    let inventory = inventory_edit::next(current.as_ref().map(|i| i.value()), &session.trust);
    let inventory = preview.applied_to(inventory);
    let question = msg!("confirm-inventory", count = preview.count());
    inventory_edit::submit(app, &session, inventory, &args.sign, &question, preview.count()).await?;
    Ok(exit)
}

fn print_preview(app: &App, preview: &Preview) -> Outcome<()> {
    let mut lines = Vec::new();
    lines.extend(preview.added.iter().map(|h| format!("+ {}", h.host_id)));
    lines.extend(preview.changed.iter().map(|(h, how)| format!("~ {}  {}", h.host_id, how.join("  "))));
    for row in &preview.ambiguous {
        let (name, existing) = (row.name.to_string(), row.existing.to_string());
        let address = row.address.to_string();
        lines.push(app.say(&msg!("import-ambiguous", name = name, existing = existing, address = address)));
    }
    if !preview.missing.is_empty() {
        let names: Vec<String> = preview.missing.iter().map(ToString::to_string).collect();
        lines.push(app.say(&msg!("import-missing", count = names.len(), names = names.join(", "))));
    }
    lines.push(app.say(&msg!(
        "import-counts",
        added = preview.added.len(),
        changed = preview.changed.len(),
        unchanged = preview.unchanged,
        ambiguous = preview.ambiguous.len(),
    )));
    output::print(&lines.join("\n"))
}
