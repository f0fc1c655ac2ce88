//! `digue-bench`: measures Digue against its budgets (section 8), beside what it is to be compared with.
//!
//! Figures of one run belong together: a machine that others use too is slower at one time than at
//! another, so ratios count, not times. Everything happens inside laboratories. A figure over its budget
//! fails nothing; the exit code is 1 if something could not be measured or was not verified.

mod agent;
mod cut;
mod figure;
mod floor;
mod host;
mod lab;
mod machine;
mod namespace;
mod probe;
mod process;
mod relay;
mod rules;
#[expect(unsafe_code, reason = "one call that the library of system calls does not have")]
mod schedule;
mod ssh;
mod verify;
mod watch;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, ValueEnum};

use crate::figure::Findings;
use crate::machine::Machine;

/// Measures Digue against its budgets.
#[derive(Debug, Parser)]
#[command(name = "digue-bench", version)]
struct Cli {
    /// One benchmark; all of them if none is named.
    name: Option<Name>,
    /// Sizes of the laboratories of `cut`; the last is the benchmark's own figure.
    #[arg(long, value_delimiter = ',', default_value = "12,50,200", value_name = "N,N,…")]
    hosts: Vec<u16>,
    /// How often each thing is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..))]
    runs: u16,
}

/// A benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// From one command to the last host cut, and to the last host verified.
    Cut,
    /// Size, memory and idle load of the agent.
    Agent,
    /// Checking an order, making rules of it, and loading them.
    Verify,
}

impl Name {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Cut => "cut",
            Self::Agent => "agent",
            Self::Verify => "verify",
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("digue-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether everything was measured and verified.
fn run(cli: &Cli) -> Result<bool> {
    let machine = Machine::here();
    println!("{}\n", machine.shown());
    // Beside the programs, which are in target/PROFILE.
    let folder = lab::programs()?.parent().context("the programs have no folder")?.join("bench");
    let mut complete = true;
    for name in cli.name.map_or_else(|| Name::value_variants().to_vec(), |name| vec![name]) {
        let measured = match name {
            Name::Cut => Ok(cut::measure(&cli.hosts, usize::from(cli.runs))),
            Name::Agent => agent::measure(),
            Name::Verify => verify::measure(usize::from(cli.runs)),
        };
        let findings = measured
            .unwrap_or_else(|error| Findings { missing: vec![format!("{error:#}")], ..Findings::default() });
        println!("{}", findings.table(name.as_str()));
        complete &= findings.missing.is_empty();
        let file = findings.write(name.as_str(), &folder, &machine)?;
        println!("({})\n", file.display());
    }
    Ok(complete)
}
