//! `digue-intruder`: what an intruder with root on a machine, or whoever owns the controller, would run.
//! The whole-program tests start it inside a laboratory, by `digue-lab exec`.
//!
//! It refuses to run in the network namespace of process 1, so it does nothing on a machine outside of a
//! laboratory. Deliberately absent: anything that finds a target by itself; each address is an argument.

mod controller;
mod frame;
mod talk;
mod watch;

use std::fs;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "digue-intruder")]
struct Cli {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Open sessions, speak on each again and again, and never open a new one.
    Talk {
        /// `tcp:ADDRESS:PORT` or `udp:ADDRESS:PORT`.
        #[arg(required = true)]
        targets: Vec<talk::Target>,
        /// What is said, with a number behind it.
        #[arg(long)]
        text: String,
    },
    /// Write a UDP packet to a card, past everything that looks at packets.
    Frame(frame::FrameArgs),
    /// Print each packet that arrives by a card, as JSON lines.
    Watch {
        /// The card.
        #[arg(long, default_value = "eth0")]
        card: String,
    },
    /// Be a controller that says whatever it is told to, one JSON object a line.
    Controller {
        /// Where to listen.
        #[arg(long)]
        listen: SocketAddr,
        /// The stolen key of a controller.
        #[arg(long)]
        key: PathBuf,
    },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let network = |process: &str| {
        let file = format!("/proc/{process}/ns/net");
        fs::metadata(&file).map(|meta| meta.ino()).with_context(|| format!("reading {file}"))
    };
    ensure!(
        network("self")? != network("1")?,
        "this is not a machine of a laboratory: it is in the network of process 1; nothing was done"
    );
    match cli.act {
        Act::Talk { targets, text } => talk::run(&targets, &text),
        Act::Frame(args) => frame::run(&args),
        Act::Watch { card } => watch::run(&card),
        Act::Controller { listen, key } => controller::run(listen, &key),
    }
}

/// Prints one JSON object and a line's end, at once.
fn say(value: &impl serde::Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    out.write_all(&line).and_then(|()| out.flush()).context("nobody listens any more")
}
