//! What the agent costs a server: its file, its memory, and its processor time when nothing happens.
//!
//! Memory is what the kernel counts for each agent of a laboratory, pages that it shares with the others of
//! the same file included; a server has one agent, so that is what it would cost there.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::figure::{Budget, Figure, Findings};
use crate::lab::{Lab, programs, run, word};

const HOSTS: u16 = 12;
/// Two heartbeats, and a few ticks.
const IDLE: Duration = Duration::from_secs(60);

/// Measures.
///
/// # Errors
/// An agent is not there, or was not cut.
pub(crate) fn measure() -> Result<Findings> {
    let mut findings = Findings::default();
    let file = programs()?.join("digue-agent");
    let size = fs::metadata(&file).with_context(|| format!("reading {}", file.display()))?.len();
    let size = Figure::new("file", "MB", &[size as f64 / 1e6])?;

    let lab = Lab::up(HOSTS, false)?;
    let agents = Agent::all(&lab)?;
    ensure!(agents.len() == usize::from(HOSTS), "{} of {HOSTS} agents run", agents.len());
    let before = processor_times(&agents)?;
    let started = Instant::now();
    std::thread::sleep(IDLE);
    let waited = started.elapsed().as_secs_f64();
    let shares: Vec<f64> = processor_times(&agents)?
        .iter()
        .zip(before)
        .map(|(after, before)| (after - before) / waited * 100.0)
        .collect();
    let busy = Figure::new("processor time, idle, of one core", "%", &shares)?;
    findings.figures.extend([size.within(Budget::AtMost(6.0)), busy.within(Budget::AtMost(0.02))]);
    memory(&agents, "idle", &mut findings)?;

    let plan = lab.file("cut.plan");
    run(lab.digue([
        "plan",
        "cut",
        "--all",
        "--reason",
        "benchmark",
        "--incident",
        "bench",
        "-o",
        word(&plan)?,
    ]))?;
    run(lab.digue(["apply", word(&plan)?, "--sign", "alice", "--wait", "--timeout", "60s"]))?;
    memory(&agents, "after a cut", &mut findings)?;
    let threads: Vec<f64> = agents.iter().map(Agent::threads).collect::<Result<_>>()?;
    findings.figures.push(Figure::new("threads", "", &threads)?);
    findings.notes.push(format!(
        "each value is one of {HOSTS} agents of a laboratory; processor time is the kernel's own count for \
         all threads over {} s, heartbeats included",
        IDLE.as_secs()
    ));
    Ok(findings)
}

fn memory(agents: &[Agent], when: &str, findings: &mut Findings) -> Result<()> {
    for (what, field, limit) in [("resident", "Rss:", 6.0), ("anonymous", "Anonymous:", 1.0)] {
        let values: Vec<f64> = agents.iter().map(|agent| agent.memory(field)).collect::<Result<_>>()?;
        let figure = Figure::new(format!("{what} memory, {when}"), "MB", &values)?;
        findings.figures.push(figure.within(Budget::AtMost(limit)));
    }
    Ok(())
}

fn processor_times(agents: &[Agent]) -> Result<Vec<f64>> {
    agents.iter().map(Agent::processor_seconds).collect()
}

/// A running agent.
#[derive(Debug)]
struct Agent {
    process: PathBuf,
}

impl Agent {
    /// The agents of a laboratory, found by their command lines.
    fn all(lab: &Lab) -> Result<Vec<Self>> {
        let folder = word(lab.laboratory().place().root())?;
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").context("listing processes")? {
            let process = entry?.path();
            // Whatever has ended meanwhile has no command line.
            let words = fs::read(process.join("cmdline")).unwrap_or_default();
            let mut words = words.split(|byte| *byte == 0);
            let is_agent = words.next().is_some_and(|program| program.ends_with(b"/digue-agent"));
            if is_agent && words.any(|word| word.starts_with(folder.as_bytes())) {
                found.push(Self { process });
            }
        }
        Ok(found)
    }

    fn read(&self, name: &str) -> Result<String> {
        read(&self.process.join(name))
    }

    /// In MB of a million bytes.
    fn memory(&self, field: &str) -> Result<f64> {
        let text = self.read("smaps_rollup")?;
        let line = text.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse::<f64>().ok());
        Ok(kib.with_context(|| format!("smaps_rollup has no {field}"))? * 1024.0 / 1e6)
    }

    /// On any core since the agent began, in seconds.
    fn processor_seconds(&self) -> Result<f64> {
        let mut nanoseconds = 0.0;
        for task in fs::read_dir(self.process.join("task")).context("listing an agent's threads")? {
            let text = read(&task?.path().join("schedstat"))?;
            let first = text.split(' ').next().and_then(|number| number.parse::<f64>().ok());
            nanoseconds += first.context("schedstat has no number")?;
        }
        Ok(nanoseconds / 1e9)
    }

    fn threads(&self) -> Result<f64> {
        let text = self.read("status")?;
        let line = text.lines().find_map(|line| line.strip_prefix("Threads:"));
        line.and_then(|number| number.trim().parse().ok()).context("status has no number of threads")
    }
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}
