//! What really came out of the host, seen from the other end of its cable.

use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt,
};

/// Listens to every frame that arrives in a namespace.
pub struct Wire {
    socket: OwnedFd,
}

impl Wire {
    pub fn open() -> Self {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).expect("a packet socket");
        _ = setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20));
        Self { socket }
    }

    /// The frames since the last call.
    pub fn frames(&self) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut buffer = vec![0; 65536];
        while let Ok(length) = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            found.push(buffer[..length].to_vec());
        }
        found
    }

    /// Of the frames since the last call, those that hold these bytes.
    pub fn holding(&self, needle: &[u8]) -> usize {
        self.frames().iter().filter(|frame| frame.windows(needle.len()).any(|window| window == needle)).count()
    }
}
