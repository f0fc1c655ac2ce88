//! `digue keys`: people's keys, and the allowed-signers file by which anyone verifies without Digue.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use digue_proto::envelope::PayloadType;
use digue_proto::fleet::view::API_VERSION;
use digue_proto::id::PersonId;
use digue_proto::trust::{Class, InventoryV1};
use digue_proto::trust_chain::Trust;
use serde_json::json;

use crate::app::App;
use crate::context;
use crate::files;
use crate::fleet;
use crate::keygen::{self, KeyType};
use crate::message::msg;
use crate::output::{self, Column, Format, Listing};
use crate::problem::{Exit, Outcome};

/// People's keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a dedicated key for a person.
    Init(Init),
    /// List the keys at hand.
    List {
        /// Output format.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Show a public key and its fingerprint.
    Show {
        /// A signer of the context, a key made by `keys init`, or a file.
        name: String,
    },
    /// Write the allowed-signers file for `ssh-keygen -Y verify`.
    Export {
        /// File to write; standard output without it.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Arguments of `keys init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The person's name.
    #[arg(long)]
    name: PersonId,
    /// Folder for the key pair; default: the keys folder of the configuration.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Kind of key; ed25519-sk lives in a FIDO security key.
    #[arg(long = "type", value_enum, default_value = "ed25519")]
    kind: KeyType,
    /// No passphrase: for throw-away laboratories only.
    #[arg(long)]
    no_passphrase: bool,
}

/// Runs a `keys` command.
pub(crate) async fn run(app: &App, command: Keys) -> Outcome<Exit> {
    match command {
        Keys::Init(args) => init(app, args).await,
        Keys::List { output } => list(app, output),
        Keys::Show { name } => show(app, &name),
        Keys::Export { output } => export(app, output).await,
    }
}

async fn init(app: &App, args: Init) -> Outcome<Exit> {
    let folder = args.dir.unwrap_or_else(|| app.config.keys());
    files::private_folder(&folder)?;
    let path = folder.join(args.name.as_str());
    let public = keygen::make(&path, args.kind, args.name.as_str(), args.no_passphrase).await?;
    app.note(&msg!("keys-made", path = path.display().to_string()));
    output::print(&format!("{public} {}\n{}", args.name, public.fingerprint()))?;
    Ok(Exit::Done)
}

fn known_keys(app: &App) -> Outcome<Vec<(String, PathBuf)>> {
    let mut keys = Vec::new();
    if let Ok(context) = app.context() {
        keys.extend(context.signers.into_iter().map(|s| (s.name.to_string(), s.key)));
    }
    let folder = app.config.keys();
    let made = std::fs::read_dir(&folder).into_iter().flatten().flatten();
    for path in made.map(|entry| entry.path()).filter(|p| p.extension().is_some_and(|e| e == "pub")) {
        let private = path.with_extension("");
        let shown = if private.is_file() { private } else { path };
        let name = shown.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        if !keys.iter().any(|(_, known)| *known == shown) {
            keys.push((name, shown));
        }
    }
    keys.sort();
    Ok(keys)
}

fn list(app: &App, format: Format) -> Outcome<Exit> {
    let column =
        |title: &crate::message::Message, machine| Column { title: app.say(title), machine, wide: false };
    let mut listing = Listing {
        columns: vec![
            column(&msg!("column-name"), "name"),
            column(&msg!("column-kind"), "kind"),
            column(&msg!("column-fingerprint"), "fingerprint"),
            column(&msg!("column-file"), "file"),
        ],
        json_key: "keys",
        ..Listing::default()
    };
    for (name, path) in known_keys(app)? {
        let (kind, fingerprint) = match keygen::public_key(&path) {
            Ok(key) => {
                let kind = if key.is_security_key() { "ed25519-sk" } else { "ed25519" };
                (kind.to_owned(), key.fingerprint().to_string())
            }
            Err(problem) => (problem.code, problem.cause.unwrap_or_default()),
        };
        let file = path.display().to_string();
        listing.json.push(json!({ "name": name, "kind": kind, "fingerprint": fingerprint, "file": file }));
        listing.names.push(name.clone());
        let row = vec![name, kind, fingerprint, file];
        listing.values.push(row.clone());
        listing.rows.push(row);
    }
    listing.print(format)?;
    Ok(Exit::Done)
}

fn show(app: &App, name: &str) -> Outcome<Exit> {
    let path = match app.context() {
        Ok(context) => context.signer_key(&app.config, name)?,
        Err(_) => context::key_file(&app.config, name)?,
    };
    let key = keygen::public_key(&path)?;
    output::print_json(&json!({
        "apiVersion": API_VERSION,
        "file": path.display().to_string(),
        "key": key,
        "fingerprint": key.fingerprint(),
        "security_key": key.is_security_key(),
    }))?;
    Ok(Exit::Done)
}

async fn export(app: &App, path: Option<PathBuf>) -> Outcome<Exit> {
    let session = app.session().await?;
    let inventory = fleet::inventory(&session).await?;
    let text = allowed_signers(&session.trust, inventory.as_ref().map(|i| i.value()));
    match path {
        Some(path) => {
            files::write(&path, text.as_bytes(), 0o644)?;
            app.note(&msg!("keys-exported", path = path.display().to_string(), count = text.lines().count()));
        }
        None => output::print(text.trim_end())?,
    }
    Ok(Exit::Done)
}

/// What hosts sign.
const HOST_TYPES: [PayloadType; 4] =
    [PayloadType::Receipt, PayloadType::Report, PayloadType::Heartbeat, PayloadType::Enrol];

/// One line a key (ALLOWED SIGNERS in ssh-keygen(1)): the principal, the namespaces that it may sign, the
/// key. Thresholds cannot be said in this form; who verifies counts the persons.
pub(crate) fn allowed_signers(trust: &Trust, inventory: Option<&InventoryV1>) -> String {
    let mut text = String::new();
    for person in &trust.root().persons {
        let types = PayloadType::ALL
            .into_iter()
            .filter(|t| Class::of(*t).is_some_and(|class| trust.holds(&person.id, class.role())));
        let namespaces: Vec<_> = types.map(PayloadType::namespace).collect();
        if namespaces.is_empty() {
            continue;
        }
        for key in &person.keys {
            text.push_str(&format!("{} namespaces=\"{}\" {}\n", person.id, namespaces.join(","), key.key));
        }
    }
    let namespaces: Vec<_> = HOST_TYPES.into_iter().map(PayloadType::namespace).collect();
    for host in inventory.into_iter().flat_map(|i| &i.hosts) {
        if let Some(key) = &host.host_key {
            text.push_str(&format!("{} namespaces=\"{}\" {key}\n", host.host_id, namespaces.join(",")));
        }
    }
    text
}
