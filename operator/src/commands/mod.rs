//! One module a noun of the command line: its arguments and what it does.

mod apply;
mod approvals;
mod audit;
mod context;
mod diff;
mod enroll;
mod explain;
mod hosts;
mod keys;
mod order;
mod plan;
mod status;
mod trust;
mod verdict;

use clap::Subcommand;
use clap_complete::Shell;

use crate::app::App;
use crate::message::Lang;
use crate::output;
use crate::problem::{Exit, Outcome};

/// The nouns.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The fleet in one sentence; as a list, a stream of changes, or an expectation.
    Status(status::Status),
    /// Servers and the signed inventory.
    #[command(subcommand)]
    Hosts(hosts::Hosts),
    /// Compute what an order would do, and freeze it.
    #[command(subcommand)]
    Plan(plan::PlanCommand),
    /// Show the rules that a plan would put in place.
    Diff(diff::Diff),
    /// Sign a plan, send it, and wait for proof.
    Apply(apply::Apply),
    /// Orders.
    #[command(subcommand)]
    Order(order::OrderCommand),
    /// What waits for a signature.
    #[command(subcommand)]
    Approvals(approvals::ApprovalsCommand),
    /// What people state about servers.
    #[command(subcommand)]
    Verdict(verdict::VerdictCommand),
    /// The controller's store.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// People's keys.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// The trust root: who may sign what.
    #[command(subcommand)]
    Trust(trust::TrustCommand),
    /// Contexts: controller, trust folder, signers.
    #[command(subcommand)]
    Context(context::ContextCommand),
    /// Explain a code such as E0412.
    Explain(explain::Explain),
    /// Print a completion script.
    Completion {
        /// The shell.
        shell: Shell,
    },
    /// Print the version.
    Version {
        /// Also what it was built to speak.
        #[arg(long)]
        verbose: bool,
    },
}

/// Runs a command.
pub(crate) async fn run(app: &App, command: Command) -> Outcome<Exit> {
    match command {
        Command::Status(args) => Box::pin(status::run(app, args)).await,
        Command::Hosts(args) => Box::pin(hosts::run(app, args)).await,
        Command::Plan(args) => Box::pin(plan::run(app, args)).await,
        Command::Diff(args) => Box::pin(diff::run(app, args)).await,
        Command::Apply(args) => Box::pin(apply::run(app, args)).await,
        Command::Order(args) => Box::pin(order::run(app, args)).await,
        Command::Approvals(args) => Box::pin(approvals::run(app, args)).await,
        Command::Verdict(args) => Box::pin(verdict::run(app, args)).await,
        Command::Audit(args) => Box::pin(audit::run(app, args)).await,
        Command::Keys(args) => Box::pin(keys::run(app, args)).await,
        Command::Trust(args) => Box::pin(trust::run(app, args)).await,
        Command::Context(args) => context::run(app, args),
        Command::Explain(args) => explain::run(app, &args),
        Command::Completion { shell } => completion(app, shell),
        Command::Version { verbose } => version(verbose),
    }
}

fn completion(app: &App, shell: Shell) -> Outcome<Exit> {
    let lang = app.speaker.lang();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut crate::cli::command(lang), "digue", &mut script);
    output::print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Done)
}

fn version(verbose: bool) -> Outcome<Exit> {
    output::print(&format!("digue {}", env!("CARGO_PKG_VERSION")))?;
    if verbose {
        let languages: Vec<&str> = [Lang::Fr, Lang::En].iter().map(|l| l.tag()).collect();
        output::print(&format!(
            "api {}\nprotocol {}\nlanguages {}",
            digue_proto::fleet::view::API_VERSION,
            digue_proto::trust::PROTOCOL_VERSION,
            languages.join(" "),
        ))?;
    }
    Ok(Exit::Done)
}
