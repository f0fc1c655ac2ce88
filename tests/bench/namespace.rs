//! Working inside the networks of a laboratory's servers, on threads that are joined to them and to nothing
//! else of theirs.
//!
//! The benchmark's own threads stay in the network that it was started in, where it changes nothing. A
//! thread that would change rules proves first that it is inside, twice: here, and by the agent's own guard.

use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result, bail, ensure};
use digue_agent::drivers::Place;
use digue_lab::control::{Request, Response, ask_with_descriptor};
use digue_lab::laboratory::Laboratory;
use digue_lab::topology::Machine;
use nix::sched::{CloneFlags, setns};

/// A server of the laboratory, with a handle on its network.
#[derive(Debug)]
pub(crate) struct Server {
    /// Name and addresses.
    pub(crate) machine: Machine,
    first_process: OwnedFd,
}

/// The first `count` servers of a laboratory.
///
/// # Errors
/// One is not there, or the laboratory was started without root: its networks then belong to a user
/// namespace that threads cannot enter.
pub(crate) fn servers(laboratory: &Laboratory, count: u16) -> Result<Vec<Server>> {
    let mut servers = Vec::with_capacity(count.into());
    for number in 1..=count {
        let machine = Machine::server(number)?;
        let request = Request::Enter { machine: machine.name.clone() };
        let (response, descriptor) = ask_with_descriptor(laboratory.place(), &request)?;
        let (Response::Entered { user_namespace }, Some(first_process)) = (response, descriptor) else {
            bail!("the laboratory sent no descriptor of {}", machine.name);
        };
        ensure!(!user_namespace, "measuring inside the laboratory needs root");
        servers.push(Server { machine, first_process });
    }
    Ok(servers)
}

/// Runs `work` once for each server, on one thread that is in that server's network meanwhile.
///
/// # Errors
/// A network cannot be entered, or `work` failed; the server is named.
pub(crate) fn inside<T: Send>(
    servers: &[Server],
    mut work: impl FnMut(&Server, &Place) -> Result<T> + Send,
) -> Result<Vec<T>> {
    let visit = || {
        let mut done = Vec::with_capacity(servers.len());
        for server in servers {
            let name = &server.machine.name;
            let place = enter(server).with_context(|| format!("entering the network of {name}"))?;
            done.push(work(server, &place).with_context(|| format!("on {name}"))?);
        }
        Ok(done)
    };
    let joined = std::thread::scope(|scope| scope.spawn(visit).join());
    joined.unwrap_or_else(|_| bail!("the thread inside the laboratory panicked"))
}

/// Moves the calling thread. It is never used for anything outside again: it ends with its visit.
fn enter(server: &Server) -> Result<Place> {
    setns(&server.first_process, CloneFlags::CLONE_NEWNET)?;
    let place = Place::current(true)?;
    // Of the process's first thread, which never moves.
    let outside = std::fs::metadata("/proc/self/ns/net").context("reading this process's own network")?;
    ensure!(
        place.identity() != (outside.dev(), outside.ino()),
        "the thread is still in the network that the benchmark was started in; nothing was changed"
    );
    Ok(place)
}
