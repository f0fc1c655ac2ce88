//! The host driver on a real kernel: facts, rules, sessions and probes put together in the order that
//! section 4.2 of the containment design gives.
//!
//! It decides nothing but what that order says: rules first, sessions after them when closing, before them
//! when opening. Rules are names and bytes of `digue_proto::rules`; nothing is patched.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use digue_proto::host::{Applied, Apply, Observed};
use digue_proto::id::{Digest, UnixMillis};
use digue_proto::policy::{BlockList, OnLostManagement, Policy};
use digue_proto::report::Check;
use digue_proto::rules::{self, HostFacts, ObservedNet, Owner, Role, RuleSet, Support, TableNames};
use ipnet::IpNet;

use crate::clocks::{self, HostClocks};
use crate::drivers::{self, DriverError, NetDriver as _, NftDriver, Place};
use crate::execute::HostDriver;
use crate::sd::ServiceManager;
use crate::sessions;

/// Generations of our own making that are remembered; events of older ones were heard long ago.
const REMEMBERED: usize = 32;
/// How long the tables of an earlier agent may stand beside ours after it was let go.
const LEAVING: Duration = Duration::from_secs(5);
/// How long opening waits for them; what still stands then is a difference, and tried again.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the full rules are tried before the minimal ones take their place.
const FULL_TRIES: u32 = 3;
/// Differences told in one report; the first ones say enough.
const MOST_DRIFT: usize = 20;

/// The kernel of this host's network namespace.
pub struct KernelDriver {
    nft: NftDriver,
    place: Place,
    lab: bool,
    support: Support,
    /// Whether the copy is loaded that lives and dies with this process.
    owned: bool,
    manager: Arc<ServiceManager>,
    inherited: Vec<String>,
    /// Tables of earlier agents, which vanish once the service manager has closed its descriptors too.
    leaving: BTreeSet<String>,
    /// From then on a table that has not left is a difference like any other.
    leave_by: Option<Instant>,
    /// The rules meant; the minimal ones if the kernel refused the full ones.
    meant: RuleSet,
    /// Whether they are.
    minimal: bool,
    /// Digest of the full rules that were asked for.
    asked: Option<Digest>,
    current: Option<(Policy, BlockList)>,
    own: VecDeque<u32>,
}

impl KernelDriver {
    /// A driver for the network namespace of the calling thread, with the descriptors that an earlier
    /// agent left with the service manager.
    ///
    /// # Errors
    /// [`DriverError`] if the kernel gives no netlink socket.
    pub fn open(
        place: Place,
        manager: Arc<ServiceManager>,
        inherited: Vec<(String, OwnedFd)>,
        support: Support,
        lab: bool,
    ) -> Result<Self, DriverError> {
        let mut driver = Self::new(place, manager, support, lab)?;
        for (name, fd) in inherited {
            match driver.nft.adopt(fd) {
                Ok(()) => tracing::info!(name, "rules_socket_adopted"),
                Err(error) => tracing::warn!(name, %error, "inherited_descriptor_dropped"),
            }
            driver.inherited.push(name);
        }
        if driver.nft.holds_inherited() {
            let found = driver.nft.read()?;
            let theirs = found.tables.into_iter().filter(|t| t.owner == Owner::Us);
            driver.leaving = theirs.map(|t| t.table.name).collect();
        }
        if driver.leaving.is_empty() {
            driver.take_over();
        }
        // Before the first rule: whatever this agent makes then outlives it.
        let name = format!("rules-{}", hex(&clocks::entropy::<4>().unwrap_or_default()));
        driver.manager.keep(&name, driver.nft.socket_fd());
        Ok(driver)
    }

    /// A driver that loads nothing that would vanish with the process. It takes the kernel to support
    /// everything: what it does not, the minimal profile leaves out.
    ///
    /// # Errors
    /// [`DriverError`] if the kernel gives no netlink socket.
    pub fn without_owner(place: Place, lab: bool) -> Result<Self, DriverError> {
        let driver = Self::new(place, Arc::new(ServiceManager::none()), Support::FULL, lab)?;
        Ok(Self { owned: false, ..driver })
    }

    fn new(
        place: Place,
        manager: Arc<ServiceManager>,
        support: Support,
        lab: bool,
    ) -> Result<Self, DriverError> {
        Ok(Self {
            nft: NftDriver::open(&place)?,
            place,
            lab,
            support,
            owned: true,
            manager,
            inherited: Vec::new(),
            leaving: BTreeSet::new(),
            leave_by: None,
            meant: RuleSet::empty(),
            minimal: false,
            asked: None,
            current: None,
            own: VecDeque::new(),
        })
    }

    fn facts(&self, policy: &Policy) -> Result<HostFacts, DriverError> {
        drivers::facts(&self.place, &targets(policy), self.support, Path::new("/"))
    }

    /// The full rules of a policy on this host as it looks now, and the minimal ones.
    fn compile(&self, policy: &Policy, blocked: &BlockList) -> Result<(RuleSet, RuleSet), DriverError> {
        let facts = self.facts(policy)?;
        let entropy = clocks::entropy::<8>().map_err(|error| DriverError::Os {
            operation: "drawing names of tables",
            source: std::io::Error::other(error),
        })?;
        let names = TableNames::from_entropy(entropy);
        let full = rules::compile(policy, blocked, &facts, &names);
        let minimal = rules::minimal(policy, blocked, &names);
        let timer = match policy.on_lost_management {
            OnLostManagement::ReopenAfter(seconds) => Some(kernel_timer(seconds)),
            OnLostManagement::Hold => None,
        };
        let (full, minimal) = (full.with_timer(timer), minimal.with_timer(timer));
        if self.owned { Ok((full, minimal)) } else { Ok((plain_only(full), plain_only(minimal))) }
    }

    fn load(&mut self, apply: &Apply) -> Result<Option<String>, DriverError> {
        let (mut full, mut minimal) = self.compile(&apply.policy, &apply.blocked)?;
        let mut tries = FULL_TRIES;
        let applied = loop {
            tries -= 1;
            if tries == 0 {
                break drivers::apply_or_minimal(&mut self.nft, &full, &minimal)?;
            }
            let Err(refusal) = self.nft.apply(&full) else { break drivers::Applied::Full };
            tracing::warn!(%refusal, "full_rules_refused");
            // A card may have gone since the rules were made for it.
            (full, minimal) = self.compile(&apply.policy, &apply.blocked)?;
        };
        self.remember_generation(self.nft.own_generation());
        self.asked = Some(full.digest());
        self.minimal = matches!(applied, drivers::Applied::Minimal(_));
        match applied {
            drivers::Applied::Full => {
                self.meant = full;
                Ok(None)
            }
            drivers::Applied::Minimal(refusal) => {
                self.meant = minimal;
                Ok(Some(refusal.to_string()))
            }
        }
    }

    fn remember_generation(&mut self, generation: Option<u32>) {
        self.own.extend(generation.filter(|own| self.own.back() != Some(own)));
        let surplus = self.own.len().saturating_sub(REMEMBERED);
        self.own.drain(..surplus);
    }

    /// Lets the tables of earlier agents go, once ours are in force.
    fn take_over(&mut self) {
        for name in self.inherited.drain(..) {
            self.manager.forget(&name);
        }
        if self.nft.holds_inherited() {
            self.nft.release_inherited();
            self.leave_by = Instant::now().checked_add(LEAVING);
        }
    }

    /// Waits until the service manager has closed what it was told to forget.
    fn await_leaving(&mut self) {
        let begun = Instant::now();
        while !self.leaving.is_empty() && begun.elapsed() < PATIENCE {
            let Ok(found) = self.nft.read() else { return };
            self.leaving.retain(|name| found.tables.iter().any(|t| t.table.name == *name));
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What was found, without tables that are about to vanish: they only drop more.
    fn without_leaving(&self, mut found: ObservedNet) -> ObservedNet {
        let leaving = !self.meant.is_empty() && self.leave_by.is_none_or(|by| Instant::now() < by);
        if leaving {
            found.tables.retain(|t| !self.leaving.contains(&t.table.name));
        }
        found
    }

    /// Cards that the rules in force should be bound to and are not: a chain on a renamed card is listed
    /// and protects nothing (traps 8 and 9).
    fn uncovered(&self) -> Result<Vec<rules::Drift>, DriverError> {
        let Some((policy, _)) = &self.current else { return Ok(Vec::new()) };
        // The minimal profile binds to no card, and says so by an alarm of its own.
        if self.minimal {
            return Ok(Vec::new());
        }
        Ok(rules::coverage(&self.meant, &self.facts(policy)?))
    }

    fn observe(&self, found: Result<ObservedNet, DriverError>) -> Observed {
        let meant = (!self.meant.is_empty()).then(|| self.meant.digest());
        let net = match found {
            Ok(net) => self.without_leaving(net),
            Err(error) => {
                let drift = vec![format!("the rules could not be read back: {error}")];
                return Observed { meant, found: None, drift };
            }
        };
        let mut drift = rules::diff(&self.meant, &net);
        match self.uncovered() {
            Ok(cards) => drift.extend(cards),
            Err(error) => {
                let drift = vec![format!("the cards could not be read: {error}")];
                return Observed { meant, found: None, drift };
            }
        }
        let rules = net.rule_set();
        let found = (!rules.is_empty()).then(|| rules.digest());
        Observed { meant, found, drift: drift.iter().take(MOST_DRIFT).map(ToString::to_string).collect() }
    }
}

impl HostDriver for KernelDriver {
    fn apply(&mut self, apply: &Apply) -> Applied {
        let mut sessions_cut = 0;
        if apply.end_sessions
            && let Some((policy, blocked)) = self.current.take_if(|(policy, _)| policy.contains())
        {
            // Before opening: a frozen session would go on where it stopped (trap 3).
            sessions_cut += sessions::end(&self.place, self.lab, &policy, &blocked);
        }
        let loaded = self.load(apply);
        let fallback = match loaded {
            Ok(fallback) => fallback,
            Err(error) => {
                let result = Err(error.to_string());
                return Applied { request: apply.request, result, sessions_cut, fallback: None };
            }
        };
        self.current = Some((apply.policy.clone(), apply.blocked.clone()));
        if apply.end_sessions && (apply.policy.contains() || !apply.blocked.networks.is_empty()) {
            sessions_cut += sessions::end(&self.place, self.lab, &apply.policy, &apply.blocked);
        }
        if self.meant.is_empty() {
            // Nothing is left that the tables of an earlier agent could guard.
            self.take_over();
            self.await_leaving();
        }
        let found = self.nft.read();
        let observed = self.observe(found);
        if observed.drift.is_empty() {
            self.take_over();
        }
        Applied { request: apply.request, result: Ok(observed), sessions_cut, fallback }
    }

    fn read_back(&mut self) -> Observed {
        let found = self.nft.read();
        self.observe(found)
    }

    fn probe(&mut self) -> Check {
        let at_ms = HostClocks::new().and_then(|c| c.read()).map_or(UnixMillis(0), |c| c.wall_ms);
        let facts = self.current.as_ref().map(|(policy, _)| self.facts(policy));
        let facts = match facts {
            Some(Ok(facts)) => facts,
            Some(Err(error)) => return Check::Failed { detail: error.to_string(), at_ms },
            None => return Check::NotPossible { detail: "nothing was applied by this agent".to_owned() },
        };
        match drivers::probe(&mut self.nft, &self.place, &self.meant, &facts) {
            Err(error) => Check::Failed { detail: format!("the counters cannot be read: {error}"), at_ms },
            Ok(canary) if canary.escaped() => Check::Failed { detail: canary.summary(), at_ms },
            Ok(canary) if canary.held() => Check::Passed { detail: canary.summary(), at_ms },
            Ok(canary) => Check::NotPossible { detail: canary.summary() },
        }
    }

    fn rearm(&mut self, seconds: u32) -> Result<(), String> {
        self.meant = std::mem::take(&mut self.meant).with_timer(Some(kernel_timer(seconds)));
        let before = self.nft.generation().map_err(|e| e.to_string())?;
        self.nft.rearm(&self.meant).map_err(|e| e.to_string())?;
        let after = self.nft.generation().map_err(|e| e.to_string())?;
        self.remember_generation((after == before.wrapping_add(1)).then_some(after));
        Ok(())
    }

    fn ways_around(&mut self) -> Vec<String> {
        if !self.current.as_ref().is_some_and(|(policy, _)| policy.contains()) {
            return Vec::new();
        }
        drivers::ways_around(&self.place).unwrap_or_else(|error| vec![format!("not looked for: {error}")])
    }

    fn outdated(&mut self) -> bool {
        let Some((policy, blocked)) = &self.current else { return false };
        // What cannot be looked at is looked at again by whoever applies next.
        self.compile(policy, blocked).map_or(true, |(full, _)| self.asked != Some(full.digest()))
    }

    fn made(&self, generation: u32) -> bool {
        self.own.contains(&generation)
    }
}

/// The kernel lifts a drill a little later than the core gives it up: a living agent opens it, records it
/// and says so; the kernel does it for one that is dead. The other way round, an agent that reads the rules
/// back in between would take the lifted rules for tampering and close them again.
const fn kernel_timer(seconds: u32) -> u32 {
    const SLACK: u32 = 5;
    seconds.saturating_add(SLACK)
}

/// Where packets that stay allowed go: the routers on the way are part of the rules.
fn targets(policy: &Policy) -> Vec<IpAddr> {
    let first = |net: &IpNet| net.hosts().next().unwrap_or(net.network());
    let mut targets: Vec<IpAddr> = policy.controllers.iter().map(std::net::SocketAddr::ip).collect();
    targets.extend(policy.internal.iter().map(first));
    targets.extend(policy.exceptions.iter().map(|e| first(&e.peer)));
    targets.sort_unstable();
    targets.dedup();
    targets
}

/// The copies that live without a process: what early boot leaves behind.
fn plain_only(mut rules: RuleSet) -> RuleSet {
    rules.tables.retain(|table| table.role() != Some(Role::Owned));
    rules
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
