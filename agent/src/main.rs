//! Table of contents of `digue-agent`. Each command is a few lines here and a module of its own.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use digue_agent::config::{Config, ConfigError, DEFAULT_CONFIG, DEFAULT_RUN_DIR, EXIT_CONFIG, Salvaged};
use digue_agent::init::FirstRoot;
use digue_agent::view::View;
use digue_agent::words::{self, Language};
use digue_agent::{boot, doctor, init, start};
use digue_proto::id::Digest;

/// Digue's agent: verifies signed orders and cuts this host's links in the kernel. It never opens anything
/// but by an order that enough people signed.
#[derive(Parser)]
#[command(name = "digue-agent", version, arg_required_else_help = true)]
struct Cli {
    /// The configuration file.
    #[arg(long, global = true, default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent. Ending it, in whatever way, changes no rule.
    Run {
        /// Refuse to do anything in the machine's own network namespace.
        #[arg(long)]
        lab: bool,
    },
    /// Make the host key and pin the first trust root. Safe to run again.
    Init {
        /// The first trust root, an envelope.
        #[arg(long, requires = "root_sha256")]
        root: Option<PathBuf>,
        /// SHA-256 of the root's payload, learned by another way than the file.
        #[arg(long, requires = "root")]
        root_sha256: Option<Digest>,
        /// A file with the join secret that the operator's command made for this host.
        #[arg(long)]
        join_secret_file: Option<PathBuf>,
    },
    /// At early boot: cut the host again, before any network, if it was cut when it went down.
    Boot {
        /// Refuse to do anything in the machine's own network namespace.
        #[arg(long)]
        lab: bool,
    },
    /// Say why the network is cut, by which order and what stays open. Needs no network.
    Status {
        /// How to print it.
        #[arg(short, long, default_value = "text")]
        output: Output,
    },
    /// Check the configuration file.
    CheckConfig,
    /// Check this host: what its kernel lets a cut hold, keys, clocks, controllers.
    Doctor {
        /// How to print it.
        #[arg(short, long, default_value = "text")]
        output: Output,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Text,
    Json,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("digue-agent: {error:#}");
            let config = error.is::<ConfigError>()
                || matches!(error.downcast_ref(), Some(start::StartError::Config(_)));
            if config { ExitCode::from(EXIT_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}

fn dispatch(cli: &Cli) -> Result<ExitCode> {
    let path = &cli.config;
    match &cli.command {
        Command::Run { lab } => {
            log();
            start::run(path, *lab)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Init { root, root_sha256, join_secret_file } => {
            initialise(&Config::load(path)?, root.as_deref(), *root_sha256, join_secret_file.as_deref())
        }
        Command::Boot { lab } => {
            log();
            let outcome = boot::boot(path, *lab)?;
            eprintln!("digue-agent boot: {outcome}");
            Ok(ExitCode::SUCCESS)
        }
        Command::Status { output } => show_status(path, *output),
        Command::CheckConfig => {
            let config = Config::load(path)?;
            println!(
                "{}: fine, {} with {} controllers",
                path.display(),
                config.host_id,
                config.controllers.len()
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor { output } => {
            let report = doctor::examine(path);
            match output {
                Output::Text => print!("{}", report.text()),
                Output::Json => print_json(&report)?,
            }
            Ok(if report.healthy() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

fn initialise(
    config: &Config,
    root: Option<&Path>,
    sha256: Option<Digest>,
    join_secret: Option<&Path>,
) -> Result<ExitCode> {
    let root = match (root, sha256) {
        (Some(file), Some(sha256)) => Some(FirstRoot { file: file.to_owned(), sha256 }),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => bail!("--root and --root-sha256 go together"),
    };
    let (initialised, _) = init::init(config, root.as_ref(), join_secret)?;
    print_json(&initialised)?;
    Ok(ExitCode::SUCCESS)
}

fn show_status(path: &Path, output: Output) -> Result<ExitCode> {
    let (state_dir, run_dir, unreadable) = match Config::load(path) {
        Ok(config) => (config.state_dir, config.run_dir, None),
        Err(error) => {
            let error = format!("{:#}", anyhow::Error::from(error));
            (Salvaged::from_file(path).state_dir, PathBuf::from(DEFAULT_RUN_DIR), Some(error))
        }
    };
    let view = View::take(&state_dir, &run_dir, unreadable);
    match output {
        Output::Text => {
            let language = Language::from_environment(|name| std::env::var(name).ok());
            print!("{}", words::status(&view, language));
        }
        Output::Json => print_json(&view)?,
    }
    Ok(ExitCode::from(view.standing().code()))
}

fn print_json(value: &impl serde::Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(value).context("writing JSON")?);
    Ok(())
}

/// `DIGUE_LOG` is one of error, warn, info, debug, trace.
fn log() {
    let wanted = std::env::var("DIGUE_LOG").ok().and_then(|level| level.parse().ok());
    let level = wanted.unwrap_or(tracing_subscriber::filter::LevelFilter::INFO);
    tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_ansi(false).init();
}
