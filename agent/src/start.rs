//! `digue-agent run`: puts the parts together and hands them to the runtime.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use digue_proto::host::{Host, Identity};
use tokio::sync::mpsc;

use crate::boot::{self, BootError};
use crate::clocks::{BUILT_AT_MS, ClockError, HostClocks};
use crate::config::{Config, ConfigError, Salvaged};
use crate::drivers::{DriverError, Place};
use crate::execute::{Executor, Outlets};
use crate::files;
use crate::init;
use crate::kernel::KernelDriver;
use crate::keyfile::{HostKey, KeyFileError};
use crate::level;
use crate::link::{Dialler, Enrolled, Enrolment, chain};
use crate::monitor;
use crate::roots::{Roots, RootsError};
use crate::runtime::{self, ServeError, Service};
use crate::sd::{self, ServiceManager};
use crate::sign;
use crate::status::{About, RunLock, StatusFile};
use crate::store::Store;

/// Proofs that may wait for a connection; the core asks for one at a time.
const WAITING_PROOFS: usize = 4;

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The host key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The trust roots.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The clocks.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The kernel.
    #[error("the kernel's packet filter")]
    Driver(#[from] DriverError),
    /// TLS.
    #[error("preparing TLS")]
    Tls(#[source] rustls::Error),
    /// A directory.
    #[error("{operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// What with.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another agent runs.
    #[error("another agent runs on {}", .0.display())]
    Running(PathBuf),
    /// No event loop.
    #[error("making the event loop")]
    Loop(#[source] io::Error),
    /// It ran and failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

/// Runs the agent until it is asked to stop.
///
/// # Errors
/// [`StartError`]. If the host should be closed, it is closed even then.
pub fn run(config_path: &Path, lab: bool) -> Result<(), StartError> {
    let place = Place::current(lab)?;
    let inherited = sd::inherited();
    let config = match Config::load(config_path) {
        Ok(config) => config,
        Err(error) => {
            hold(&Salvaged::from_file(config_path), lab);
            return Err(error.into());
        }
    };
    let salvaged = Salvaged { state_dir: config.state_dir.clone(), controllers: config.addresses() };
    let _lock = lock(&config.run_dir)?;
    match prepare(config, place, inherited, lab) {
        Ok(service) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(StartError::Loop)?;
            let watched = move |events| monitor::watch(lab, events);
            Ok(runtime.block_on(Box::pin(runtime::serve(service, watched)))?)
        }
        Err(error) => {
            hold(&salvaged, lab);
            Err(error)
        }
    }
}

/// An agent that cannot run leaves its host as closed as its state says.
fn hold(salvaged: &Salvaged, lab: bool) {
    match boot::restore(salvaged, lab) {
        Ok(outcome) => tracing::warn!(%outcome, "rules_without_agent"),
        Err(error @ (BootError::Driver(_) | BootError::NotClosed(_))) => {
            tracing::error!(error = chain(&error), "rules_without_agent");
        }
    }
}

fn lock(run_dir: &Path) -> Result<RunLock, StartError> {
    let failed = |operation| {
        let path = run_dir.to_owned();
        move |source| StartError::File { operation, path, source }
    };
    files::make_dir(run_dir, false).map_err(failed("making"))?;
    let mut tries = 0;
    loop {
        match RunLock::take(run_dir) {
            Ok(lock) => return Ok(lock),
            // `status` holds the lock for an instant when it looks whether an agent runs.
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && tries < 20 => {
                tries += 1;
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                return Err(StartError::Running(run_dir.to_owned()));
            }
            Err(e) => return Err(failed("locking")(e)),
        }
    }
}

fn prepare(
    config: Config,
    place: Place,
    inherited: Vec<(String, std::os::fd::OwnedFd)>,
    lab: bool,
) -> Result<Service<KernelDriver>, StartError> {
    let state_dir = config.state_dir.clone();
    let clocks = HostClocks::new()?;
    let key = HostKey::load(&state_dir)?;
    let roots = Roots::of(&state_dir);
    let (trust, ended_early) = roots.load()?;
    if let Some(error) = ended_early {
        tracing::error!(error = chain(&error), version = trust.version(), "trust_roots_end_early");
    }
    let (store, loaded) = Store::open(&state_dir);
    let capability = level::measured(&config.run_dir, clocks.boot_id());
    let manager = Arc::new(ServiceManager::from_environment());
    let driver = KernelDriver::open(place, Arc::clone(&manager), inherited, capability.support, lab)?;
    let (proofs, requests) = mpsc::channel(WAITING_PROOFS);
    let enrolment = enrolment(&config, &key, trust.deployment_id(), &clocks);
    let dialler = Dialler::new(config.host_id.clone(), &key, &config.controllers, enrolment)
        .map_err(StartError::Tls)?;
    let about = About {
        host_id: config.host_id.clone(),
        fingerprint: key.public().fingerprint().to_string(),
        level: capability.level,
        level_detail: capability.shortcomings(),
    };
    let identity = Identity {
        host_id: config.host_id.clone(),
        host_key: key.public().clone(),
        controllers: config.addresses(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        level: capability.level,
        level_detail: capability.shortcomings(),
        built_at_ms: BUILT_AT_MS,
    };
    let (host, effects) = Host::wake(identity, trust, loaded, &clocks.now()?);
    let root_version = Arc::clone(&dialler.root_version);
    let outlets = Outlets { driver, store, roots, key, clocks, proofs, root_version };
    let status = StatusFile::new(&config.run_dir, &state_dir, about);
    let executor = Executor::new(host, outlets);
    Ok(Service { executor, effects, dialler, proofs: requests, status, manager })
}

/// The request to enter the inventory, if there is a join secret to make it with.
fn enrolment(
    config: &Config,
    key: &HostKey,
    deployment: digue_proto::id::Digest,
    clocks: &HostClocks,
) -> Option<(Enrolment, Enrolled)> {
    let secret = init::join_secret(&config.state_dir)?;
    let (key, host_id, clocks) = (key.clone(), config.host_id.clone(), clocks.clone());
    let make: Enrolment = Box::new(move |pin| {
        let at_ms = clocks.read().ok()?.wall_ms;
        sign::enrolment(&key, &host_id, &secret, deployment, pin, at_ms)
            .inspect_err(|error| tracing::error!(error = chain(error), "enrolment_not_signed"))
            .ok()
    });
    let state_dir = config.state_dir.clone();
    let enrolled: Enrolled = Box::new(move || init::forget_join_secret(&state_dir));
    Some((make, enrolled))
}
