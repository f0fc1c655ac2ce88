//! What `digue-agent status` knows without a network: the status file, the stored state, and the kernel.

use std::path::Path;

use digue_proto::host::{HostState, Loaded};
use digue_proto::order::Stream;
use digue_proto::report::Links;
use serde::Serialize;

use crate::clocks::HostClocks;
use crate::drivers::{NetDriver as _, NftDriver, Place};
use crate::status::{self, KeptOrders, OrderNote, RunLock, Snapshot};
use crate::store::Store;

/// Everything that could be learned, and where from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct View {
    /// `digue-agent-view/v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: &'static str,
    /// Why the configuration cannot be read, which leaves only the usual folders to look into.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<String>,
    /// Whether an agent runs and answers for `snapshot`.
    pub running: bool,
    /// What the agent of this boot last wrote down.
    pub snapshot: Option<Snapshot>,
    /// What is on disk; only root may read it.
    pub stored: Stored,
    /// Tables of ours that are in the kernel, counted just now; `None` if this user may not ask.
    pub tables_in_kernel: Option<usize>,
}

/// What is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stored {
    /// Not looked at: the agent answers, or this user may not read it.
    NotRead,
    /// No order was ever accepted.
    Never,
    /// This is to hold.
    Ordered {
        /// The state, as far as people want to know it.
        contained: bool,
        /// How many networks are blocked.
        blocked: usize,
        /// The order in force.
        order: Option<OrderNote>,
    },
    /// It cannot be read, so the host counts as contained.
    Unreadable(String),
}

/// What to tell scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Open, or cut and verified, as measured by a running agent: exit code 0.
    Measured,
    /// The containment ordered is not the one found: exit code 1.
    Failed,
    /// On its way, or nobody measures: exit code 3.
    Unverified,
}

impl Standing {
    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Measured => 0,
            Self::Failed => 1,
            Self::Unverified => 3,
        }
    }
}

impl View {
    /// Looks, without changing anything. `configuration` is why it cannot be read, if it cannot.
    pub fn take(state_dir: &Path, run_dir: &Path, configuration: Option<String>) -> Self {
        let running = RunLock::is_held(run_dir);
        let boot_id = HostClocks::new().map(|c| c.boot_id().to_owned()).unwrap_or_default();
        // What an agent of an earlier boot wrote says nothing about this one.
        let snapshot = status::read(run_dir).ok().filter(|s| s.boot_id == boot_id);
        let stored = if running && snapshot.is_some() { Stored::NotRead } else { stored(state_dir) };
        Self {
            api_version: "digue-agent-view/v1",
            configuration,
            running,
            snapshot,
            stored,
            tables_in_kernel: tables(),
        }
    }

    /// What to tell scripts.
    pub fn standing(&self) -> Standing {
        let Some(snapshot) = self.snapshot.as_ref().filter(|_| self.running) else {
            return Standing::Unverified;
        };
        match snapshot.links {
            Links::Failed => Standing::Failed,
            Links::Open | Links::Cut if snapshot.trouble.is_none() => Standing::Measured,
            Links::Open | Links::Cut | Links::Cutting | Links::Releasing => Standing::Unverified,
        }
    }
}

fn stored(state_dir: &Path) -> Stored {
    // An ordinary user may not look into the directory, which is not the same as nothing being there.
    if std::fs::read_dir(state_dir).is_err_and(|e| e.kind() != std::io::ErrorKind::NotFound) {
        return Stored::NotRead;
    }
    match Store::open(state_dir).1 {
        Loaded::Absent => Stored::Never,
        Loaded::Unreadable(why) => Stored::Unreadable(why),
        Loaded::State(state) => ordered(&state, &KeptOrders::of(state_dir)),
    }
}

fn ordered(state: &HostState, orders: &KeptOrders) -> Stored {
    Stored::Ordered {
        contained: state.policy.contains(),
        blocked: state.blocked.networks.len(),
        order: state.net_order.map(|id| orders.note(Stream::Net, id)),
    }
}

fn tables() -> Option<usize> {
    let place = Place::current(false).ok()?;
    let mut driver = NftDriver::open(&place).ok()?;
    driver.read().ok().map(|found| found.tables.len())
}
