//! `digue-agent doctor`: before the incident, does this host have what a cut needs?
//!
//! Everything is tried, nothing is changed: the kernel's support in a private namespace, the controllers
//! by real connections. Deliberately absent: repair.

use std::fmt::Write as _;
use std::path::Path;

use digue_proto::host::Loaded;
use digue_proto::report::Level;
use digue_proto::trust_chain::Trust;
use serde::Serialize;

use crate::clocks::{BUILT_AT_MS, HostClocks};
use crate::config::{Config, Controller};
use crate::drivers::{self, Capability};
use crate::keyfile::HostKey;
use crate::link::{Dialler, chain};
use crate::roots::Roots;
use crate::status::RunLock;
use crate::store::Store;

/// What came of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finding {
    /// As it should be.
    Ok,
    /// The agent works, a cut holds less well or something will go wrong later.
    Warning,
    /// The agent cannot do its work.
    Failed,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// What was checked.
    pub name: String,
    /// What came of it.
    pub finding: Finding,
    /// What was seen.
    pub detail: String,
}

/// All checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `digue-agent-doctor/v1`.
    #[serde(rename = "apiVersion")]
    pub api_version: &'static str,
    /// How far a cut holds on this kernel.
    pub level: Level,
    /// The checks, in the order in which they were made.
    pub checks: Vec<Entry>,
}

impl Report {
    /// Whether nothing failed.
    pub fn healthy(&self) -> bool {
        self.checks.iter().all(|check| check.finding != Finding::Failed)
    }

    /// The report for people.
    pub fn text(&self) -> String {
        let mut text = format!("containment level {:?}\n", self.level);
        for check in &self.checks {
            let mark = match check.finding {
                Finding::Ok => "ok     ",
                Finding::Warning => "WARNING",
                Finding::Failed => "FAILED ",
            };
            // Writing to a text cannot fail.
            let _ = writeln!(text, "{mark}  {}: {}", check.name, check.detail);
        }
        text
    }

    fn add(&mut self, name: &str, finding: Finding, detail: impl Into<String>) {
        self.checks.push(Entry { name: name.to_owned(), finding, detail: detail.into() });
    }

    fn add_result(&mut self, name: &str, result: Result<String, String>) {
        match result {
            Ok(detail) => self.add(name, Finding::Ok, detail),
            Err(detail) => self.add(name, Finding::Failed, detail),
        }
    }
}

/// Checks everything that can be checked on this host.
pub fn examine(config_path: &Path) -> Report {
    let capability = drivers::capability();
    let mut report =
        Report { api_version: "digue-agent-doctor/v1", level: capability.level, checks: Vec::new() };
    kernel(&mut report, &capability);
    let config = match Config::load(config_path) {
        Ok(config) => config,
        Err(error) => {
            report.add("configuration", Finding::Failed, chain(&error));
            return report;
        }
    };
    report.add("configuration", Finding::Ok, config_path.display().to_string());
    let running = RunLock::is_held(&config.run_dir);
    let (finding, detail) = if running {
        (Finding::Ok, "running")
    } else {
        (Finding::Warning, "not running; start digue-agent.service")
    };
    report.add("agent", finding, detail);
    let key = HostKey::load(&config.state_dir);
    report.add_result(
        "host key",
        key.as_ref().map(|k| k.public().fingerprint().to_string()).map_err(|e| chain(e)),
    );
    let trust = trust(&mut report, &config);
    let floor = state(&mut report, &config);
    clock(&mut report, trust.as_ref(), floor);
    if let Ok(key) = key {
        controllers(&mut report, &config, &key, trust.as_ref());
    }
    report
}

fn kernel(report: &mut Report, capability: &Capability) {
    for trial in &capability.trials {
        let finding = match (trial.works, capability.level) {
            (true, _) => Finding::Ok,
            (false, Level::L0) => Finding::Failed,
            (false, _) => Finding::Warning,
        };
        report.add(&trial.name, finding, &trial.detail);
    }
}

fn trust(report: &mut Report, config: &Config) -> Option<Trust> {
    match Roots::of(&config.state_dir).load() {
        Ok((trust, None)) => {
            let detail = format!("version {}, deployment {}", trust.version(), trust.deployment_id());
            report.add("trust root", Finding::Ok, detail);
            Some(trust)
        }
        Ok((trust, Some(error))) => {
            let detail = format!("only version {} can be used: {}", trust.version(), chain(&error));
            report.add("trust root", Finding::Warning, detail);
            Some(trust)
        }
        Err(error) => {
            report.add("trust root", Finding::Failed, chain(&error));
            None
        }
    }
}

/// Checks the state; returns the earliest time that the state lets the clock be.
fn state(report: &mut Report, config: &Config) -> u64 {
    match Store::open(&config.state_dir).1 {
        Loaded::Absent => {
            report.add("state", Finding::Ok, "no order was ever accepted");
            0
        }
        Loaded::State(state) => {
            let detail = if state.policy.contains() { "contained" } else { "open" };
            report.add("state", Finding::Ok, detail);
            state.time_floor_ms.0
        }
        Loaded::Unreadable(why) => {
            report.add(
                "state",
                Finding::Failed,
                format!("unreadable, so the host counts as contained: {why}"),
            );
            0
        }
    }
}

fn clock(report: &mut Report, trust: Option<&Trust>, floor: u64) {
    let clocks = match HostClocks::new().and_then(|clocks| clocks.read()) {
        Ok(clocks) => clocks,
        Err(error) => return report.add("clock", Finding::Failed, chain(&error)),
    };
    let issued = trust.map_or(0, |t| t.root().issued_at_ms.0);
    let floor = floor.max(issued).max(BUILT_AT_MS.0);
    let now = clocks.wall_ms.to_string();
    if clocks.wall_ms.0 >= floor {
        report.add("clock", Finding::Ok, now);
    } else {
        let floor = digue_proto::id::UnixMillis(floor);
        report.add("clock", Finding::Warning, format!("{now} is before {floor}, which it cannot be"));
    }
}

fn controllers(report: &mut Report, config: &Config, key: &HostKey, trust: Option<&Trust>) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report.add("controllers", Finding::Failed, error.to_string()),
    };
    let mut reached = 0;
    for controller in &config.controllers {
        let name = format!("controller {}", controller.address);
        match runtime.block_on(dial(config, key, controller, trust.map_or(0, Trust::version))) {
            Ok(()) => {
                reached += 1;
                report.add(&name, Finding::Ok, "reached, with the pinned key");
            }
            Err(detail) => report.add(&name, Finding::Warning, detail),
        }
    }
    if reached == 0 {
        report.add("controllers", Finding::Failed, "none can be reached");
    }
}

async fn dial(config: &Config, key: &HostKey, controller: &Controller, root: u64) -> Result<(), String> {
    let only = std::slice::from_ref(controller);
    let dialler = Dialler::new(config.host_id.clone(), key, only, None).map_err(|e| e.to_string())?;
    dialler.root_version.store(root, std::sync::atomic::Ordering::Relaxed);
    dialler.probe().await.map(drop)
}
