//! Where a chain finds the headers of a packet.
//!
//! Chains on cards read every field at its place in the frame *as it goes over the wire*, and check that
//! the place is right (no IP options, no fragment). They trust nothing that the kernel noted about the
//! packet: a raw socket may call a frame IPv4 that its receiver will read as IPv6.

use std::net::IpAddr;

use super::field::{Base, Field};
use super::ruleset::{Expr, Op};

/// A version of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

/// One of the two ends of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Source,
    Destination,
}

/// How a chain sees packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    /// IP packets with headers that the kernel parsed.
    Parsed,
    /// Ethernet frames.
    Frame,
    /// Ethernet frames with one VLAN tag.
    Tagged,
    /// Packets without a link header.
    Bare,
}

pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const ICMP: u8 = 1;
pub(super) const ICMPV6: u8 = 58;

const ETHERTYPE_VLAN: [u8; 2] = [0x81, 0x00];
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;

impl Version {
    pub(super) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    /// Length of an address, in bytes.
    pub(super) const fn width(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }
    /// Whether an address is of this version.
    pub(super) const fn of(self, address: IpAddr) -> bool {
        matches!((self, address), (Self::V4, IpAddr::V4(_)) | (Self::V6, IpAddr::V6(_)))
    }
    /// Ending of the names of sets.
    pub(super) const fn suffix(self) -> &'static str {
        match self {
            Self::V4 => "4",
            Self::V6 => "6",
        }
    }
    const fn header(self) -> u16 {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }
}

impl View {
    const fn base(self) -> Base {
        match self {
            Self::Frame | Self::Tagged => Base::Link,
            Self::Parsed | Self::Bare => Base::Network,
        }
    }
    const fn start(self) -> u16 {
        match self {
            Self::Frame => 14,
            Self::Tagged => 18,
            Self::Parsed | Self::Bare => 0,
        }
    }

    /// A field of the network header.
    pub(super) const fn network(self, offset: u16, len: u8) -> Field {
        Field::payload(self.base(), self.start() + offset, len)
    }

    /// A field of the transport header.
    pub(super) const fn transport(self, version: Version, offset: u16, len: u8) -> Field {
        match self {
            Self::Parsed => Field::payload(Base::Transport, offset, len),
            Self::Frame | Self::Tagged | Self::Bare => self.network(version.header() + offset, len),
        }
    }

    /// The address of an end.
    pub(super) const fn address(self, version: Version, end: End) -> Field {
        match (version, end) {
            (Version::V4, End::Source) => self.network(12, 4),
            (Version::V4, End::Destination) => self.network(16, 4),
            (Version::V6, End::Source) => self.network(8, 16),
            (Version::V6, End::Destination) => self.network(24, 16),
        }
    }

    /// The TCP or UDP port of an end.
    pub(super) const fn port(self, version: Version, end: End) -> Field {
        match end {
            End::Source => self.transport(version, 0, 2),
            End::Destination => self.transport(version, 2, 2),
        }
    }

    /// Steps that hold for frames of this type only.
    pub(super) fn ethertype(self, ethertype: u16) -> Vec<Expr> {
        let outer = Field::payload(Base::Link, 12, 2);
        let value = ethertype.to_be_bytes();
        match self {
            Self::Frame => vec![Expr::equals(outer, value)],
            Self::Tagged => {
                let inner = Field::payload(Base::Link, 16, 2);
                vec![Expr::equals(outer, ETHERTYPE_VLAN), Expr::equals(inner, value)]
            }
            Self::Parsed | Self::Bare => Vec::new(),
        }
    }

    /// Steps that hold for packets of this version only.
    pub(super) fn version(self, version: Version) -> Vec<Expr> {
        match (self, version) {
            (Self::Parsed, Version::V4) => vec![Expr::equals(Field::Nfproto, [NFPROTO_IPV4])],
            (Self::Parsed, Version::V6) => vec![Expr::equals(Field::Nfproto, [NFPROTO_IPV6])],
            (Self::Frame | Self::Tagged, Version::V4) => self.ethertype(0x0800),
            (Self::Frame | Self::Tagged, Version::V6) => self.ethertype(0x86dd),
            (Self::Bare, Version::V4) => vec![Expr::masked(self.network(0, 1), [0xf0], Op::Eq, [0x40])],
            (Self::Bare, Version::V6) => vec![Expr::masked(self.network(0, 1), [0xf0], Op::Eq, [0x60])],
        }
    }

    /// Steps that hold for packets of this version and transport only, and make sure that the transport
    /// header is where [`View::transport`] reads it: no IPv4 options, no later fragment, no IPv6 extension
    /// header. With `no_hops`, the packet must come from this very link.
    ///
    /// On cards this is one comparison of the header's first bytes under a mask: every step of a rule costs
    /// the kernel about a microsecond when it is loaded.
    pub(super) fn protocol(self, version: Version, protocol: u8, no_hops: bool) -> Vec<Expr> {
        if self == Self::Parsed {
            let mut exprs = self.version(version);
            exprs.push(Expr::equals(Field::L4proto, [protocol]));
            if no_hops {
                exprs.push(Expr::equals(self.network(7, 1), [255]));
            }
            return exprs;
        }
        let hops = if no_hops { 0xff } else { 0 };
        // The type of the frame stands right before the header.
        let (mut mask, mut value): (Vec<u8>, Vec<u8>) = match (self, version) {
            (Self::Bare, _) => (Vec::new(), Vec::new()),
            (_, Version::V4) => (vec![0xff, 0xff], vec![0x08, 0x00]),
            (_, Version::V6) => (vec![0xff, 0xff], vec![0x86, 0xdd]),
        };
        match version {
            Version::V4 => {
                mask.extend([0xff, 0, 0, 0, 0, 0, 0x1f, 0xff, 0, 0xff]);
                value.extend([0x45, 0, 0, 0, 0, 0, 0, 0, 0, protocol]);
            }
            Version::V6 => {
                mask.extend([0xf0, 0, 0, 0, 0, 0, 0xff, hops]);
                value.extend([0x60, 0, 0, 0, 0, 0, protocol, hops]);
            }
        }
        let before = if self == Self::Bare { 0 } else { 2 };
        let length = match version {
            Version::V4 => 10,
            Version::V6 => 8,
        };
        let head = Field::payload(self.base(), self.start() - u16::from(before), length + before);
        let mut exprs = Vec::new();
        if self == Self::Tagged {
            exprs.push(Expr::equals(Field::payload(Base::Link, 12, 2), ETHERTYPE_VLAN));
        }
        exprs.push(Expr::masked(head, mask, Op::Eq, value));
        exprs
    }
}
