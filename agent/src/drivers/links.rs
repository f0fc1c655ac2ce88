//! Cards and routes of a network namespace, and news of them.
//!
//! Deliberately absent: changing any of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};

use digue_proto::rules::{Card, LinkLayer};
use nix::errno::Errno;
use nix::libc;

use super::netlink::{
    Exchange, Malformed, NetlinkSocket, Protocol, Writer, attributes, first, ne16, ne32, text,
};
use super::{DriverError, Place, kernel};

const GETLINK: u16 = 18;
const NEWLINK: u16 = 16;
const DELLINK: u16 = 17;
const NEWROUTE: u16 = 24;
const DELROUTE: u16 = 25;
const GETROUTE: u16 = 26;

const NEWQDISC: u16 = 36;
const NEWFILTER: u16 = 44;

/// `RTMGRP_LINK`, `RTMGRP_TC`, `RTMGRP_IPV4_ROUTE` and `RTMGRP_IPV6_ROUTE`.
const GROUPS: u32 = 0x1 | 0x8 | 0x40 | 0x400;

const ETHERNET: u16 = 1;
const LOOPBACK_FLAG: u32 = 0x8;
const UP_FLAG: u32 = 0x1;
/// Asks for the routing table's entry, with all its next hops, not for one of them.
const FIB_MATCH: u32 = 0x2000;

/// Attributes of links.
mod link {
    pub(super) const ADDRESS: u16 = 1;
    pub(super) const NAME: u16 = 3;
    pub(super) const LOWER: u16 = 5;
    pub(super) const INFO: u16 = 18;
    pub(super) const INFO_KIND: u16 = 1;
    pub(super) const INFO_PORT_KIND: u16 = 4;
}

/// Attributes of routes.
mod route {
    pub(super) const DESTINATION: u16 = 1;
    pub(super) const GATEWAY: u16 = 5;
    pub(super) const MULTIPATH: u16 = 9;
    pub(super) const VIA: u16 = 18;
}

/// The cards of a network namespace; sorted by name.
///
/// Every card but the loopback counts as external: what hangs on a bridge, a tunnel or a guest's cable is
/// not this host.
///
/// # Errors
/// If the kernel does not list them.
pub fn cards(place: &Place) -> Result<Vec<Card>, DriverError> {
    let operation = "listing network cards";
    let mut socket = place.socket(Protocol::Route, 0, operation)?;
    let listed = socket.dump(GETLINK, |w| w.raw(&[0; 16])).map_err(kernel(operation))?;
    let mut found = Vec::new();
    let mut vlan_lowers = Vec::new();
    for (_, body) in listed.iter().filter(|(kind, _)| *kind == NEWLINK) {
        let (card, lower) = card(body)?;
        if card.kind == "vlan" {
            vlan_lowers.extend(lower);
        }
        found.push(card);
    }
    for card in &mut found {
        card.carries_vlan = vlan_lowers.contains(&card.ifindex);
    }
    // A bridge passes the tags of its ports' cards on; macvlan and bond do as well.
    if found.iter().any(|card| card.carries_vlan) {
        found
            .iter_mut()
            .filter(|card| card.link_layer == LinkLayer::Ethernet)
            .for_each(|c| c.carries_vlan = true);
    }
    found.sort_unstable();
    Ok(found)
}

/// Reads one link message: the card and the index of the card under it.
fn card(body: &[u8]) -> Result<(Card, Option<u32>), Malformed> {
    let (head, rest) = body.split_at_checked(16).ok_or(Malformed("short link message"))?;
    let kind = ne16(head.get(2..4).unwrap_or_default())?;
    let ifindex = ne32(head.get(4..8).unwrap_or_default())?;
    let flags = ne32(head.get(8..12).unwrap_or_default())?;
    let parts = attributes(rest)?;
    let info = first(&parts, link::INFO).map(attributes).transpose()?.unwrap_or_default();
    let card = Card {
        name: text(first(&parts, link::NAME).ok_or(Malformed("a card without a name"))?),
        ifindex,
        mac: first(&parts, link::ADDRESS).and_then(|mac| mac.try_into().ok()),
        kind: first(&info, link::INFO_KIND).map(text).unwrap_or_default(),
        link_layer: if kind == ETHERNET { LinkLayer::Ethernet } else { LinkLayer::Bare },
        bond_port: first(&info, link::INFO_PORT_KIND).map(text).is_some_and(|k| k == "bond" || k == "team"),
        carries_vlan: false,
        external: flags & LOOPBACK_FLAG == 0,
        up: flags & UP_FLAG != 0,
    };
    Ok((card, first(&parts, link::LOWER).map(ne32).transpose()?))
}

/// The routers on the way to these addresses; sorted, unique. An address without a route has none.
///
/// # Errors
/// If the kernel does not answer.
pub fn next_hops(place: &Place, targets: &[IpAddr]) -> Result<Vec<IpAddr>, DriverError> {
    let operation = "looking up routes";
    let mut socket = place.socket(Protocol::Route, 0, operation)?;
    let mut found = Vec::new();
    for target in targets {
        match socket.request(GETROUTE, 0, |w| route_question(w, *target)) {
            Ok(Some((NEWROUTE, body))) => gateways(&body, &mut found)?,
            Ok(_) => {}
            Err(no_route) if no_route.errno().is_some_and(means_no_route) => {}
            Err(other) => return Err(kernel(operation)(other)),
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

const fn means_no_route(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::ENETUNREACH
            | Errno::EHOSTUNREACH
            | Errno::EACCES
            | Errno::EINVAL
            | Errno::EAFNOSUPPORT
            | Errno::ESRCH
    )
}

fn route_question(w: &mut Writer, target: IpAddr) {
    let (family, octets) = match target {
        IpAddr::V4(address) => (libc::AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (libc::AF_INET6, address.octets().to_vec()),
    };
    let bits = u8::try_from(octets.len() * 8).unwrap_or(128);
    w.raw(&[u8::try_from(family).unwrap_or(0), bits, 0, 0, 0, 0, 0, 0]);
    w.raw(&FIB_MATCH.to_ne_bytes());
    w.attribute(route::DESTINATION, &octets);
}

fn gateways(body: &[u8], found: &mut Vec<IpAddr>) -> Result<(), Malformed> {
    let parts = attributes(body.get(12..).ok_or(Malformed("short route message"))?)?;
    hop(&parts, found);
    let mut paths = first(&parts, route::MULTIPATH).unwrap_or_default();
    while !paths.is_empty() {
        let length = usize::from(ne16(paths.get(..2).ok_or(Malformed("short next hop"))?)?);
        let path = paths.get(8..length).ok_or(Malformed("length of a next hop"))?;
        hop(&attributes(path)?, found);
        paths = paths.get((length + 3) & !3..).unwrap_or_default();
    }
    Ok(())
}

fn hop(parts: &[(u16, &[u8])], found: &mut Vec<IpAddr>) {
    found.extend(first(parts, route::GATEWAY).and_then(address));
    // An IPv6 router for an IPv4 route: family, then address.
    found.extend(first(parts, route::VIA).and_then(|via| address(via.get(2..)?)));
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| Ipv6Addr::from(v6).into())
}

/// Something that may make the rules in force the wrong ones: compile them anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkChange {
    /// A card appeared, or changed its name or state.
    Card {
        /// Its name now.
        name: String,
        /// Its number.
        ifindex: u32,
    },
    /// A card is gone: removed, or moved to another namespace.
    Gone {
        /// Its name before.
        name: String,
        /// Its number.
        ifindex: u32,
    },
    /// Routes changed.
    Routes,
    /// A queue or filter was put on a card.
    TrafficControl {
        /// The card's number.
        ifindex: u32,
    },
    /// Events were lost: there were too many.
    Missed,
}

/// Hears of cards and routes that change.
#[derive(Debug)]
pub struct LinkMonitor {
    socket: NetlinkSocket,
}

impl LinkMonitor {
    /// Listens from now on, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// If the socket cannot be opened.
    pub fn open(place: &Place) -> Result<Self, DriverError> {
        Ok(Self { socket: place.socket(Protocol::Route, GROUPS, "watching network cards")? })
    }

    /// What happened since the last call; does not wait. The descriptor is readable when there is something.
    ///
    /// # Errors
    /// If the socket fails or the kernel's message makes no sense.
    pub fn changes(&mut self) -> Result<Vec<LinkChange>, DriverError> {
        let waiting = match self.socket.waiting() {
            Ok(waiting) => waiting,
            Err(Exchange::Os { source, .. }) if source.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                return Ok(vec![LinkChange::Missed]);
            }
            Err(other) => return Err(kernel("watching network cards")(other)),
        };
        let mut found = Vec::new();
        for (kind, body) in waiting {
            let change = match kind {
                NEWLINK => {
                    let (card, _) = card(&body)?;
                    LinkChange::Card { name: card.name, ifindex: card.ifindex }
                }
                DELLINK => {
                    let (card, _) = card(&body)?;
                    LinkChange::Gone { name: card.name, ifindex: card.ifindex }
                }
                NEWROUTE | DELROUTE => LinkChange::Routes,
                NEWQDISC | NEWFILTER => LinkChange::TrafficControl {
                    ifindex: ne32(body.get(4..8).ok_or(Malformed("short traffic control message"))?)?,
                },
                _ => continue,
            };
            if found.last() != Some(&change) {
                found.push(change);
            }
        }
        Ok(found)
    }
}

impl AsFd for LinkMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_answers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            _ = card(&bytes);
            _ = gateways(&bytes, &mut Vec::new());
        }
    }
}
