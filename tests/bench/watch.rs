//! When each server was cut, by the kernel's own word: its announcement of a packet filter transaction, heard
//! in that server's network and stamped with this machine's monotonic clock.
//!
//! A server counts as cut from the announcement of the first transaction that made chains in a table of
//! Digue's name on input and on output, both with policy drop. Nothing that an agent says is used. The
//! kernel announces after the rules are in force, so the times are late, never early. The watching thread
//! runs before all others, so that a busy machine does not make them later still.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket,
    sockopt,
};

use crate::namespace::{Server, inside};
use crate::schedule::run_before_others;

/// `NFNLGRP_NFTABLES`, as a mask.
const GROUP: u32 = 1 << 6;
const RECEIVE_BUFFER: usize = 8 * 1024 * 1024;
/// `NFNL_SUBSYS_NFTABLES`, in the upper byte of a message's type.
const SUBSYSTEM: u8 = 10;
const NEW_CHAIN: u8 = 3;
const NEW_GENERATION: u8 = 15;
/// `NFPROTO_INET`.
const INET: u8 = 1;
const CHAIN_TABLE: u16 = 1;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const HOOK_NUMBER: u16 = 1;
const LOCAL_IN: u32 = 1;
const LOCAL_OUT: u32 = 3;
const DROP: u32 = 0;

/// Ears in the networks of servers.
#[derive(Debug)]
pub(crate) struct Watch {
    ears: Vec<Ear>,
    epoll: Epoll,
}

#[derive(Debug)]
struct Ear {
    server: String,
    socket: OwnedFd,
    heard: Heard,
}

/// What a transaction that is being announced has in it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Heard {
    input_drops: bool,
    output_drops: bool,
}

impl Watch {
    /// Listens in the network of each server from now on.
    ///
    /// # Errors
    /// A socket is refused.
    pub(crate) fn open(servers: &[Server]) -> Result<Self> {
        let sockets = inside(servers, |_, _| open_ear())?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).context("making an epoll")?;
        let mut ears = Vec::with_capacity(servers.len());
        for (server, socket) in servers.iter().zip(sockets) {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, ears.len() as u64);
            epoll.add(&socket, event).context("adding to an epoll")?;
            ears.push(Ear { server: server.machine.name.clone(), socket, heard: Heard::default() });
        }
        Ok(Self { ears, epoll })
    }

    /// Runs `act` and says when each server was cut, from a moment before `act` began, within `limit`.
    ///
    /// # Errors
    /// A server was not cut in time, an announcement was lost, or `act` failed.
    pub(crate) fn cuts_during<T>(
        &mut self,
        limit: Duration,
        act: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Cuts)> {
        self.forget()?;
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (acted, cut_at) = std::thread::scope(|scope| {
            let watching = scope.spawn(|| self.hear(limit, &ready));
            // An error means that the watching has ended, which its own result explains.
            let _ = is_ready.recv();
            let acted = act();
            (acted, watching.join())
        });
        let acted = acted?;
        let cut_at = cut_at.unwrap_or_else(|_| bail!("the watching thread panicked"))?;
        Ok((acted, Cuts { at: cut_at }))
    }

    /// Forgets what was announced earlier.
    fn forget(&mut self) -> Result<()> {
        let mut buffer = vec![0; 64 * 1024];
        for ear in &mut self.ears {
            ear.heard = Heard::default();
            while receive(ear, &mut buffer)?.is_some() {}
        }
        Ok(())
    }

    fn hear(&mut self, limit: Duration, ready: &Sender<()>) -> Result<BTreeMap<String, Instant>> {
        run_before_others();
        let deadline = Instant::now() + limit;
        let mut buffer = vec![0; 64 * 1024];
        let mut events = vec![EpollEvent::empty(); 64];
        let mut cut = BTreeMap::new();
        ready.send(()).context("the benchmark no longer waits")?;
        while cut.len() < self.ears.len() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let silent = self.ears.iter().filter(|ear| !cut.contains_key(&ear.server));
                let silent: Vec<&str> = silent.map(|ear| ear.server.as_str()).take(5).collect();
                bail!(
                    "{} of {} servers were not cut within {} s: {} …",
                    self.ears.len() - cut.len(),
                    self.ears.len(),
                    limit.as_secs(),
                    silent.join(", ")
                );
            }
            let wait = EpollTimeout::try_from(left.min(Duration::from_millis(100)))?;
            let count = match self.epoll.wait(&mut events, wait) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(error).context("waiting for the kernel's announcements"),
            };
            for event in events.iter().take(count) {
                let at = Instant::now();
                let ear = usize::try_from(event.data()).ok().and_then(|index| self.ears.get_mut(index));
                let ear = ear.context("an event of no server")?;
                while let Some(length) = receive(ear, &mut buffer)? {
                    if ear.heard.take(buffer.get(..length).unwrap_or_default()) {
                        cut.entry(ear.server.clone()).or_insert(at);
                    }
                }
            }
        }
        Ok(cut)
    }
}

/// When each server was cut.
#[derive(Debug)]
pub(crate) struct Cuts {
    at: BTreeMap<String, Instant>,
}

impl Cuts {
    /// From `start` until the first and until the last server was cut.
    ///
    /// # Errors
    /// There is no server.
    pub(crate) fn since(&self, start: Instant) -> Result<(Duration, Duration)> {
        let first = self.at.values().min().context("no server was watched")?;
        let last = self.at.values().max().context("no server was watched")?;
        Ok((first.saturating_duration_since(start), last.saturating_duration_since(start)))
    }
}

/// Opened by a thread that is inside; the socket stays with the network in which it was made.
fn open_ear() -> Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let protocol = SockProtocol::NetlinkNetFilter;
    let ear = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol).context("opening a socket")?;
    bind(ear.as_raw_fd(), &NetlinkAddr::new(0, GROUP)).context("listening to the packet filter")?;
    setsockopt(&ear, sockopt::RcvBufForce, &RECEIVE_BUFFER).context("sizing a receive buffer")?;
    Ok(ear)
}

/// The length of the next datagram, if there is one.
fn receive(ear: &Ear, buffer: &mut [u8]) -> Result<Option<usize>> {
    loop {
        match recv(ear.socket.as_raw_fd(), buffer, MsgFlags::MSG_TRUNC) {
            Ok(length) if length > buffer.len() => {
                bail!("an announcement of {length} bytes on {} was cut short", ear.server)
            }
            Ok(length) => return Ok(Some(length)),
            Err(Errno::EAGAIN) => return Ok(None),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error).with_context(|| format!("hearing the kernel on {}", ear.server)),
        }
    }
}

impl Heard {
    /// Takes in a datagram; returns whether a transaction that cuts was announced as done.
    fn take(&mut self, datagram: &[u8]) -> bool {
        let mut cut = false;
        let mut rest = datagram;
        while let Some((length, kind)) = number::<4>(rest, 0).zip(rest.get(4..6)) {
            let length = usize::try_from(u32::from_ne_bytes(length)).unwrap_or(usize::MAX);
            let Some(message) = rest.get(16..length) else { break };
            let kind = kind.first_chunk::<2>().map_or(0, |kind| u16::from_ne_bytes(*kind));
            match kind.to_be_bytes() {
                [SUBSYSTEM, NEW_CHAIN] => self.chain(message),
                [SUBSYSTEM, NEW_GENERATION] => {
                    cut |= self.input_drops && self.output_drops;
                    *self = Self::default();
                }
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
        cut
    }

    fn chain(&mut self, message: &[u8]) {
        let Some((INET, attributes)) = message
            .split_at_checked(4)
            .map(|(head, rest)| (head.first().copied().unwrap_or_default(), attributes(rest)))
        else {
            return;
        };
        let ours = attributes.get(&CHAIN_TABLE).is_some_and(|name| name.starts_with(b"digue_"));
        let drops = attributes.get(&CHAIN_POLICY).and_then(|value| be32(value)) == Some(DROP);
        let hook = attributes.get(&CHAIN_HOOK).map(|nested| self::attributes(nested)).unwrap_or_default();
        if ours && drops {
            match hook.get(&HOOK_NUMBER).and_then(|value| be32(value)) {
                Some(LOCAL_IN) => self.input_drops = true,
                Some(LOCAL_OUT) => self.output_drops = true,
                Some(_) | None => {}
            }
        }
    }
}

fn attributes(bytes: &[u8]) -> BTreeMap<u16, &[u8]> {
    let mut found = BTreeMap::new();
    let mut rest = bytes;
    while let Some((length, kind)) = number::<2>(rest, 0).zip(number::<2>(rest, 2)) {
        let length = usize::from(u16::from_ne_bytes(length));
        let Some(value) = rest.get(4..length) else { break };
        // The two upper bits say that it is nested, and in network order.
        found.insert(u16::from_ne_bytes(kind) & 0x3fff, value);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N).and_then(|part| part.try_into().ok())
}

fn be32(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).expect("short");
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(body.len() + 16).expect("short").to_ne_bytes().to_vec();
        bytes.extend(u16::from_be_bytes([SUBSYSTEM, kind]).to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(body);
        bytes
    }

    fn chain(table: &[u8], hook: u32, policy: u32) -> Vec<u8> {
        let nested = attribute(HOOK_NUMBER, &hook.to_be_bytes());
        let body = [
            vec![INET, 0, 0, 0],
            attribute(CHAIN_TABLE, table),
            attribute(CHAIN_HOOK | 0x8000, &nested),
            attribute(CHAIN_POLICY, &policy.to_be_bytes()),
        ];
        message(NEW_CHAIN, &body.concat())
    }

    fn is_cut(chains: &[Vec<u8>]) -> bool {
        let mut datagram = chains.concat();
        datagram.extend(message(NEW_GENERATION, &[0; 4]));
        Heard::default().take(&datagram)
    }

    #[test]
    fn only_a_transaction_that_drops_both_ways_in_a_table_of_ours_is_a_cut() {
        let (input, output) = (chain(b"digue_0\0", LOCAL_IN, DROP), chain(b"digue_0\0", LOCAL_OUT, DROP));
        assert!(is_cut(&[input.clone(), output.clone()]));
        assert!(!is_cut(std::slice::from_ref(&input)));
        assert!(!is_cut(&[input.clone(), chain(b"filter\0", LOCAL_OUT, DROP)]));
        assert!(!is_cut(&[input.clone(), chain(b"digue_0\0", LOCAL_OUT, 1)]));
        let mut heard = Heard::default();
        assert!(!heard.take(&[input, output].concat()), "a cut that is not announced as done");
        assert!(heard.take(&message(NEW_GENERATION, &[0; 4])));
    }

    #[test]
    fn two_halves_of_a_cut_in_different_transactions_are_no_cut() {
        let end = message(NEW_GENERATION, &[0; 4]);
        let halves =
            [chain(b"digue_0\0", LOCAL_IN, DROP), end.clone(), chain(b"digue_0\0", LOCAL_OUT, DROP), end];
        assert!(!Heard::default().take(&halves.concat()));
    }
}
