//! `digue context`: which controller and which keys a run uses.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use serde_json::json;

use crate::app::App;
use crate::context::{Endpoint, Network, NewContext, Signer};
use crate::message::msg;
use crate::output::{Column, Format, Listing};
use crate::problem::{Exit, Outcome};

/// Contexts: controller, trust folder, signers.
#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Add a context.
    Add(Add),
    /// List contexts.
    List {
        /// Output format.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Make a context the default.
    Use {
        /// Its name.
        name: String,
    },
}

/// Arguments of `context add`.
#[derive(Debug, Args)]
pub(crate) struct Add {
    /// Its name.
    name: String,
    /// `unix:///…/api.sock` or `https://HOST:PORT`.
    #[arg(long, value_name = "URL")]
    controller: String,
    /// SHA-256 of the controller's certificate (https).
    #[arg(long, value_name = "HEX")]
    certificate_sha256: Option<String>,
    /// File that holds the bearer token (https).
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Folder of the trust roots.
    #[arg(long, value_name = "DIR")]
    trust_dir: PathBuf,
    /// A person and the key at hand; may be repeated.
    #[arg(long, value_name = "NAME=KEY", value_parser = signer)]
    signer: Vec<Signer>,
    /// Address at which agents reach a controller during a cut; may be repeated.
    #[arg(long, value_name = "IP:PORT")]
    controller_address: Vec<SocketAddr>,
    /// Internal network that a cut leaves open; may be repeated.
    #[arg(long, value_name = "NET")]
    internal: Vec<IpNet>,
    /// Make it the default.
    #[arg(long)]
    default: bool,
}

fn signer(text: &str) -> Result<Signer, String> {
    let (name, key) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=KEY"))?;
    Ok(Signer { name: name.parse().map_err(|e| format!("{e}"))?, key: PathBuf::from(key) })
}

/// Runs a `context` command.
pub(crate) fn run(app: &App, command: ContextCommand) -> Outcome<Exit> {
    match command {
        ContextCommand::Add(args) => add(app, args),
        ContextCommand::List { output } => list(app, output),
        ContextCommand::Use { name } => {
            app.config.set_default(&name)?;
            app.note(&msg!("context-default", name = name));
            Ok(Exit::Done)
        }
    }
}

fn add(app: &App, args: Add) -> Outcome<Exit> {
    let new = NewContext {
        controller: args.controller,
        certificate_sha256: args.certificate_sha256,
        token_file: args.token_file,
        trust_dir: args.trust_dir,
        network: Network { controllers: args.controller_address, internal: args.internal },
        signers: args.signer,
    };
    let context = app.config.add(&args.name, new)?;
    app.note(&msg!("context-added", name = context.name.as_str()));
    if args.default {
        app.config.set_default(&args.name)?;
        app.note(&msg!("context-default", name = args.name));
    }
    Ok(Exit::Done)
}

fn list(app: &App, format: Format) -> Outcome<Exit> {
    let default = app.config.default_context()?;
    let column =
        |title: &crate::message::Message, machine, wide| Column { title: app.say(title), machine, wide };
    let mut listing = Listing {
        columns: vec![
            column(&msg!("column-name"), "name", false),
            column(&msg!("column-default"), "default", false),
            column(&msg!("column-controller"), "controller", false),
            column(&msg!("column-signers"), "signers", false),
            column(&msg!("column-trust"), "trust_dir", true),
        ],
        json_key: "contexts",
        ..Listing::default()
    };
    for name in app.config.names()? {
        let context = app.config.load(&name)?;
        let is_default = default.as_deref() == Some(&name);
        let controller = match &context.endpoint {
            Endpoint::Unix(path) => format!("unix://{}", path.display()),
            Endpoint::Https { authority, .. } => format!("https://{authority}"),
        };
        let signers: Vec<String> = context.signers.iter().map(|s| s.name.to_string()).collect();
        let trust = context.trust_dir.display().to_string();
        listing.json.push(json!({
            "name": name, "default": is_default, "controller": controller, "signers": signers, "trust_dir": trust,
        }));
        let mark = if is_default { "*" } else { "" };
        listing.rows.push(vec![
            name.clone(),
            mark.to_owned(),
            controller.clone(),
            signers.join(" "),
            trust.clone(),
        ]);
        listing.values.push(vec![name.clone(), is_default.to_string(), controller, signers.join(" "), trust]);
        listing.names.push(name);
    }
    listing.print(format)?;
    Ok(Exit::Done)
}
