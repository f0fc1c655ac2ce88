//! Hands and eyes of the agent on Linux: they do exactly what they are told, and tell what they saw.
//!
//! Drivers decide nothing (invariant 6): no policy is read here and no fallback chosen but the one that the
//! caller asks for. All are synchronous; the caller runs them on one thread so that effects keep their
//! order. `unsafe` is confined to `drivers::sys`.

mod around;
mod canary;
mod capability;
mod conntrack;
mod facts;
mod links;
mod namespaces;
mod netlink;
mod nft;
mod place;
mod sockets;
mod sys;

use std::io;
use std::path::PathBuf;

use digue_proto::rules::{ObservedNet, RuleSet};

pub use around::ways_around;
pub use canary::{Canary, Point, Probe, probe};
pub use capability::{Capability, Trial, capability};
pub use conntrack::flush_conntrack;
pub use facts::facts;
pub use links::{LinkChange, LinkMonitor, cards, next_hops};
pub use namespaces::{Namespace, namespaces, within};
pub use netlink::{Exchange, Malformed};
pub use nft::{Batch, Dumps, NftDriver, RuleChange, RuleMonitor, decode, encode};
pub use place::Place;
pub use sockets::{Ended, end_sessions};

/// What the rules in the kernel are, and making them others.
pub trait NetDriver {
    /// Replaces all rules of ours by these, in one transaction. Foreign rules are not touched.
    ///
    /// # Errors
    /// Why the kernel refused; the rules before are then still in force.
    fn apply(&mut self, rules: &RuleSet) -> Result<(), DriverError>;

    /// Reads back all rules of ours, content and counters.
    ///
    /// # Errors
    /// Why they could not be read. That never means that there are none.
    fn read(&mut self) -> Result<ObservedNet, DriverError>;
}

/// Why a driver could not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// An exchange with the kernel failed.
    #[error("{operation}: {source}")]
    Kernel {
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: Exchange,
    },
    /// The kernel refused a part of a rule set, and so all of it.
    #[error("the kernel refused {part}: {source}")]
    Refused {
        /// The part.
        part: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A system call failed.
    #[error("{operation}: {source}")]
    Os {
        /// What was being done.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What the kernel listed makes no sense.
    #[error("reading the rules back: {0}")]
    Malformed(#[from] Malformed),
    /// The rules changed at every try.
    #[error("the rules kept changing while they were read")]
    Unstable,
    /// A laboratory agent in the machine's own network namespace.
    #[error("a laboratory agent refuses to touch the machine's own network: {0}")]
    InitialNamespace(&'static str),
    /// The calling thread is in another network namespace than the place that it was given.
    #[error("{0}: the thread is not in the network namespace that it was given")]
    Elsewhere(&'static str),
    /// A file descriptor that is no netlink socket for rules.
    #[error("the inherited descriptor is no netfilter netlink socket")]
    NotNetfilter,
}

/// Which rules were applied.
#[derive(Debug)]
pub enum Applied {
    /// Those that were meant.
    Full,
    /// The minimal profile, because of this error.
    Minimal(DriverError),
}

/// Applies `full`, or `minimal` if the kernel refuses it: never nothing (trap 15).
///
/// # Errors
/// Why `minimal` was refused too.
pub fn apply_or_minimal(
    driver: &mut impl NetDriver,
    full: &RuleSet,
    minimal: &RuleSet,
) -> Result<Applied, DriverError> {
    match driver.apply(full) {
        Ok(()) => Ok(Applied::Full),
        Err(refusal) => driver.apply(minimal).map(|()| Applied::Minimal(refusal)),
    }
}

fn kernel(operation: &'static str) -> impl FnOnce(Exchange) -> DriverError {
    move |source| DriverError::Kernel { operation, source }
}

fn os(operation: &'static str) -> impl FnOnce(nix::errno::Errno) -> DriverError {
    move |errno| DriverError::Os { operation, source: errno.into() }
}
