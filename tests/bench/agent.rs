//! What the agent costs a server: its file, its memory, and its processor time when nothing happens.
//!
//! Memory is what the kernel counts for each agent of a laboratory, pages that it shares with the others of
//! the same file included; a server has one agent, so that is what it would cost there.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::figure::{Budget, Figure, Findings};
use crate::lab::{Lab, programs, run, word};
use crate::process::Process;

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
    let agents = Process::all(&lab, "digue-agent")?;
    ensure!(agents.len() == usize::from(HOSTS), "{} of {HOSTS} agents run", agents.len());
    let times = || agents.iter().map(Process::processor_time).collect::<Result<Vec<_>>>();
    let before = times()?;
    let started = Instant::now();
    std::thread::sleep(IDLE);
    let waited = started.elapsed().as_secs_f64();
    let shares = times()?.into_iter().zip(before);
    let shares: Vec<f64> =
        shares.map(|(after, before)| after.saturating_sub(before).as_secs_f64() / waited * 100.0).collect();
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
    let threads: Vec<f64> = agents.iter().map(Process::threads).collect::<Result<_>>()?;
    findings.figures.push(Figure::new("threads", "", &threads)?);
    findings.notes.push(format!(
        "each value is one of {HOSTS} agents of a laboratory; processor time is the kernel's own count for \
         all threads over {} s, heartbeats included",
        IDLE.as_secs()
    ));
    Ok(findings)
}

fn memory(agents: &[Process], when: &str, findings: &mut Findings) -> Result<()> {
    for (what, field, limit) in [("resident", "Rss:", 6.0), ("anonymous", "Anonymous:", 1.0)] {
        let values: Vec<f64> = agents.iter().map(|agent| agent.memory(field)).collect::<Result<_>>()?;
        let figure = Figure::new(format!("{what} memory, {when}"), "MB", &values)?;
        findings.figures.push(figure.within(Budget::AtMost(limit)));
    }
    Ok(())
}
