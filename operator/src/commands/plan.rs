//! `digue plan`: compute and freeze what an order would do. Nothing is signed and nothing is sent.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use digue_proto::policy::{OnLostManagement, Policy, Profile};
use ipnet::IpNet;

use crate::app::{App, Session};
use crate::files;
use crate::message::msg;
use crate::output;
use crate::plan::file::{Plan, read_bundle};
use crate::plan::keep::{self, Keep};
use crate::plan::{Request, What, collect, show};
use crate::problem::{Exit, Outcome, Problem};
use crate::selector::Selection;
use crate::time;

/// What every plan takes.
#[derive(Debug, Args)]
pub(crate) struct Common {
    #[command(flatten)]
    selection: Selection,
    /// The incident, as in the incident log.
    #[arg(long, value_name = "NAME")]
    incident: String,
    /// Why, in one sentence; it is signed and shown everywhere.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// How long the order may be delivered: 90s, 30m, 12h, 2d.
    #[arg(long, value_name = "DURATION", default_value = "12h", value_parser = time::duration)]
    ttl: Duration,
    /// File to write; - is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the file if it exists.
    #[arg(long)]
    force: bool,
    /// Exit with 20 if the plan would do something.
    #[arg(long)]
    detailed_exitcode: bool,
}

/// What a containment takes.
#[derive(Debug, Args)]
pub(crate) struct Containment {
    /// A flow that stays open: ssh-from=NET, in:tcp:PEER:PORT, out:udp:PEER:PORT; may be repeated.
    #[arg(long, value_name = "SPEC")]
    keep: Vec<Keep>,
    /// The person answerable for the flows kept; default: the user's name.
    #[arg(long, value_name = "NAME")]
    keep_owner: Option<String>,
    /// Internal network that a cut leaves open; default: those of the context.
    #[arg(long, value_name = "NET", value_parser = keep::network)]
    internal: Vec<IpNet>,
    /// Address of a controller; default: those of the context.
    #[arg(long, value_name = "IP:PORT")]
    controller_address: Vec<SocketAddr>,
    /// When no controller can be reached: hold, or reopen-after=DURATION (needs the signatures of a release).
    #[arg(long, value_name = "WHAT", default_value = "hold", value_parser = on_lost)]
    on_lost_management: OnLostManagement,
}

fn on_lost(text: &str) -> Result<OnLostManagement, String> {
    if text == "hold" {
        return Ok(OnLostManagement::Hold);
    }
    let after = text
        .strip_prefix("reopen-after=")
        .ok_or_else(|| format!("{text:?} is neither hold nor reopen-after=DURATION"))?;
    let seconds = match after.parse::<u32>() {
        Ok(seconds) => seconds,
        Err(_) => u32::try_from(time::duration(after)?.as_secs()).map_err(|e| e.to_string())?,
    };
    Ok(OnLostManagement::ReopenAfter(seconds))
}

/// Compute a plan.
#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// Cut external links; internal networks stay open.
    Cut {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        containment: Containment,
        /// The order may cut the agent off its own controllers.
        #[arg(long)]
        allow_self_cut: bool,
    },
    /// Isolate: only controllers and the flows kept stay open.
    Isolate {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        containment: Containment,
        /// The order may cut the agent off its own controllers.
        #[arg(long)]
        allow_self_cut: bool,
    },
    /// Go dark: nothing stays open, not even controllers; no order reopens it over the network.
    Dark {
        #[command(flatten)]
        common: Common,
    },
    /// Change a containment to something that may be more open.
    Adjust {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        containment: Containment,
        /// Isolate instead of cutting.
        #[arg(long)]
        isolate: bool,
    },
    /// Reopen servers that are confirmed clean.
    Release {
        #[command(flatten)]
        common: Common,
        /// Also without a clean statement: takes three persons and stands in every report.
        #[arg(long)]
        without_verdict: bool,
    },
    /// Block networks in both directions, in addition to those blocked.
    Block {
        #[command(flatten)]
        common: Common,
        /// Network or address; may be repeated.
        #[arg(long, value_name = "NET", required = true, value_parser = keep::network)]
        net: Vec<IpNet>,
    },
    /// Let blocked networks through again.
    Unblock {
        #[command(flatten)]
        common: Common,
        /// Network or address as it stands in the block list; may be repeated.
        #[arg(long, value_name = "NET", required = true, value_parser = keep::network)]
        net: Vec<IpNet>,
    },
    /// Ask for a full report.
    Report {
        #[command(flatten)]
        common: Common,
    },
}

fn sorted<T: Ord>(mut list: Vec<T>) -> Vec<T> {
    list.sort_unstable();
    list.dedup();
    list
}

fn policy(session: &Session, common: &Common, args: Containment, profile: Profile) -> Policy {
    let defaults = &session.context.network;
    let or = |given: Vec<SocketAddr>, default: &Vec<SocketAddr>| {
        if given.is_empty() { default.clone() } else { given }
    };
    let internal = if args.internal.is_empty() { defaults.internal.clone() } else { args.internal };
    let user = || std::env::var("USER").ok().filter(|name| !name.trim().is_empty());
    let owner = args.keep_owner.or_else(user).unwrap_or_else(|| "operator".to_owned());
    Policy {
        profile,
        controllers: sorted(or(args.controller_address, &defaults.controllers)),
        internal: if profile == Profile::Cut { sorted(internal) } else { Vec::new() },
        exceptions: sorted(args.keep.iter().map(|k| k.exception(&owner, &common.reason)).collect()),
        on_lost_management: args.on_lost_management,
    }
}

/// Runs `plan`.
pub(crate) async fn run(app: &App, command: PlanCommand) -> Outcome<Exit> {
    let session = app.session().await?;
    let (common, what) = match command {
        PlanCommand::Cut { common, containment, allow_self_cut } => {
            let policy = policy(&session, &common, containment, Profile::Cut);
            (common, What::Contain { policy, allow_self_cut })
        }
        PlanCommand::Isolate { common, containment, allow_self_cut } => {
            let policy = policy(&session, &common, containment, Profile::Isolate);
            (common, What::Contain { policy, allow_self_cut })
        }
        PlanCommand::Dark { common } => {
            let policy = Policy { profile: Profile::Dark, ..Policy::open() };
            (common, What::Contain { policy, allow_self_cut: true })
        }
        PlanCommand::Adjust { common, containment, isolate } => {
            let profile = if isolate { Profile::Isolate } else { Profile::Cut };
            let policy = policy(&session, &common, containment, profile);
            (common, What::Adjust { policy })
        }
        PlanCommand::Release { common, without_verdict } => (common, What::Release { without_verdict }),
        PlanCommand::Block { common, net } => (common, What::Block { networks: sorted(net) }),
        PlanCommand::Unblock { common, net } => (common, What::Unblock { networks: sorted(net) }),
        PlanCommand::Report { common } => (common, What::Report {}),
    };
    if common.reason.trim().is_empty() || common.incident.trim().is_empty() {
        return Err(Problem::new("E0601", msg!("plan-empty-text")));
    }
    let request = Request {
        selection: common.selection,
        what,
        incident: common.incident,
        reason: common.reason,
        ttl_ms: time::millis(common.ttl),
    };
    let (plan, _) = collect::plan(app, &session, &request).await?;
    let read = match &plan.frozen {
        Some(frozen) => Some(read_bundle(&frozen.bundle())?),
        None => None,
    };
    write(app, &session, &plan, read.as_ref(), &common.output, common.force)?;
    let pending = common.detailed_exitcode && read.is_some();
    Ok(if pending { Exit::Pending } else { Exit::Done })
}

fn write(
    app: &App,
    session: &Session,
    plan: &Plan,
    read: Option<&crate::plan::file::Read>,
    path: &std::path::Path,
    force: bool,
) -> Outcome<()> {
    let text = show::plan(app, plan, read, &session.trust);
    let bytes = plan.to_bytes()?;
    if path == std::path::Path::new("-") {
        app.note_text(&text);
        return output::print(String::from_utf8_lossy(&bytes).trim_end());
    }
    if force {
        files::write(path, &bytes, 0o644)?
    } else {
        files::write_new(path, &bytes, 0o644)?
    }
    output::print(&text)?;
    let path = path.display().to_string();
    app.note(&if read.is_some() {
        msg!("plan-written", path = path)
    } else {
        msg!("plan-kept", path = path)
    });
    Ok(())
}
