//! One blocking netlink socket.
//!
//! The kernel answers a request before `send` returns, so a receive never waits; a timeout is set all the
//! same. Interrupted dumps and overflowing buffers are retried here, refusals are not.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname, recvfrom,
    send, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::wire::{Malformed, Message, Writer, messages, ne32};

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
const DUMP_INTERRUPTED: u16 = 0x10;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// The kernel makes no dump datagram larger than 32 KiB.
const RECEIVE: usize = 128 * 1024;
/// Room for the largest rule set: 1024 entries in every list, in every chain, twice.
const SEND_BUFFER: usize = 16 * 1024 * 1024;
const RECEIVE_BUFFER: usize = 4 * 1024 * 1024;
const RETRIES: usize = 20;

/// A family of kernel interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Links, addresses, routes.
    Route,
    /// Rules and connection tracking.
    Netfilter,
    /// Sockets.
    SockDiag,
}

/// What went wrong in an exchange with the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Exchange {
    /// A system call failed.
    #[error("{operation} a netlink socket: {source}")]
    Os {
        /// The call.
        operation: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a request.
    #[error("the kernel refused: {source}")]
    Refused {
        /// The number of the refused message.
        seq: u32,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The kernel's answer makes no sense.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// What was listed kept changing.
    #[error("the list kept changing while it was read")]
    Unstable,
}

impl Exchange {
    /// The error number of a refusal.
    pub(crate) fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { source, .. } => source.raw_os_error().map(Errno::from_raw),
            Self::Os { .. } | Self::Malformed(_) | Self::Unstable => None,
        }
    }
}

fn os(operation: &'static str) -> impl FnOnce(Errno) -> Exchange {
    move |errno| Exchange::Os { operation, source: errno.into() }
}

/// Messages that were received: type and body of each.
pub(crate) type Listed = Vec<(u16, Vec<u8>)>;

/// A netlink socket, bound to the network namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct NetlinkSocket {
    fd: OwnedFd,
    port: u32,
    seq: u32,
    buffer: Vec<u8>,
}

impl AsFd for NetlinkSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl NetlinkSocket {
    /// Opens a socket that hears the multicast groups of the mask.
    pub(crate) fn open(protocol: Protocol, groups: u32) -> Result<Self, Exchange> {
        let kind = match protocol {
            Protocol::Route => SockProtocol::NetlinkRoute,
            Protocol::Netfilter => SockProtocol::NetlinkNetFilter,
            Protocol::SockDiag => SockProtocol::NetlinkSockDiag,
        };
        let mut flags = SockFlag::SOCK_CLOEXEC;
        if groups != 0 {
            flags |= SockFlag::SOCK_NONBLOCK;
        }
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, kind).map_err(os("open"))?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups)).map_err(os("bind"))?;
        // Without the right to exceed the system's limit, the limit has to do.
        if setsockopt(&fd, sockopt::SndBufForce, &SEND_BUFFER).is_err() {
            setsockopt(&fd, sockopt::SndBuf, &SEND_BUFFER).map_err(os("size the send buffer of"))?;
        }
        if setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER).map_err(os("size the receive buffer of"))?;
        }
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::seconds(10)).map_err(os("set a timeout on"))?;
        let port = port_of(fd.as_fd())?;
        Ok(Self { fd, port, seq: 0, buffer: vec![0; RECEIVE] })
    }

    /// The kernel's number for this socket, which is the owner of the tables it makes.
    pub(crate) const fn port(&self) -> u32 {
        self.port
    }

    /// The number that the next message of a batch shall carry, with room for `count` messages.
    pub(crate) const fn reserve(&mut self, count: u32) -> u32 {
        let start = self.seq.wrapping_add(1);
        self.seq = start.wrapping_add(count);
        start
    }

    /// Sends prepared messages and waits for the answer to the one numbered `last`.
    pub(crate) fn transact(&mut self, bytes: &[u8], first: u32, last: u32) -> Result<(), Exchange> {
        self.send(bytes)?;
        let ours = last.wrapping_sub(first);
        loop {
            let buffer = self.receive()?;
            for message in messages(buffer)? {
                if message.kind != ERROR || message.seq.wrapping_sub(first) > ours {
                    continue;
                }
                acknowledged(message)?;
                if message.seq == last {
                    return Ok(());
                }
            }
        }
    }

    /// Sends prepared requests that ask for an answer each, and gives the answers in order: zero or an
    /// error number.
    pub(crate) fn answers(
        &mut self,
        bytes: &[u8],
        first: u32,
        count: u32,
    ) -> Result<Vec<Option<Errno>>, Exchange> {
        self.send(bytes)?;
        let mut answers = Vec::new();
        while answers.len() < count as usize {
            let buffer = self.receive()?;
            for message in messages(buffer)? {
                if message.kind != ERROR || message.seq.wrapping_sub(first) >= count {
                    continue;
                }
                answers.push(match acknowledged(message) {
                    Ok(()) => None,
                    Err(refusal) => Some(refusal.errno().unwrap_or(Errno::EPROTO)),
                });
            }
        }
        Ok(answers)
    }

    /// Sends one request and gives the kernel's single answer, if it has one beside success.
    pub(crate) fn request(
        &mut self,
        kind: u16,
        flags: u16,
        body: impl FnOnce(&mut Writer),
    ) -> Result<Option<(u16, Vec<u8>)>, Exchange> {
        let seq = self.reserve(1);
        let mut writer = Writer::default();
        writer.message(kind, REQUEST | ACK | flags, seq, body);
        self.send(&writer.into_bytes())?;
        let mut answer = None;
        loop {
            let buffer = self.receive()?;
            for message in messages(buffer)?.into_iter().filter(|m| m.seq == seq) {
                if message.kind == ERROR {
                    acknowledged(message)?;
                    return Ok(answer);
                }
                answer = Some((message.kind, message.body.to_vec()));
            }
        }
    }

    /// Lists something: the bodies of all messages of the answer. Tried again when it was interrupted.
    pub(crate) fn dump(&mut self, kind: u16, body: impl Fn(&mut Writer)) -> Result<Listed, Exchange> {
        for _ in 0..RETRIES {
            match self.dump_once(kind, &body) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(Exchange::Os { source, .. }) if source.raw_os_error() == Some(Errno::ENOBUFS as i32) => {}
                Err(refused) if refused.errno() == Some(Errno::EINTR) => {}
                Err(other) => return Err(other),
            }
        }
        Err(Exchange::Unstable)
    }

    fn dump_once(&mut self, kind: u16, body: &impl Fn(&mut Writer)) -> Result<Option<Listed>, Exchange> {
        let seq = self.reserve(1);
        let mut writer = Writer::default();
        writer.message(kind, REQUEST | DUMP, seq, body);
        self.send(&writer.into_bytes())?;
        let mut found = Listed::new();
        let mut interrupted = false;
        loop {
            let buffer = self.receive()?;
            for message in messages(buffer)?.into_iter().filter(|m| m.seq == seq) {
                interrupted |= message.flags & DUMP_INTERRUPTED != 0;
                match message.kind {
                    DONE => {
                        // A dump that failed half way says so in its last message.
                        if message.body.len() >= 4 {
                            acknowledged(message)?;
                        }
                        return Ok(if interrupted { None } else { Some(found) });
                    }
                    ERROR => acknowledged(message)?,
                    kind => found.push((kind, message.body.to_vec())),
                }
            }
        }
    }

    /// The messages that are waiting, if any; for sockets that hear a multicast group.
    pub(crate) fn waiting(&mut self) -> Result<Listed, Exchange> {
        let mut found = Vec::new();
        loop {
            match self.receive() {
                Ok(buffer) => {
                    found.extend(messages(buffer)?.into_iter().map(|m| (m.kind, m.body.to_vec())));
                }
                Err(Exchange::Os { source, .. }) if source.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(found);
                }
                Err(other) => return Err(other),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Exchange> {
        loop {
            match send(self.fd.as_raw_fd(), bytes, MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(os("send on")(errno)),
            }
        }
    }

    /// One datagram of the kernel's. Anything sent by a process is ignored.
    fn receive(&mut self) -> Result<&[u8], Exchange> {
        let length = loop {
            match recvfrom::<NetlinkAddr>(self.fd.as_raw_fd(), &mut self.buffer) {
                Ok((length, Some(from))) if from.pid() == 0 => break length,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(os("receive from")(errno)),
            }
        };
        self.buffer.get(..length).ok_or(Exchange::Malformed(Malformed("datagram too large")))
    }
}

/// The kernel's number for a netlink socket.
pub(crate) fn port_of(fd: BorrowedFd<'_>) -> Result<u32, Exchange> {
    getsockname::<NetlinkAddr>(fd.as_raw_fd()).map(|address| address.pid()).map_err(os("read the address of"))
}

fn acknowledged(message: Message<'_>) -> Result<(), Exchange> {
    let code = ne32(message.body.get(..4).ok_or(Malformed("short answer"))?)?.cast_signed();
    if code == 0 {
        return Ok(());
    }
    Err(Exchange::Refused { seq: message.seq, source: io::Error::from_raw_os_error(code.wrapping_neg()) })
}
