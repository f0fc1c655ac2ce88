//! The controller: stores what people and hosts signed, relays it, and shows what was measured. It holds
//! no key that an agent obeys.

mod api;
mod authority;
mod changes;
mod clock;
mod config;
mod controller;
mod dispatch;
mod documents;
mod enrolment;
mod events;
mod http;
mod hub;
mod identity;
mod metrics;
mod notify;
mod pace;
mod replay;
mod runtime;
mod session;
mod status;
mod store;
mod tls;
mod wire;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use digue_proto::envelope::Envelope;
use digue_proto::id::Digest;
use digue_proto::trust_chain::Trust;

use crate::config::{Config, ConfigError, DEFAULT_PATH};
use crate::identity::DataLock;
use crate::store::{SqliteStore, Store as _};

/// EX_CONFIG of sysexits.h.
const BAD_CONFIGURATION: u8 = 78;

/// Digue's controller.
#[derive(Debug, Parser)]
#[command(version, about, long_about = None)]
struct Cli {
    /// The configuration file.
    #[arg(long, global = true, default_value = DEFAULT_PATH)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make the data folder and the controller's own keys; doing it again changes nothing.
    Init(Init),
    /// Run until SIGTERM.
    Run,
    /// Check the configuration and say everything that is wrong with it.
    CheckConfig,
    /// Make every projection anew from the stored envelopes. The controller must not run.
    Rebuild,
    /// Ask the running controller whether it can do its work.
    Status,
    /// Print the description of the API (OpenAPI 3.1).
    Openapi,
}

#[derive(Debug, Args)]
struct Init {
    /// A trust root of version 1 to start from.
    #[arg(long, requires = "root_sha256")]
    root: Option<PathBuf>,
    /// Its SHA-256: nothing else is accepted.
    #[arg(long, requires = "root")]
    root_sha256: Option<Digest>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    match perform(cli) {
        Ok(code) => code,
        Err(error) if error.downcast_ref::<ConfigError>().is_some() => {
            eprintln!("digue-controller: {error}");
            ExitCode::from(BAD_CONFIGURATION)
        }
        Err(error) => {
            eprintln!("digue-controller: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn perform(Cli { config, command }: Cli) -> anyhow::Result<ExitCode> {
    match command {
        Command::Init(options) => init(&Config::load(&config)?, options)?,
        Command::Run => run(Config::load(&config)?)?,
        Command::CheckConfig => {
            Config::load(&config)?;
            println!("{}: no problem found", config.display());
        }
        Command::Rebuild => {
            let config = Config::load(&config)?;
            let _lock = DataLock::take(&config.data_dir)?;
            let count = SqliteStore::open(&config.data_dir)?.rebuild()?;
            println!("projections made anew from {count} envelopes");
        }
        Command::Status => {
            let (answer, ready) = status::ask(&Config::load(&config)?.socket)?;
            println!("{answer}");
            return Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Openapi => print!("{}", api::openapi_document()?),
    }
    Ok(ExitCode::SUCCESS)
}

fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("starting the runtime")?.block_on(runtime::run(config))
}

/// What `init` prints, for the trust root and for clients.
#[derive(Debug, serde::Serialize)]
struct Pins {
    spki_sha256: Digest,
    api_certificate_sha256: Option<Digest>,
}

fn init(config: &Config, Init { root, root_sha256 }: Init) -> anyhow::Result<()> {
    identity::init(config)?;
    if let (Some(path), Some(pinned)) = (root, root_sha256) {
        take_first_root(config, &path, pinned)?;
    }
    let https = config.https.as_ref();
    let pins = Pins {
        spki_sha256: identity::pin(&*identity::agent_identity(&config.data_dir)?),
        api_certificate_sha256: https.map(|_| identity::api_certificate_pin(&config.data_dir)).transpose()?,
    };
    println!("{}", serde_json::to_string(&pins)?);
    Ok(())
}

/// Stores the pinned first root, unless it is there already.
fn take_first_root(config: &Config, path: &Path, pinned: Digest) -> anyhow::Result<()> {
    let bytes = std::fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let root = Envelope::from_json(&bytes).with_context(|| format!("{} is no envelope", path.display()))?;
    Trust::initial(&root, &pinned).with_context(|| format!("{} is refused", path.display()))?;
    let _lock = DataLock::take(&config.data_dir)?;
    let mut store = SqliteStore::open(&config.data_dir)?;
    let stored = replay::replay(&mut store)?;
    match stored.roots.first().map(Envelope::digest) {
        None => {
            store.append(&[&authority::record(&root, None)?])?;
            Ok(())
        }
        Some(first) if first == pinned => Ok(()),
        Some(first) => anyhow::bail!("this controller already serves another deployment ({first})"),
    }
}
