//! The kernel's packet filter over netlink: load, read back, watch. No `nft` binary is needed or run.
//!
//! Encoding and decoding are pure functions; only [`driver`] and [`monitor`] hold a socket. Deliberately
//! absent: changing rules that are there. A rule set replaces the one before it in one transaction.

mod code;
mod decode;
mod driver;
mod encode;
mod expr;
mod monitor;
#[cfg(test)]
mod tests;

pub use decode::{Dumps, decode};
pub use driver::NftDriver;
pub use encode::{Batch, encode};
pub use monitor::{RuleChange, RuleMonitor};
