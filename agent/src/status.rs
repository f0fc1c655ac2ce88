//! What the agent writes down for people on this host, who may have no network: `RUN_DIR/status.json`.
//!
//! Written after each change, whole or not at all. It is a courtesy, not a source of truth: reports are
//! signed, this is not. Deliberately absent: anything secret, and the challenge.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use digue_proto::bundle::OrderBundle;
use digue_proto::envelope::Envelope;
use digue_proto::host::Host;
use digue_proto::id::{Digest, HostId, OrderId, UnixMillis};
use digue_proto::limits::MAX_ENVELOPE;
use digue_proto::order::Stream;
use digue_proto::policy::{BlockList, Policy};
use digue_proto::report::{Alarm, Level, Links, Proofs};
use digue_proto::strict;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::files::{self, Durable};

/// The version of this form.
pub const API_VERSION: &str = "digue-agent-status/v1";

/// What the agent knew when it last changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// [`API_VERSION`].
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// The host.
    pub host_id: HostId,
    /// Fingerprint of its key.
    pub fingerprint: String,
    /// The agent's version.
    pub agent_version: String,
    /// The boot that this is true of.
    pub boot_id: String,
    /// When it was written, by the wall clock.
    pub written_at_ms: UnixMillis,
    /// The links, measured.
    pub links: Links,
    /// The policy in force.
    pub policy: Policy,
    /// The block list in force.
    pub blocked: BlockList,
    /// The order that asked for the policy.
    pub order: Option<OrderNote>,
    /// The proofs.
    pub proofs: Proofs,
    /// Where the rules found differ from those meant.
    pub drift: Vec<String>,
    /// CLOCK_BOOTTIME in milliseconds at which the kernel reopens the host by itself.
    pub reopens_at_boottime_ms: Option<u64>,
    /// What the kernel supports.
    pub level: Level,
    /// Why it is not higher.
    pub level_detail: Vec<String>,
    /// The trust root in force.
    pub root_version: u64,
    /// Whether a controller is connected.
    pub connected: bool,
    /// Documents that no controller has confirmed yet.
    pub waiting_documents: u64,
    /// Alarms that still hold.
    pub alarms: Vec<Alarm>,
    /// Why nothing can be written down, and so nothing done.
    pub trouble: Option<String>,
}

/// What people want to know of an order that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderNote {
    /// Its name.
    pub order_id: OrderId,
    /// SHA-256 of its payload; absent when the order itself was not kept.
    pub digest: Option<Digest>,
    /// The incident.
    pub incident: Option<String>,
    /// Why, in the signer's words.
    pub reason: Option<String>,
    /// When it reached this host, by its wall clock.
    pub received_at_ms: Option<UnixMillis>,
}

/// What identifies the agent in a snapshot.
#[derive(Debug, Clone)]
pub struct About {
    /// The host.
    pub host_id: HostId,
    /// Fingerprint of its key.
    pub fingerprint: String,
    /// What the kernel supports.
    pub level: Level,
    /// Why it is not higher.
    pub level_detail: Vec<String>,
}

/// Writes the status file when something changed.
#[derive(Debug)]
pub struct StatusFile {
    path: PathBuf,
    about: About,
    orders: KeptOrders,
    last: Option<Snapshot>,
}

impl StatusFile {
    /// A status file in `run_dir`; orders are kept in `state_dir`.
    pub fn new(run_dir: &Path, state_dir: &Path, about: About) -> Self {
        let orders = KeptOrders { dir: state_dir.to_owned() };
        Self { path: run_dir.join("status.json"), about, orders, last: None }
    }

    /// The orders that were received.
    pub const fn orders(&self) -> &KeptOrders {
        &self.orders
    }

    /// Writes what is so now, unless it was written already.
    pub fn update(
        &mut self,
        host: &Host,
        boot_id: &str,
        at_ms: UnixMillis,
        connected: bool,
        trouble: Option<String>,
    ) {
        let state = host.state();
        let before = self.last.as_ref();
        let order = state.net_order.map(|id| {
            let kept =
                before.and_then(|b| b.order.clone()).filter(|o| o.order_id == id && o.digest.is_some());
            kept.unwrap_or_else(|| self.orders.note(Stream::Net, id))
        });
        let snapshot = Snapshot {
            api_version: API_VERSION.to_owned(),
            host_id: self.about.host_id.clone(),
            fingerprint: self.about.fingerprint.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: boot_id.to_owned(),
            written_at_ms: before.map_or(at_ms, |b| b.written_at_ms),
            links: host.links(),
            policy: state.policy.clone(),
            blocked: state.blocked.clone(),
            order,
            proofs: host.proofs().clone(),
            drift: host.observed().drift.clone(),
            reopens_at_boottime_ms: state.rollback.as_ref().map(|r| r.deadline_ms),
            level: self.about.level,
            level_detail: self.about.level_detail.clone(),
            root_version: host.trust().version(),
            connected,
            waiting_documents: state.outbox.len() as u64,
            alarms: state.alarms.clone(),
            trouble,
        };
        if before == Some(&snapshot) {
            return;
        }
        let snapshot = Snapshot { written_at_ms: at_ms, ..snapshot };
        if let Err(error) = write(&self.path, &snapshot) {
            tracing::warn!(path = %self.path.display(), error, "status_not_written");
        }
        self.last = Some(snapshot);
    }
}

fn write(path: &Path, snapshot: &Snapshot) -> Result<(), String> {
    let bytes = strict::to_vec(snapshot).map_err(|e| e.to_string())?;
    // Readable by everyone: the person who is logged in and wonders why the network is dead is not root.
    files::replace(path, &bytes, 0o644, Durable::No).map_err(|e| e.to_string())
}

/// Reads the status file of a run directory.
///
/// # Errors
/// If it is absent, cannot be read, or is not of this version.
pub fn read(run_dir: &Path) -> io::Result<Snapshot> {
    let bytes = std::fs::read(run_dir.join("status.json"))?;
    strict::from_slice(&bytes, MAX_ENVELOPE)
        .map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.to_string()))
}

/// The newest order of each stream, kept for people: they can read it, and check it with `ssh-keygen`.
#[derive(Debug, Clone)]
pub struct KeptOrders {
    dir: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptOrder {
    received_at_ms: UnixMillis,
    order: Envelope,
}

impl KeptOrders {
    /// Those of a state directory.
    pub fn of(state_dir: &Path) -> Self {
        Self { dir: state_dir.to_owned() }
    }

    fn path(&self, stream: Stream) -> PathBuf {
        self.dir.join(match stream {
            Stream::Net => "order.net.json",
            Stream::Block => "order.block.json",
            Stream::Query => "order.query.json",
        })
    }

    /// Keeps an order that was accepted. Its loss would only make the status poorer.
    pub fn keep(&self, stream: Stream, order: &Envelope, received_at_ms: UnixMillis) {
        let kept = KeptOrder { received_at_ms, order: order.clone() };
        let written = strict::to_vec(&kept).map_err(|e| e.to_string()).and_then(|b| {
            files::replace(&self.path(stream), &b, 0o600, Durable::No).map_err(|e| e.to_string())
        });
        if let Err(error) = written {
            tracing::warn!(error, "order_not_kept");
        }
    }

    /// What is known of an order by its name.
    pub fn note(&self, stream: Stream, order_id: OrderId) -> OrderNote {
        let unknown =
            OrderNote { order_id, digest: None, incident: None, reason: None, received_at_ms: None };
        let read = std::fs::read(self.path(stream)).ok();
        let kept = read.and_then(|bytes| strict::from_slice::<KeptOrder>(&bytes, MAX_ENVELOPE).ok());
        let Some(kept) = kept else { return unknown };
        let digest = kept.order.digest();
        let bundle = OrderBundle { order: kept.order, leaves: Vec::new(), statements: Vec::new() };
        match bundle.read_unverified() {
            Ok(order) if order.order_id == order_id => OrderNote {
                order_id,
                digest: Some(digest),
                incident: Some(order.incident),
                reason: Some(order.reason),
                received_at_ms: Some(kept.received_at_ms),
            },
            Ok(_) | Err(_) => unknown,
        }
    }
}

/// Held by the agent while it runs: two agents on one state would undo each other.
#[derive(Debug)]
pub struct RunLock {
    _lock: Flock<File>,
}

impl RunLock {
    /// Takes the lock of a run directory.
    ///
    /// # Errors
    /// `WouldBlock` if another agent holds it.
    pub fn take(run_dir: &Path) -> io::Result<Self> {
        let file =
            File::options().create(true).truncate(false).write(true).open(run_dir.join("agent.lock"))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self { _lock: lock }),
            Err((_, errno)) => Err(errno.into()),
        }
    }

    /// Whether an agent runs on this run directory.
    pub fn is_held(run_dir: &Path) -> bool {
        let Ok(file) = File::open(run_dir.join("agent.lock")) else { return false };
        Flock::lock(file, FlockArg::LockSharedNonblock).is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_directory_serves_one_agent_at_a_time() {
        let dir = tempfile::tempdir().expect("directory");
        assert!(!RunLock::is_held(dir.path()));
        let lock = RunLock::take(dir.path()).expect("free");
        assert!(RunLock::is_held(dir.path()));
        assert!(RunLock::take(dir.path()).is_err());
        drop(lock);
        assert!(!RunLock::is_held(dir.path()));
    }
}
