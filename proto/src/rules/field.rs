//! What a rule can look at: a few properties of a packet and ranges of its bytes.

use serde::{Deserialize, Serialize};

/// Where the offset of a payload field counts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// The link header, as it stands on the wire.
    Link,
    /// The network header.
    Network,
    /// The transport header.
    Transport,
}

/// Something that is loaded from a packet and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Field {
    /// The protocol family of the hook: one byte.
    Nfproto,
    /// The transport protocol, behind IPv6 extension headers: one byte.
    L4proto,
    /// The index of the incoming interface: four bytes in the machine's order.
    Iif,
    /// The index of the outgoing interface: four bytes in the machine's order.
    Oif,
    /// Bytes of the packet.
    Payload {
        /// Where the offset counts from.
        base: Base,
        /// Offset, in bytes.
        offset: u16,
        /// Length, in bytes: 1 to 16.
        len: u8,
    },
}

impl Field {
    /// Bytes of the packet.
    pub const fn payload(base: Base, offset: u16, len: u8) -> Self {
        Self::Payload { base, offset, len }
    }

    /// Length of the value, in bytes.
    pub const fn width(self) -> usize {
        match self {
            Self::Nfproto | Self::L4proto => 1,
            Self::Iif | Self::Oif => 4,
            Self::Payload { len, .. } => len as usize,
        }
    }

    /// The name that `render` shows. Fields of a frame read at a fixed place are marked `frame`, or `tagged`
    /// in a rule that has asked for a VLAN tag.
    pub(super) fn name(self, tagged: bool) -> String {
        let (base, offset, len) = match self {
            Self::Nfproto => return "meta nfproto".to_owned(),
            Self::L4proto => return "meta l4proto".to_owned(),
            Self::Iif => return "iif".to_owned(),
            Self::Oif => return "oif".to_owned(),
            Self::Payload { base, offset, len } => (base, offset, len),
        };
        let known = match base {
            Base::Network => network(offset, len).map(str::to_owned),
            Base::Transport => transport(offset, len).map(str::to_owned),
            Base::Link => link(offset, len, tagged),
        };
        let short = match base {
            Base::Link => "ll",
            Base::Network => "nh",
            Base::Transport => "th",
        };
        known.unwrap_or_else(|| format!("@{short},{},{}", u32::from(offset) * 8, u32::from(len) * 8))
    }
}

fn network(offset: u16, len: u8) -> Option<&'static str> {
    Some(match (offset, len) {
        (0, 1) => "ip version-hdrlength",
        (6, 2) => "ip frag-off",
        (9, 1) => "ip protocol",
        (12, 4) => "ip saddr",
        (16, 4) => "ip daddr",
        (20, 2) => "ip sport",
        (22, 2) => "ip dport",
        (33, 1) => "ip tcp flags",
        (20, 1) => "icmp type",
        (21, 1) => "icmp code",
        (44, 4) => "quoted ip daddr",
        (50, 2) => "quoted ip dport",
        (6, 1) => "ip6 nexthdr",
        (7, 1) => "ip6 hoplimit",
        (8, 16) => "ip6 saddr",
        (24, 16) => "ip6 daddr",
        (40, 1) => "icmpv6 type",
        (40, 2) => "ip6 sport",
        (42, 2) => "ip6 dport",
        (53, 1) => "ip6 tcp flags",
        (72, 16) => "quoted ip6 daddr",
        (90, 2) => "quoted ip6 dport",
        _ => return None,
    })
}

fn transport(offset: u16, len: u8) -> Option<&'static str> {
    Some(match (offset, len) {
        (0, 1) => "icmp type",
        (1, 1) => "icmp code",
        (0, 2) => "th sport",
        (2, 2) => "th dport",
        (13, 1) => "tcp flags",
        (24, 4) => "quoted ip daddr",
        (30, 2) => "quoted ip dport",
        (32, 16) => "quoted ip6 daddr",
        (50, 2) => "quoted ip6 dport",
        _ => return None,
    })
}

fn link(offset: u16, len: u8, tagged: bool) -> Option<String> {
    match (offset, len) {
        (0, 6) => return Some("ether daddr".to_owned()),
        (12, 2) => return Some("ether type".to_owned()),
        (16, 2) => return Some("vlan type".to_owned()),
        _ => {}
    }
    let (start, prefix) = if tagged { (18, "tagged") } else { (14, "frame") };
    let inner = offset.checked_sub(start)?;
    let name = arp(inner, len).or_else(|| network(inner, len))?;
    Some(format!("{prefix} {name}"))
}

/// ARP fields whose place and length no IP field shares, besides the sender (14, 4) and target (24, 4).
fn arp(offset: u16, len: u8) -> Option<&'static str> {
    Some(match (offset, len) {
        (0, 6) => "arp header",
        (14, 4) => "arp saddr ip",
        (24, 4) => "arp daddr ip",
        _ => return None,
    })
}
