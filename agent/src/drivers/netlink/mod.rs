//! Netlink as we need it: messages as bytes, and one blocking socket.
//!
//! Deliberately absent: any knowledge of what the messages mean, and any state but the socket's.

mod socket;
mod wire;

pub use socket::Exchange;
pub(crate) use socket::{NetlinkSocket, Protocol, port_of};
pub use wire::Malformed;
pub(crate) use wire::{Writer, attributes, be32, be64, first, ne16, ne32, text};
