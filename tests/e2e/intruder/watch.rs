//! Every packet that arrives by a card, whatever it is: the judge of whether something got out of a host.
//!
//! Left out is what neighbours on one cable say to each other (ARP, neighbour and multicast listener
//! discovery): no router passes it on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result};
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket, sockopt,
};
use serde::Serialize;

use crate::say;

/// A packet that arrived.
#[derive(Debug, Serialize)]
struct Packet {
    from: IpAddr,
    to: IpAddr,
    /// The number of the protocol: 1 is ICMP, 6 TCP, 17 UDP, 58 ICMPv6.
    protocol: u8,
    /// The destination port; of ICMP the type.
    port: u16,
    text: String,
}

/// What a packet socket says of a frame that its own machine sends (`PACKET_OUTGOING`).
const OUTGOING: u8 = 4;
/// Types of ICMPv6 that stay on the cable.
const ON_THE_CABLE: [u8; 10] = [130, 131, 132, 133, 134, 135, 136, 137, 141, 143];

/// Prints packets until the process is ended; first an empty object, when it has begun to listen.
///
/// # Errors
/// The card is missing, or nobody reads any more.
pub(crate) fn run(card: &str) -> Result<()> {
    let index = nix::net::if_::if_nametoindex(card).with_context(|| format!("there is no card {card}"))?;
    let raw = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
        .context("opening a packet socket")?;
    // A packet that finds no room would be a leak unseen. Only root of the machine may ask for much.
    let wanted = 32 << 20;
    if setsockopt(&raw, sockopt::RcvBufForce, &wanted).is_err() {
        setsockopt(&raw, sockopt::RcvBuf, &wanted).context("asking for room")?;
    }
    say(&serde_json::json!({}))?;
    let mut buffer = vec![0; 65536];
    loop {
        let (length, sender) = recvfrom::<LinkAddr>(raw.as_raw_fd(), &mut buffer).context("listening")?;
        let arrived =
            sender.is_some_and(|s| u32::try_from(s.ifindex()) == Ok(index) && s.pkttype() != OUTGOING);
        let frame = buffer.get(..length).unwrap_or_default();
        if let Some(packet) = arrived.then(|| read(frame)).flatten() {
            say(&packet)?;
        }
    }
}

fn read(frame: &[u8]) -> Option<Packet> {
    match frame.get(12..14)? {
        [0x08, 0x00] => {
            let header = usize::from(frame.get(14)? & 0xf) * 4;
            let from: [u8; 4] = frame.get(26..30)?.try_into().ok()?;
            let to: [u8; 4] = frame.get(30..34)?.try_into().ok()?;
            let protocol = *frame.get(23)?;
            packet(
                Ipv4Addr::from(from).into(),
                Ipv4Addr::from(to).into(),
                protocol,
                frame.get(14 + header..)?,
            )
        }
        [0x86, 0xdd] => {
            let from: [u8; 16] = frame.get(22..38)?.try_into().ok()?;
            let to: [u8; 16] = frame.get(38..54)?.try_into().ok()?;
            let (mut protocol, mut rest) = (*frame.get(20)?, frame.get(54..)?);
            if protocol == 0 {
                // Multicast listener discovery stands behind a hop-by-hop header.
                protocol = *rest.first()?;
                rest = rest.get((usize::from(*rest.get(1)?) + 1) * 8..)?;
            }
            let on_the_cable = protocol == 58 && ON_THE_CABLE.contains(rest.first()?);
            if on_the_cable {
                return None;
            }
            packet(Ipv6Addr::from(from).into(), Ipv6Addr::from(to).into(), protocol, rest)
        }
        [0x08, 0x06] => None,
        _ => Some(Packet {
            from: Ipv4Addr::UNSPECIFIED.into(),
            to: Ipv4Addr::UNSPECIFIED.into(),
            protocol: 0,
            port: 0,
            text: printable(frame),
        }),
    }
}

fn packet(from: IpAddr, to: IpAddr, protocol: u8, rest: &[u8]) -> Option<Packet> {
    let port = match protocol {
        6 | 17 => u16::from_be_bytes(rest.get(2..4)?.try_into().ok()?),
        _ => u16::from(*rest.first()?),
    };
    Some(Packet { from, to, protocol, port, text: printable(rest.get(8..).unwrap_or_default()) })
}

fn printable(bytes: &[u8]) -> String {
    bytes.iter().take(200).map(|b| if b.is_ascii_graphic() { char::from(*b) } else { '.' }).collect()
}
