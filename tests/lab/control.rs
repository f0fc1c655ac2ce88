//! What is said over a laboratory's control socket: one JSON line each way, and for `exec` a descriptor of
//! the machine's first process, by which the client enters the machine itself.
//!
//! Deliberately absent: running commands for the client. A command runs with the client's own terminal,
//! environment and signals.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::incident::IncidentKind;
use crate::namespace::receive_with_descriptor;
use crate::network::GuestKind;
use crate::place::Place;
use crate::topology::Role;

/// How a verb prints its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// A verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// What is there and what runs.
    Status,
    /// The descriptor of a machine.
    Enter {
        /// A machine or guest.
        machine: String,
    },
    /// A new guest.
    CreateGuest {
        /// The machine that it runs on.
        host: String,
        /// How it is connected.
        kind: GuestKind,
        /// Its name.
        name: String,
    },
    /// Ends a guest.
    RemoveGuest {
        /// Its name.
        name: String,
    },
    /// Starts a harmless incident.
    StartIncident {
        /// Which one.
        kind: IncidentKind,
        /// On which machine.
        host: String,
    },
    /// Ends all incidents.
    StopIncidents,
    /// Ends or starts Digue's program on a machine.
    Program {
        /// The machine.
        machine: String,
        /// What to do with it.
        action: ProgramAction,
    },
    /// Connects a machine of the inside to the switch, or disconnects it.
    Cable {
        /// The machine.
        machine: String,
        /// Whether it is to be connected.
        plugged: bool,
    },
    /// Ends the laboratory.
    Down,
}

/// What is done with Digue's program on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgramAction {
    /// SIGKILL.
    Kill,
    /// SIGTERM, and SIGKILL if it has not ended three seconds later.
    Stop,
    /// Start it again, as it was started.
    Start,
}

/// The answer to a verb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Done; there is nothing more to say.
    Done,
    /// The answer to [`Request::Status`].
    Status(Box<Status>),
    /// The descriptor comes with this line.
    Entered {
        /// Whether the laboratory lives in a user namespace, which is to be entered too.
        user_namespace: bool,
    },
    /// The new guest.
    Guest(GuestStatus),
    /// How many processes were ended.
    Ended {
        /// Processes of machines, agents, controllers and incidents.
        processes: usize,
    },
}

/// The line that is sent back: what came of the verb, or what went wrong, why, and what to do.
pub(crate) type Answer = Result<Response, String>;

/// A whole laboratory as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its folder.
    pub dir: PathBuf,
    /// When it was up, in milliseconds since 1970.
    pub since_ms: u64,
    /// Its own network namespace.
    pub network_namespace: u64,
    /// Whether it was made in a user namespace, without root.
    pub user_namespace: bool,
    /// Whether it is without Digue's processes.
    pub bare: bool,
    /// Its machines.
    pub machines: Vec<MachineStatus>,
    /// Its guests.
    pub guests: Vec<GuestStatus>,
    /// The incidents that were started.
    pub incidents: Vec<IncidentStatus>,
}

/// One machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineStatus {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
    /// Whether its first process lives.
    pub on: bool,
    /// Digue's processes on it.
    pub programs: Vec<ProgramStatus>,
}

/// One of Digue's processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramStatus {
    /// `digue-agent` or `digue-controller`.
    pub program: String,
    /// `running`, or how it ended.
    pub state: String,
    /// Its log.
    pub log: PathBuf,
}

/// One guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestStatus {
    /// Its name.
    pub name: String,
    /// The machine that it runs on.
    pub host: String,
    /// How it is connected.
    pub kind: GuestKind,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
    /// Whether its first process lives.
    pub on: bool,
}

/// One incident.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncidentStatus {
    /// Which one.
    pub kind: IncidentKind,
    /// On which machine.
    pub host: String,
    /// `running`, or how it ended.
    pub state: String,
    /// What it does and what came of it, one [`crate::incident::Act`] a line.
    pub log: PathBuf,
}

/// Longest line either way.
pub(crate) const LINE_MAX_BYTES: usize = 1024 * 1024;
/// How long a verb may take; making a guest or ending everything takes well under a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Asks the laboratory in `place`.
///
/// # Errors
/// No laboratory runs there, it does not answer, or it refused.
pub fn ask(place: &Place, request: &Request) -> Result<Response> {
    ask_with_descriptor(place, request).map(|(response, _)| response)
}

/// As [`ask`], with the descriptor that came along.
///
/// # Errors
/// As [`ask`].
pub fn ask_with_descriptor(place: &Place, request: &Request) -> Result<(Response, Option<OwnedFd>)> {
    let socket = place.control_socket();
    let mut stream = UnixStream::connect(&socket).map_err(|error| no_laboratory(place, &error))?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).context("sending to the laboratory")?;
    let mut received = vec![0; LINE_MAX_BYTES];
    let (mut length, descriptor) = receive_with_descriptor(stream.as_fd(), &mut received)
        .context("waiting for the laboratory's answer")?;
    while length > 0 && received.get(length - 1) != Some(&b'\n') {
        let rest = received.get_mut(length..).unwrap_or_default();
        let more = stream.read(rest).context("waiting for the laboratory's answer")?;
        if more == 0 {
            break;
        }
        length += more;
    }
    let line = received.get(..length).unwrap_or_default();
    let answer: Answer = serde_json::from_slice(line).context("the laboratory ended before it answered")?;
    answer.map(|response| (response, descriptor)).map_err(|error| anyhow!(error))
}

fn no_laboratory(place: &Place, error: &std::io::Error) -> anyhow::Error {
    let root = place.root().display();
    if [ErrorKind::NotFound, ErrorKind::ConnectionRefused].contains(&error.kind()) {
        anyhow!(
            "no laboratory runs in {root}; start one with `digue-lab up --detach`, or name its folder with --dir"
        )
    } else if error.kind() == ErrorKind::PermissionDenied {
        anyhow!("the laboratory in {root} belongs to another user")
    } else {
        anyhow!("connecting to {}: {error}", place.control_socket().display())
    }
}
