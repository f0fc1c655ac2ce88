//! What really came out of the host, seen from the other end of its cable.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt,
};

/// Listens to every frame that arrives in a namespace from outside it.
pub(crate) struct Wire {
    socket: OwnedFd,
    own: Vec<[u8; 6]>,
}

impl Wire {
    pub(crate) fn open() -> Self {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)
            .expect("a packet socket");
        _ = setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20));
        let place = digue_agent::drivers::Place::current(true).expect("a private place");
        let cards = digue_agent::drivers::cards(&place).expect("cards");
        let own = cards.iter().filter_map(|card| card.mac).collect();
        Self { socket, own }
    }

    /// The frames since the last call.
    pub(crate) fn frames(&self) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut buffer = vec![0; 65536];
        while let Ok(length) = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            let frame = &buffer[..length];
            // What the namespace itself sends is heard too, and what it sends to itself.
            if !self.own.iter().any(|own| frame.get(6..12) == Some(own.as_slice())) {
                found.push(frame.to_vec());
            }
        }
        found
    }

    /// Of the frames since the last call, those that hold these bytes.
    pub(crate) fn holding(&self, needle: &[u8]) -> usize {
        self.frames()
            .iter()
            .filter(|frame| frame.windows(needle.len()).any(|window| window == needle))
            .count()
    }
}
