//! Who changes firewall rules: the kernel names process and program of every transaction.
//!
//! Our own transactions are reported too; [`super::NftDriver::own_generation`] tells them apart.

use std::os::fd::{AsFd, BorrowedFd};

use super::code::{self, generation, message};
use crate::drivers::netlink::{Exchange, NetlinkSocket, Protocol, attributes, be32, first, text};
use crate::drivers::{DriverError, Place, kernel};

/// `NFNLGRP_NFTABLES`, as a mask.
const GROUP: u32 = 1 << 6;

/// A transaction on the packet filter of this network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleChange {
    /// Someone changed rules.
    Changed {
        /// The kernel's number of the rule set since.
        generation: u32,
        /// The thread that did it, in the first process namespace; zero if the kernel did not say.
        process: u32,
        /// The name that it goes by, which it can choose.
        program: String,
    },
    /// Events were lost: there were too many. Read the rules back.
    Missed,
}

/// Hears of every transaction on the packet filter.
#[derive(Debug)]
pub struct RuleMonitor {
    socket: NetlinkSocket,
}

impl RuleMonitor {
    /// Listens from now on, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// If the socket cannot be opened.
    pub fn open(place: &Place) -> Result<Self, DriverError> {
        let socket = place.socket(Protocol::Netfilter, GROUP, "watching the rules")?;
        Ok(Self { socket })
    }

    /// What happened since the last call; does not wait. The descriptor is readable when there is something.
    ///
    /// # Errors
    /// If the socket fails or the kernel's message makes no sense.
    pub fn changes(&mut self) -> Result<Vec<RuleChange>, DriverError> {
        let mut found = Vec::new();
        let waiting = match self.socket.waiting() {
            Ok(waiting) => waiting,
            Err(Exchange::Os { source, .. })
                if source.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32) =>
            {
                return Ok(vec![RuleChange::Missed]);
            }
            Err(other) => return Err(kernel("watching the rules")(other)),
        };
        for (kind, body) in waiting {
            if kind != message(code::NEWGEN) {
                continue;
            }
            let parts = attributes(body.get(4..).unwrap_or_default())?;
            found.push(RuleChange::Changed {
                generation: first(&parts, generation::ID).map_or(Ok(0), be32)?,
                process: first(&parts, generation::PROCESS).map_or(Ok(0), be32)?,
                program: first(&parts, generation::PROGRAM).map(text).unwrap_or_default(),
            });
        }
        Ok(found)
    }
}

impl AsFd for RuleMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
