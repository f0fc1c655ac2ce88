//! One host, from an order's bytes to rules in the kernel: the agent's own executor, disk and driver, in the
//! network of a laboratory's server. The connection that brings the bytes is left out, and so is whatever
//! comes after the cut.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use digue_agent::clocks::HostClocks;
use digue_agent::drivers::{NetDriver, NftDriver, Place, capability};
use digue_agent::execute::{Executor, Outlets};
use digue_agent::kernel::KernelDriver;
use digue_agent::keyfile::HostKey;
use digue_agent::roots::Roots;
use digue_agent::sd::ServiceManager;
use digue_agent::store::Store;
use digue_proto::frame::FromController;
use digue_proto::host::{Host, Identity, Input};
use digue_proto::rules::{RuleSet, Support};
use digue_proto::trust_chain::Trust;
use tokio::sync::mpsc;

use crate::lab::Lab;
use crate::namespace::{inside, servers};
use crate::probe::{all_reach_outside, none_reaches_outside};
use crate::rules::facts;
use crate::verify::identity;
use crate::watch::Watch;

const LIMIT: Duration = Duration::from_secs(10);

/// Times of one host.
#[derive(Debug, Default)]
pub(crate) struct Times {
    /// From the order's bytes to the kernel's announcement.
    pub(crate) cut: Vec<Duration>,
    /// A part of it: one state of the host written and synced.
    pub(crate) state_written: Vec<Duration>,
    /// A part of it: cards, routes and leases looked at.
    pub(crate) looked_at: Vec<Duration>,
}

/// Measures `runs` times, each time on an open host that has a state on disk. `body` is the frame that
/// brings the order, behind its length.
///
/// # Errors
/// The host was not cut, or a part of the agent cannot be made.
pub(crate) fn bytes_to_kernel(trust: &Trust, body: &[u8], runs: usize) -> Result<Times> {
    let lab = Lab::up(1, true)?;
    let servers = servers(lab.laboratory(), 1)?;
    let support = capability().support;
    let mut watch = Watch::open(&servers)?;
    let mut times = Times::default();
    for number in 0..=runs {
        all_reach_outside(&servers)?;
        let state = lab.file(&format!("state-{number}"));
        std::fs::create_dir(&state).with_context(|| format!("creating {}", state.display()))?;
        let (started, cuts) = watch.cuts_during(LIMIT, || {
            let started = inside(&servers, |_, _| {
                let mut executor = executor(&state, trust, support)?;
                let started = Instant::now();
                let FromController::Deliver(delivery) = FromController::decode(body)? else {
                    bail!("the frame is another one");
                };
                executor.take(Input::Deliver(delivery), &mut VecDeque::new())?;
                Ok((started, executor))
            })?;
            started.into_iter().next().context("there is no server")
        })?;
        none_reaches_outside(&servers)?;
        let (started, executor) = started;
        let parts = inside(&servers, |_, place| {
            let (mut store, _) = Store::open(&state);
            // Both copies, so that both files are there.
            store.write(executor.host().state())?;
            store.write(executor.host().state())?;
            let before = Instant::now();
            store.write(executor.host().state())?;
            let written = Instant::now();
            facts(place, support)?;
            Ok((written.duration_since(before), written.elapsed()))
        })?;
        drop(executor);
        inside(&servers, |_, place| Ok(NftDriver::open(place)?.apply(&RuleSet::empty())?))?;
        if number > 0 {
            times.cut.push(cuts.since(started)?.1);
            times.state_written.extend(parts.iter().map(|(written, _)| *written));
            times.looked_at.extend(parts.iter().map(|(_, looked_at)| *looked_at));
        }
    }
    Ok(times)
}

/// An agent's core and hands, awake, with its first state written.
fn executor(state: &std::path::Path, trust: &Trust, support: Support) -> Result<Executor<KernelDriver>> {
    let clocks = HostClocks::new()?;
    let (key, _) = HostKey::load_or_make(state)?;
    let (store, loaded) = Store::open(state);
    let identity = Identity { host_key: key.public().clone(), ..identity()? };
    let (host, effects) = Host::wake(identity, trust.clone(), loaded, &clocks.now()?);
    let driver = KernelDriver::open(
        Place::current(true)?,
        Arc::new(ServiceManager::none()),
        Vec::new(),
        support,
        true,
    )?;
    // Nobody makes the connections that proofs ask for: they come after the cut.
    let (proofs, _) = mpsc::channel(1);
    let roots = Roots::of(state);
    let root_version = Arc::new(AtomicU64::new(0));
    let outlets = Outlets { driver, store, roots, key, clocks, proofs, root_version };
    let mut executor = Executor::new(host, outlets);
    executor.begin(effects)?;
    Ok(executor)
}
