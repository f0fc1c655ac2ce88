//! The network namespace in which a driver works, and the guard of the laboratory.
//!
//! Agents of the laboratory run beside a machine's real network. They must not be able to touch it, so
//! every driver is made from a [`Place`], and a laboratory place cannot be the machine's own.

use std::fs::{File, metadata};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::netlink::{NetlinkSocket, Protocol};
use super::{DriverError, kernel};

/// The inode that kernels from 6.17 give a machine's own network namespace.
const INITIAL_INODE: u64 = 0xefff_fff9;

/// The network namespace of the thread that made it.
#[derive(Debug)]
pub struct Place {
    namespace: File,
    identity: (u64, u64),
}

impl Place {
    /// The calling thread's network namespace. With `lab`, refuses the machine's own.
    ///
    /// # Errors
    /// [`DriverError::InitialNamespace`] if a laboratory agent is in the machine's own network namespace,
    /// or cannot tell; [`DriverError::File`] if the namespace cannot be looked at.
    pub fn current(lab: bool) -> Result<Self, DriverError> {
        let path = PathBuf::from("/proc/thread-self/ns/net");
        let failed = |source| DriverError::File { path: path.clone(), source };
        let namespace = File::open(&path).map_err(failed)?;
        let found = namespace.metadata().map_err(failed)?;
        let place = Self { namespace, identity: (found.dev(), found.ino()) };
        if lab {
            place.refuse_initial()?;
        }
        Ok(place)
    }

    /// Process 1 may be hidden, or be that of a container, so the kernel is asked too: it shows the settings
    /// of the packet scheduler in the machine's own namespace only.
    fn refuse_initial(&self) -> Result<(), DriverError> {
        let refuse = |why| Err(DriverError::InitialNamespace(why));
        if self.identity.1 == INITIAL_INODE {
            return refuse("its namespace has the inode of the first one");
        }
        if metadata("/proc/1/ns/net").is_ok_and(|first| (first.dev(), first.ino()) == self.identity) {
            return refuse("it is in the network namespace of process 1");
        }
        if Path::new("/proc/sys/net/core/netdev_budget").exists() {
            return refuse("the kernel shows settings that only the first namespace has");
        }
        if !Path::new("/proc/sys/net/core/somaxconn").exists() {
            return refuse("/proc/sys does not tell which namespace this is");
        }
        Ok(())
    }

    /// Opens a netlink socket, which stays bound to this namespace.
    pub(super) fn socket(
        &self,
        protocol: Protocol,
        groups: u32,
        operation: &'static str,
    ) -> Result<NetlinkSocket, DriverError> {
        self.require_current(operation)?;
        NetlinkSocket::open(protocol, groups).map_err(kernel(operation))
    }

    /// Sockets are made in the namespace of the thread that asks for them, which must be this one.
    pub(super) fn require_current(&self, operation: &'static str) -> Result<(), DriverError> {
        let here = Self::current(false)?;
        if here.identity == self.identity { Ok(()) } else { Err(DriverError::Elsewhere(operation)) }
    }

    /// Device and inode of the namespace, by which two of them are told apart.
    pub const fn identity(&self) -> (u64, u64) {
        self.identity
    }
}

impl AsFd for Place {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}
