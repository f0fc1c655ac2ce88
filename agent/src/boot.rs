//! `digue-agent boot`: before any network, cut the host again if it was cut when it went down.
//!
//! Reads the state and nothing else: no trust root, no controller, no clock but to leave out exceptions
//! that ran out. It can close and it can leave alone; it cannot open. What it loads is the copy of the
//! rules that needs no process; the agent replaces it when it starts.

use std::fmt;
use std::path::Path;

use digue_proto::host::{Apply, HostState, Loaded};
use digue_proto::policy::{BlockList, Policy};

use crate::clocks::{BUILT_AT_MS, HostClocks};
use crate::config::{Config, DEFAULT_RUN_DIR, Salvaged};
use crate::drivers::{DriverError, Place};
use crate::execute::HostDriver as _;
use crate::kernel::KernelDriver;
use crate::link::chain;
use crate::status::RunLock;
use crate::store::Store;

/// What early boot did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// No state: this host never received an order.
    NeverOrdered,
    /// The state says open.
    Open,
    /// The host is closed, by its state.
    Closed,
    /// The host is closed, because its state could not be read.
    ClosedUnread(String),
    /// An agent runs and sees to it.
    AgentRuns,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverOrdered => f.write_str("no order was ever accepted here; nothing to do"),
            Self::Open => f.write_str("the links are to be open; nothing to do"),
            Self::Closed => f.write_str("the links are cut again, as the last order says"),
            Self::ClosedUnread(why) => {
                write!(f, "the links are cut, because the state cannot be read: {why}")
            }
            Self::AgentRuns => f.write_str("the agent is running and sees to the rules"),
        }
    }
}

/// Why a host that should be closed at boot is not.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The kernel gives no way to change rules.
    #[error("no rules can be loaded")]
    Driver(#[from] DriverError),
    /// The rules could not be loaded, or are not there when read back.
    #[error("THIS HOST SHOULD BE CUT AND IS NOT: {0}")]
    NotClosed(String),
}

/// Restores the containment of the last order, if there is one.
///
/// # Errors
/// [`BootError`] if the host should be closed and is not known to be.
pub fn boot(config_path: &Path, lab: bool) -> Result<Outcome, BootError> {
    let (salvaged, run_dir) = match Config::load(config_path) {
        Ok(config) => {
            let controllers = config.addresses();
            (Salvaged { state_dir: config.state_dir, controllers }, config.run_dir)
        }
        Err(error) => {
            tracing::error!(error = chain(&error), "configuration_unusable");
            (Salvaged::from_file(config_path), DEFAULT_RUN_DIR.into())
        }
    };
    if RunLock::is_held(&run_dir) {
        return Ok(Outcome::AgentRuns);
    }
    restore(&salvaged, lab)
}

/// Loads the rules that the state in a directory asks for.
///
/// # Errors
/// [`BootError`] if the host should be closed and is not known to be.
pub fn restore(salvaged: &Salvaged, lab: bool) -> Result<Outcome, BootError> {
    let (_, loaded) = Store::open(&salvaged.state_dir);
    let (policy, blocked, outcome) = match loaded {
        Loaded::Absent => return Ok(Outcome::NeverOrdered),
        Loaded::State(state) => match still_wanted(&state) {
            Some((policy, blocked)) => (policy, blocked, Outcome::Closed),
            None => return Ok(Outcome::Open),
        },
        Loaded::Unreadable(why) => {
            let policy = Policy::closed(salvaged.controllers.clone());
            (policy, BlockList::default(), Outcome::ClosedUnread(why))
        }
    };
    let mut driver = KernelDriver::without_owner(Place::current(lab)?, lab)?;
    let apply = Apply { request: 0, policy, blocked, end_sessions: false };
    let applied = driver.apply(&apply);
    if let Some(why) = &applied.fallback {
        tracing::error!(why, "minimal_profile");
    }
    let observed = applied.result.map_err(BootError::NotClosed)?;
    match observed.drift.first() {
        Some(drift) => Err(BootError::NotClosed(drift.clone())),
        None => Ok(outcome),
    }
}

/// The policy of a state without the exceptions that have run out; `None` if nothing is to be closed.
fn still_wanted(state: &HostState) -> Option<(Policy, BlockList)> {
    let clocks = HostClocks::new().and_then(|clocks| clocks.read()).ok();
    let over = |rollback: &digue_proto::host::Rollback| {
        // The kernel lifts a drill by itself; it did so in this very boot.
        clocks
            .as_ref()
            .is_some_and(|c| c.boot_id == rollback.boot_id && rollback.deadline_ms <= c.boottime_ms)
    };
    let mut policy = state.policy.clone();
    if state.rollback.as_ref().is_some_and(over) {
        policy = Policy::open();
    }
    if !policy.contains() && state.blocked.networks.is_empty() {
        return None;
    }
    let wall = clocks.as_ref().map_or(BUILT_AT_MS, |c| c.wall_ms);
    let time = wall.max(state.time_floor_ms).max(BUILT_AT_MS);
    policy.exceptions.retain(|e| e.until_ms.is_none_or(|until| time < until));
    Some((policy, state.blocked.clone()))
}
