//! What a host looks like, as its drivers saw it: input of the rules, and of the reports.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::policy::Policy;

/// What the frames of a card begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkLayer {
    /// An Ethernet header.
    Ethernet,
    /// The IP header itself: tunnels, PPP.
    Bare,
}

/// A network card, real or virtual.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// Its name, unique in its network namespace.
    pub name: String,
    /// Its number, unique in its network namespace.
    pub ifindex: u32,
    /// Its hardware address; absent for tunnels.
    pub mac: Option<[u8; 6]>,
    /// The kernel's name for its kind (`veth`, `bridge`, `bond`, …); empty for real cards.
    pub kind: String,
    /// What its frames begin with.
    pub link_layer: LinkLayer,
    /// Whether it is a port of a bond, whose aggregation protocol must go on.
    pub bond_port: bool,
    /// Whether frames with a VLAN tag of this host pass it.
    pub carries_vlan: bool,
    /// Whether frames leave the host's own network namespace by it. Every card but the loopback counts as
    /// external: a guest's card leads to a guest, and a guest is not this host.
    pub external: bool,
    /// Whether it is up.
    pub up: bool,
}

/// Which hooks this host's kernel has, measured by really using them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Support {
    /// Chains on bridged frames.
    pub bridge: bool,
    /// Chains on frames that a card receives.
    pub ingress: bool,
    /// Chains on frames that a card sends.
    pub egress: bool,
}

impl Support {
    /// A kernel that has them all (5.16 and later).
    pub const FULL: Self = Self { bridge: true, ingress: true, egress: true };
    /// A kernel that filters IP traffic only.
    pub const INET: Self = Self { bridge: false, ingress: false, egress: false };
}

/// What a host looks like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFacts {
    /// Its cards; sorted by name.
    pub cards: Vec<Card>,
    /// Routers on the way to controllers, internal networks and excepted peers; sorted, unique.
    pub next_hops: Vec<IpAddr>,
    /// The servers that leased this host's addresses; sorted, unique.
    pub dhcp_servers: Vec<Ipv4Addr>,
    /// What its kernel supports.
    pub support: Support,
}

impl HostFacts {
    /// A host of which nothing is known but that its kernel is recent: no chain is bound to a card.
    pub const fn unknown() -> Self {
        Self { cards: Vec::new(), next_hops: Vec::new(), dhcp_servers: Vec::new(), support: Support::FULL }
    }

    /// The addresses to which the way must be known before a policy is compiled: one of each controller,
    /// internal network and excepted peer; sorted, unique.
    pub fn route_targets(policy: &Policy) -> Vec<IpAddr> {
        let networks = policy.internal.iter().copied().chain(policy.exceptions.iter().map(|e| e.peer));
        let inside = networks.map(|net| net.hosts().next().unwrap_or(net.network()));
        let mut targets: Vec<IpAddr> = policy.controllers.iter().map(|c| c.ip()).chain(inside).collect();
        targets.sort_unstable();
        targets.dedup();
        targets
    }

    /// The same with every list sorted and without repetition.
    #[must_use]
    pub fn sorted(&self) -> Self {
        let mut facts = self.clone();
        facts.cards.sort_unstable();
        facts.cards.dedup();
        facts.next_hops.sort_unstable();
        facts.next_hops.dedup();
        facts.dhcp_servers.sort_unstable();
        facts.dhcp_servers.dedup();
        facts
    }

    /// The cards by which frames leave the host.
    pub fn external(&self) -> impl Iterator<Item = &Card> {
        self.cards.iter().filter(|card| card.external)
    }
}
