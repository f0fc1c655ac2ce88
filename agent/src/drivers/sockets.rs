//! Ending established sessions of this host's programs.
//!
//! Rules only freeze a session: after a release it would go on where it stopped (trap 3). So its socket is
//! destroyed, before opening and after closing. Which sessions may live is the caller's to say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use digue_proto::policy::Transport;
use digue_proto::rules::Flow;
use nix::errno::Errno;
use nix::libc;

use super::netlink::{NetlinkSocket, Protocol, Writer};
use super::{DriverError, Place, kernel};

const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
const REQUEST_AND_ACK: u16 = 0x1 | 0x4;
const LISTEN: u32 = 1 << 10;
const ESTABLISHED: u32 = 1 << 1;
const ALL: u32 = 0x1fff;
/// Requests in one datagram.
const BATCH: usize = 256;
/// A program may open a session between the list and its end; each pass catches those of the one before.
const PASSES: usize = 4;

/// What came of ending sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ended {
    /// Sockets destroyed.
    pub destroyed: u64,
    /// Sockets that the caller let live.
    pub kept: u64,
    /// Sockets that the kernel would not destroy.
    pub refused: u64,
    /// Whether the kernel cannot destroy sockets at all.
    pub unsupported: bool,
}

impl Ended {
    /// Adds what came of another namespace.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            destroyed: self.destroyed + other.destroyed,
            kept: self.kept + other.kept,
            refused: self.refused + other.refused,
            unsupported: self.unsupported || other.unsupported,
        }
    }
}

/// A socket as the kernel lists it.
struct Listed {
    flow: Flow,
    family: u8,
    /// The kernel's own description, which names exactly this socket.
    id: [u8; 48],
}

/// Destroys the TCP and connected UDP sockets of the calling thread's network namespace, IPv4 and IPv6,
/// unless `allowed` says that the session may live. Sockets that only listen are left alone.
///
/// # Errors
/// If the kernel does not list its sockets.
pub fn end_sessions(place: &Place, allowed: impl Fn(&Flow) -> bool) -> Result<Ended, DriverError> {
    let operation = "ending sessions";
    let mut socket = place.socket(Protocol::SockDiag, 0, operation)?;
    let mut ended = Ended::default();
    for _ in 0..PASSES {
        ended.kept = 0;
        let mut victims = Vec::new();
        for transport in [Transport::Tcp, Transport::Udp] {
            for family in [libc::AF_INET, libc::AF_INET6] {
                for listed in list(&mut socket, transport, family)? {
                    if allowed(&listed.flow) {
                        ended.kept += 1;
                    } else {
                        victims.push(listed);
                    }
                }
            }
        }
        ended.refused = 0;
        let before = ended.destroyed;
        for chunk in victims.chunks(BATCH) {
            destroy(&mut socket, chunk, &mut ended)?;
        }
        if ended.destroyed == before {
            break;
        }
    }
    Ok(ended)
}

fn list(
    socket: &mut NetlinkSocket,
    transport: Transport,
    family: libc::c_int,
) -> Result<Vec<Listed>, DriverError> {
    let states = match transport {
        Transport::Tcp => ALL & !LISTEN,
        Transport::Udp => ESTABLISHED,
    };
    let family = u8::try_from(family).unwrap_or(0);
    let listed = socket.dump(BY_FAMILY, |w| question(w, family, transport, states, &[0; 48]));
    match listed {
        Ok(listed) => Ok(listed.iter().filter_map(|(_, body)| parse(transport, body)).collect()),
        // The kernel knows no sockets of this kind (IPv6 is off, or the module cannot be loaded).
        Err(absent) if absent.errno() == Some(Errno::ENOENT) => Ok(Vec::new()),
        Err(other) => Err(kernel("listing sockets")(other)),
    }
}

fn question(w: &mut Writer, family: u8, transport: Transport, states: u32, id: &[u8; 48]) {
    let protocol = match transport {
        Transport::Tcp => 6,
        Transport::Udp => 17,
    };
    w.raw(&[family, protocol, 0, 0]);
    w.raw(&states.to_ne_bytes());
    w.raw(id);
}

fn parse(transport: Transport, body: &[u8]) -> Option<Listed> {
    let (&[family, _state, ..], rest) = body.split_first_chunk::<4>()?;
    let id = *rest.first_chunk::<48>()?;
    let port = |at: usize| Some(u16::from_be_bytes(id.get(at..at + 2)?.try_into().ok()?));
    let address = |at: usize| -> Option<IpAddr> {
        if libc::c_int::from(family) == libc::AF_INET {
            return Some(Ipv4Addr::from(<[u8; 4]>::try_from(id.get(at..at + 4)?).ok()?).into());
        }
        Some(Ipv6Addr::from(<[u8; 16]>::try_from(id.get(at..at + 16)?).ok()?).into())
    };
    let local = SocketAddr::new(address(4)?, port(0)?);
    let remote = SocketAddr::new(address(20)?, port(2)?);
    // A socket that was never connected has no session to end.
    (remote.port() != 0).then_some(Listed { flow: Flow { transport, local, remote }, family, id })
}

fn destroy(socket: &mut NetlinkSocket, victims: &[Listed], ended: &mut Ended) -> Result<(), DriverError> {
    let count = u32::try_from(victims.len()).unwrap_or(u32::MAX);
    let start = socket.reserve(count);
    let mut writer = Writer::default();
    for (seq, victim) in (start..).zip(victims) {
        writer.message(DESTROY, REQUEST_AND_ACK, seq, |w| {
            question(w, victim.family, victim.flow.transport, ALL, &victim.id);
        });
    }
    let answers = socket.answers(&writer.into_bytes(), start, count).map_err(kernel("destroying sockets"))?;
    for answer in answers {
        match answer {
            None => ended.destroyed += 1,
            // It ended by itself meanwhile.
            Some(Errno::ENOENT) => {}
            Some(Errno::EOPNOTSUPP) => {
                ended.unsupported = true;
                ended.refused += 1;
            }
            Some(_) => ended.refused += 1,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_answers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            _ = parse(Transport::Tcp, &bytes);
        }
    }
}
