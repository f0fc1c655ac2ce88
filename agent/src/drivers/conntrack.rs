//! Forgetting established flows: without this, a flow that rules once let through keeps its address
//! translation and its shortcuts past the rules.

use super::netlink::{Malformed, Protocol, attributes, be32, first};
use super::{DriverError, Place, kernel};

const DELETE: u16 = 1 << 8 | 2;
const STATISTICS: u16 = 1 << 8 | 5;
const ENTRIES: u16 = 1;
const HEADER: [u8; 4] = [0; 4];

/// Removes every entry of the connection table of the calling thread's network namespace, and gives the
/// number of entries that there were.
///
/// # Errors
/// If the kernel has no connection tracking, or refuses.
pub fn flush_conntrack(place: &Place) -> Result<u64, DriverError> {
    let operation = "flushing the connection table";
    let mut socket = place.socket(Protocol::Netfilter, 0, operation)?;
    let answer = socket.request(STATISTICS, 0, |w| w.raw(&HEADER)).map_err(kernel(operation))?;
    let entries = match answer {
        Some((_, body)) => {
            let parts = attributes(body.get(4..).ok_or(Malformed("short statistics"))?)?;
            first(&parts, ENTRIES).map(be32).transpose()?.unwrap_or(0)
        }
        None => 0,
    };
    socket.request(DELETE, 0, |w| w.raw(&HEADER)).map_err(kernel(operation))?;
    Ok(entries.into())
}
