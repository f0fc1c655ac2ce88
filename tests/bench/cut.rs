//! From one command to the last host cut in the kernel, and to the last host verified; beside the floor and
//! beside parallel ssh, in laboratories of the same size on the same machine.
//!
//! Everything runs on the same cores: operator, controller, all agents, the watch, the relay that notes
//! when the order was posted, and (in the laboratory without agents) every sshd.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::figure::{Budget, Figure, Findings, Ratio};
use crate::floor::{self, all_hold, rules_of};
use crate::lab::{Lab, run, word};
use crate::namespace::{Server, servers};
use crate::probe::{all_reach_outside, none_reaches_outside};
use crate::process::{Process, total};
use crate::relay::Relay;
use crate::ssh;
use crate::watch::Watch;

/// The size that the budgets are for.
const BUDGETED: u16 = 200;
/// From a number of servers on, parallel ssh is measured this often only: once takes most of a minute.
const MANY: u16 = 100;
const SSH_RUNS_WITH_MANY: usize = 2;
/// Until every server must be cut.
const LIMIT: Duration = Duration::from_secs(60);

/// Times of one order for all servers, each from starting the operator's command.
#[derive(Debug, Default)]
struct Times {
    posted: Vec<Duration>,
    first_cut: Vec<Duration>,
    last_cut: Vec<Duration>,
    /// From the posted order on.
    posted_to_cut: Vec<Duration>,
    /// The command ended, having seen every server verified.
    verified: Vec<Duration>,
    /// Processor time of all agents, from the command's start to its end.
    agents: Vec<Duration>,
    /// Processor time of the controller, likewise.
    controller: Vec<Duration>,
}

/// Measures for each number of servers.
pub(crate) fn measure(hosts: &[u16], runs: usize) -> Findings {
    let mut findings = Findings::default();
    // The last size first: it is the benchmark's own figure.
    for &count in hosts.iter().rev() {
        if let Err(error) = with(count, runs, &mut findings) {
            findings.missing.push(format!("{count} servers: {error:#}"));
        }
    }
    findings.notes.extend(
        [
            "\"apply\" is the start of the process `digue apply PLAN --sign alice --wait`; \"order posted\" is \
             when the first byte of the signed order left it",
            "\"cut\" is the kernel's own announcement in each server's network of chains that drop on input \
             and output; afterwards no server reached the outside over IPv4 or IPv6",
            "\"verified\" is the command's own end with success: every host's signed receipt says so (read \
             back, canaries, a new connection), and `digue status` counts all as cut, none as stale",
            "the floor is the same rules loaded over netlink by one process, sockets open beforehand; the \
             rules read back in every network were compared with those that the agents loaded",
            "parallel ssh had keys in place, fewer rules (three chains) and their file on every server; it \
             authenticates the server to nobody and verifies nothing",
            "load generators count: operator, controller, all agents, the watch and every sshd share the \
             machine's cores",
        ]
        .map(str::to_owned),
    );
    findings
}

fn with(count: u16, runs: usize, findings: &mut Findings) -> Result<()> {
    let of = |what: &str| format!("{what}, {count} hosts");
    let budget = |limit| (count == BUDGETED).then_some(Budget::AtMost(limit));

    let (floor, ssh) = without_agents(count, runs).context("without agents")?;
    let times = with_agents(count, runs).context("with agents")?;
    let mut last_cut = Figure::millis(of("apply → last cut"), &times.last_cut)?;
    last_cut.budget = budget(250.0);
    let posted_to_cut = Figure::millis(of("order posted → last cut"), &times.posted_to_cut)?;
    let mut verified = Figure::millis(of("apply → last verified"), &times.verified)?;
    verified.budget = budget(1000.0);
    let kept = Figure::millis(of("floor"), &floor.kept)?;
    let ssh_cut = Figure::millis(of(&format!("{} → last cut", ssh.tool)), &ssh.cut)?;

    let limits = |ratio: Ratio, limit| if count == BUDGETED { ratio.within(limit) } else { ratio };
    findings.ratios.extend([
        limits(Ratio::new(of("apply → last cut / floor"), &last_cut, &kept), Budget::AtMost(2.0)),
        Ratio::new(of("order posted → last cut / floor"), &posted_to_cut, &kept),
        limits(Ratio::new(of("parallel ssh / apply → last cut"), &ssh_cut, &last_cut), Budget::AtLeast(20.0)),
    ]);
    findings.figures.extend([
        last_cut,
        Figure::millis(of("apply → order posted"), &times.posted)?,
        posted_to_cut,
        Figure::millis(of("apply → first cut"), &times.first_cut)?,
        verified,
        each(&of("processor time, agent: one cut, verified"), &times.agents, count)?,
        each(&of("processor time, controller: one cut, per host"), &times.controller, count)?,
        kept,
        each(&of("processor time, floor: rules loaded, per host"), &floor.processor, count)?,
        each(&of("processor time, driver: rules read back, per host"), &floor.read_back, count)?,
        Figure::millis(of("floor, sockets opened too"), &floor.fresh)?,
        Figure::millis(of("floor, opened and closed"), &floor.fresh_closed)?,
        ssh_cut,
        Figure::millis(of(&format!("{} → end", ssh.tool)), &ssh.ended)?,
    ]);
    Ok(())
}

/// What one host's share is of a time that was taken for all.
fn each(name: &str, all: &[Duration], count: u16) -> Result<Figure> {
    let shares: Vec<Duration> = all.iter().map(|time| *time / u32::from(count)).collect();
    Figure::millis(name, &shares)
}

fn without_agents(count: u16, runs: usize) -> Result<(floor::Floor, ssh::Ssh)> {
    let lab = Lab::up(count, true)?;
    let servers = servers(lab.laboratory(), count)?;
    let rules = rules_of(&servers)?;
    let floor = floor::measure(&servers, &rules, runs).context("measuring the floor")?;
    let ssh_runs = if count >= MANY { runs.min(SSH_RUNS_WITH_MANY) } else { runs };
    let ssh = ssh::measure(&lab, &servers, ssh_runs).context("measuring parallel ssh")?;
    Ok((floor, ssh))
}

fn with_agents(count: u16, runs: usize) -> Result<Times> {
    let lab = Lab::up(count, false)?;
    let servers = servers(lab.laboratory(), count)?;
    let rules = rules_of(&servers)?;
    let mut watch = Watch::open(&servers)?;
    let agents = Process::all(&lab, "digue-agent")?;
    let controller = Process::all(&lab, "digue-controller")?;
    ensure!(agents.len() == servers.len() && controller.len() == 1, "not every agent runs");
    let relay = Relay::enter(&lab.context_file(), &lab.file(""))?;
    let mut times = Times::default();
    for number in 0..=runs {
        all_reach_outside(&servers)?;
        let plan = lab.file(&format!("cut-{number}.plan"));
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
        relay.posted();
        let spent = (total(&agents)?, total(&controller)?);
        let words = ["apply", word(&plan)?, "--sign", "alice", "--wait", "--timeout", "60s"];
        let ((started, verified), cuts) = watch.cuts_during(LIMIT, || {
            let started = Instant::now();
            run(lab.digue(words))?;
            Ok((started, started.elapsed()))
        })?;
        let posted = relay.posted().context("no order was posted")?;
        let now_spent = (total(&agents)?, total(&controller)?);
        everything_is_cut(&lab, &servers)?;
        all_hold(&servers, &rules)?;
        // The first order meets hosts that never had a state on disk; all later ones are alike.
        if number > 0 {
            let (first, last) = cuts.since(started)?;
            times.posted.push(posted.saturating_duration_since(started));
            times.first_cut.push(first);
            times.last_cut.push(last);
            times.posted_to_cut.push(cuts.since(posted)?.1);
            times.verified.push(verified);
            times.agents.push(now_spent.0.saturating_sub(spent.0));
            times.controller.push(now_spent.1.saturating_sub(spent.1));
        }
        if number < runs {
            release(&lab, &servers, number)?;
        }
    }
    Ok(times)
}

fn everything_is_cut(lab: &Lab, servers: &[Server]) -> Result<()> {
    none_reaches_outside(servers)?;
    let expected = format!("cut=={} and stale==0", servers.len());
    run(lab.digue(["status", "--expect", &expected])).context("counting the hosts")?;
    Ok(())
}

/// Two people state that every host is clean, two people reopen it.
fn release(lab: &Lab, servers: &[Server], number: usize) -> Result<()> {
    let names: Vec<&str> = servers.iter().map(|server| server.machine.name.as_str()).collect();
    let names = names.join(",");
    let words =
        ["verdict", "set", &names, "clean", "--reason", "benchmark", "--assurance", "L1", "--sign", "bruno"];
    run(lab.digue(words.into_iter().chain(["--sign", "claire"]))).context("stating that hosts are clean")?;
    let plan = lab.file(&format!("release-{number}.plan"));
    let words =
        ["plan", "release", "--all", "--reason", "benchmark", "--incident", "bench", "-o", word(&plan)?];
    run(lab.digue(words))?;
    let words = ["apply", word(&plan)?, "--sign", "alice", "--sign", "bruno", "--wait", "--timeout", "60s"];
    run(lab.digue(words)).context("reopening the hosts")?;
    ensure!(!servers.is_empty(), "there is no host");
    Ok(())
}
