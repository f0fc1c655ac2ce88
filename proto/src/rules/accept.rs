//! The rules of a containment, one function a subject, for any view and side.
//!
//! No rule here accepts a packet of this host by its source alone: whoever can forge a source address
//! would otherwise have a way out. No rule asks for connection tracking, which may be off or bypassed.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv6Net};

use super::bytes::Hex;
use super::facts::HostFacts;
use super::field::Field;
use super::ruleset::{ARMED, Expr, Op, RejectWith, Rule, Verdict};
use super::view::{End, ICMP, ICMPV6, TCP, UDP, Version, View};
use crate::policy::{BlockList, Direction, Exception, Policy, Profile, Transport};

/// Whether a chain sees packets that leave or that arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Out,
    In,
}

impl Side {
    const fn peer(self) -> End {
        match self {
            Self::Out => End::Destination,
            Self::In => End::Source,
        }
    }
}

/// A list of networks, and the name of its sets without the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Blocked,
    Internal,
    Neighbours,
}

impl List {
    pub(super) const ALL: [Self; 3] = [Self::Blocked, Self::Internal, Self::Neighbours];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Internal => "internal",
            Self::Neighbours => "neighbours",
        }
    }
}

pub(super) const CONTROLLERS: &str = "controllers";
const ARP_PER_SECOND: u64 = 100;
const ARP_BURST: u32 = 200;

/// Everything that rules are made of.
pub(super) struct Maker<'a> {
    /// Networks dropped in both directions.
    pub(super) blocked: &'a [IpNet],
    /// Networks that stay reachable.
    pub(super) internal: &'a [IpNet],
    /// Addresses that neighbour discovery and ARP may ask for.
    pub(super) neighbours: Vec<IpNet>,
    /// Controllers that stay reachable.
    pub(super) controllers: &'a [SocketAddr],
    exceptions: &'a [Exception],
    facts: &'a HostFacts,
    /// Names sets where it can; otherwise writes one rule an entry, for the minimal profile.
    pub(super) with_sets: bool,
    /// Whether the kernel's timer lifts the containment.
    pub(super) timed: bool,
}

impl<'a> Maker<'a> {
    pub(super) fn new(policy: &'a Policy, blocked: &'a BlockList, facts: &'a HostFacts, timed: bool) -> Self {
        let (controllers, exceptions): (&[_], &[_]) = match policy.profile {
            Profile::Cut | Profile::Isolate => (&policy.controllers, &policy.exceptions),
            Profile::Observe | Profile::Dark => (&[], &[]),
        };
        let internal: &[_] = if policy.profile == Profile::Cut { &policy.internal } else { &[] };
        let mut maker = Self {
            blocked: &blocked.networks,
            internal,
            neighbours: Vec::new(),
            controllers,
            exceptions,
            facts,
            with_sets: true,
            timed,
        };
        maker.neighbours = maker.find_neighbours();
        maker
    }

    fn find_neighbours(&self) -> Vec<IpNet> {
        let reached = self.internal.iter().copied();
        let reached = reached.chain(self.controllers.iter().map(|c| IpNet::from(c.ip())));
        let mut found: Vec<IpNet> = reached.chain(self.exceptions.iter().map(|e| e.peer)).collect();
        if found.is_empty() {
            return found;
        }
        if found.iter().any(|net| Version::V6.of(net.network())) {
            // Packets to these two never pass a router, whatever their hop limit.
            found.extend([link_local(0xfe80, 10), link_local(0xff02, 16)]);
        }
        found.extend(self.facts.next_hops.iter().map(|hop| IpNet::from(*hop)));
        found.extend(self.dhcp_servers().map(|server| IpNet::from(IpAddr::V4(server))));
        found
    }

    /// A lease file is the intruder's to write once they are root, so a public address in it opens nothing.
    fn dhcp_servers(&self) -> impl Iterator<Item = std::net::Ipv4Addr> {
        let contained = !self.controllers.is_empty();
        let known = self.facts.dhcp_servers.iter().copied();
        known.filter(move |server| contained && (server.is_private() || server.is_link_local()))
    }

    pub(super) fn list(&self, list: List) -> &[IpNet] {
        match list {
            List::Blocked => self.blocked,
            List::Internal => self.internal,
            List::Neighbours => &self.neighbours,
        }
    }

    /// The ways in which a field can be in a list: none if the list is empty for this version.
    fn among(&self, list: List, version: Version, field: Field) -> Vec<Expr> {
        let mut networks = self.list(list).iter().filter(|net| version.of(net.network())).peekable();
        if networks.peek().is_none() {
            return Vec::new();
        }
        if self.with_sets {
            return vec![Expr::within(&[field], &format!("{}{}", list.name(), version.suffix()))];
        }
        networks.map(|net| in_network(field, *net)).collect()
    }

    fn controllers(&self, version: Version, address: Field, port: Field) -> Vec<Vec<Expr>> {
        let mut known = self.controllers.iter().filter(|c| version.of(c.ip())).peekable();
        if known.peek().is_none() {
            return Vec::new();
        }
        if self.with_sets {
            let set = format!("{CONTROLLERS}{}", version.suffix());
            return vec![vec![Expr::within(&[address, port], &set)]];
        }
        let each = |c: &SocketAddr| {
            vec![Expr::equals(address, octets(c.ip())), Expr::equals(port, c.port().to_be_bytes())]
        };
        known.map(each).collect()
    }

    /// Drops (or refuses, for programs of this host) what comes from or goes to a blocked network.
    pub(super) fn blocked(&self, view: View, ends: &[End], refuse: bool) -> Vec<Rule> {
        let decision =
            if refuse { Expr::Reject(RejectWith::AdminProhibited) } else { Expr::Verdict(Verdict::Drop) };
        let mut rules = Vec::new();
        for version in Version::BOTH {
            for end in ends {
                for among in self.among(List::Blocked, version, view.address(version, *end)) {
                    let tail = [among, Expr::Counter, decision.clone()];
                    rules.push(rule("blocked", view.version(version), tail));
                }
            }
        }
        rules
    }

    /// Lets everything pass once the kernel has let the armed element expire.
    pub(super) fn lifted(&self) -> Vec<Rule> {
        let expired = Expr::Lookup { fields: vec![Field::Nfproto], set: ARMED.to_owned(), negated: true };
        let tail = [expired, Expr::Counter, Expr::Verdict(Verdict::Accept)];
        if self.timed { vec![rule("reopened by the kernel's timer", Vec::new(), tail)] } else { Vec::new() }
    }

    /// Everything that a contained host may send, or receive.
    pub(super) fn open(&self, view: View, side: Side) -> Vec<Rule> {
        let mut rules = self.management(view, side);
        rules.extend(self.internal(view, side));
        rules.extend(self.exceptions(view, side));
        rules.extend(self.dhcp(view, side));
        rules.extend(self.discovery(view, side));
        if side == Side::In {
            rules.extend(self.path_mtu(view));
        }
        rules
    }

    fn management(&self, view: View, side: Side) -> Vec<Rule> {
        let mut rules = Vec::new();
        for version in Version::BOTH {
            let (address, port) = (view.address(version, side.peer()), view.port(version, side.peer()));
            for mut steps in self.controllers(version, address, port) {
                if side == Side::In {
                    steps.push(no_opening(view, version));
                }
                rules.push(rule(
                    "controller",
                    view.protocol(version, TCP, false),
                    steps.into_iter().chain(accept()),
                ));
            }
        }
        rules
    }

    fn internal(&self, view: View, side: Side) -> Vec<Rule> {
        let mut rules = Vec::new();
        for version in Version::BOTH {
            for among in self.among(List::Internal, version, view.address(version, side.peer())) {
                rules.push(rule("internal", view.version(version), [among].into_iter().chain(accept())));
            }
        }
        rules
    }

    fn exceptions(&self, view: View, side: Side) -> Vec<Rule> {
        self.exceptions.iter().map(|exception| self.exception(exception, view, side)).collect()
    }

    #[expect(clippy::unused_self, reason = "reads as the other rules do")]
    fn exception(&self, exception: &Exception, view: View, side: Side) -> Rule {
        let version = if Version::V4.of(exception.peer.network()) { Version::V4 } else { Version::V6 };
        let protocol = match exception.transport {
            Transport::Tcp => TCP,
            Transport::Udp => UDP,
        };
        let answers = (exception.direction == Direction::Outbound) == (side == Side::In);
        let served = if answers { End::Source } else { End::Destination };
        let mut tail = vec![
            in_network(view.address(version, side.peer()), exception.peer),
            Expr::equals(view.port(version, served), exception.port.to_be_bytes()),
        ];
        if answers && protocol == TCP {
            tail.push(no_opening(view, version));
        }
        rule("exception", view.protocol(version, protocol, false), tail.into_iter().chain(count_and_accept()))
    }

    fn dhcp(&self, view: View, side: Side) -> Vec<Rule> {
        let (server_end, client_end) = match side {
            Side::Out => (End::Destination, End::Source),
            Side::In => (End::Source, End::Destination),
        };
        let each = |server: std::net::Ipv4Addr| {
            let tail = [
                Expr::equals(view.address(Version::V4, server_end), server.octets()),
                Expr::equals(view.port(Version::V4, server_end), 67u16.to_be_bytes()),
                Expr::equals(view.port(Version::V4, client_end), 68u16.to_be_bytes()),
            ];
            rule("dhcp", view.protocol(Version::V4, UDP, false), tail.into_iter().chain(accept()))
        };
        self.dhcp_servers().map(each).collect()
    }

    /// IPv6 neighbour solicitation and advertisement. The hop limit keeps out what a router passed on; the
    /// list of neighbours keeps in what a router would pass on.
    fn discovery(&self, view: View, side: Side) -> Vec<Rule> {
        let asked = self.among(List::Neighbours, Version::V6, view.address(Version::V6, End::Destination));
        if asked.is_empty() || view == View::Bare {
            return Vec::new();
        }
        let ways = match side {
            Side::Out => asked.into_iter().map(|to| vec![to]).collect(),
            Side::In => vec![Vec::new()],
        };
        let mut rules: Vec<Rule> = ways.into_iter().map(|way| neighbour_rule(view, way)).collect();
        if side == Side::In {
            let routers = self.facts.next_hops.iter().filter(|hop| Version::V6.of(**hop));
            rules.extend(routers.map(|router| {
                let tail = [
                    Expr::equals(view.transport(Version::V6, 0, 1), [134]),
                    Expr::equals(view.address(Version::V6, End::Source), octets(*router)),
                ];
                let head = view.protocol(Version::V6, ICMPV6, true);
                rule("router advertisement", head, tail.into_iter().chain(accept()))
            }));
        }
        rules
    }

    /// "Packet too big" that quotes a packet of ours to a controller, or management stalls on a narrow path.
    fn path_mtu(&self, view: View) -> Vec<Rule> {
        let mut rules = Vec::new();
        for version in Version::BOTH {
            let (protocol, kind, address, port) = match version {
                Version::V4 => (ICMP, [3], view.transport(version, 24, 4), view.transport(version, 30, 2)),
                Version::V6 => (ICMPV6, [2], view.transport(version, 32, 16), view.transport(version, 50, 2)),
            };
            for quoted in self.controllers(version, address, port) {
                let mut tail = vec![Expr::equals(view.transport(version, 0, 1), kind)];
                if version == Version::V4 {
                    tail.push(Expr::equals(view.transport(version, 1, 1), [4]));
                }
                tail.extend(quoted);
                rules.push(rule(
                    "path mtu",
                    view.protocol(version, protocol, false),
                    tail.into_iter().chain(accept()),
                ));
            }
        }
        rules
    }

    /// ARP with known peers, at a bounded rate: it carries data like any other protocol.
    pub(super) fn arp(&self, view: View, side: Side) -> Vec<Rule> {
        let peer = match side {
            Side::Out => view.network(24, 4),
            Side::In => view.network(14, 4),
        };
        self.among(List::Neighbours, Version::V4, peer).into_iter().map(|a| arp_rule(view, vec![a])).collect()
    }

    /// What guests of this host may exchange: internal networks among themselves, and with controllers that
    /// stand elsewhere.
    pub(super) fn guests(&self, view: View) -> Vec<Rule> {
        let mut rules = Vec::new();
        for version in Version::BOTH {
            let from = self.among(List::Internal, version, view.address(version, End::Source));
            let to = self.among(List::Internal, version, view.address(version, End::Destination));
            for (from, to) in from.iter().flat_map(|f| to.iter().map(move |t| (f.clone(), t.clone()))) {
                rules.push(rule("internal", view.version(version), [from, to].into_iter().chain(accept())));
            }
            let internal = |address: &IpAddr| self.internal.iter().any(|net| net.contains(address));
            if self
                .controllers
                .iter()
                .map(SocketAddr::ip)
                .filter(|ip| version.of(*ip))
                .all(|ip| internal(&ip))
            {
                continue;
            }
            for (guest, end) in
                from.iter().map(|f| (f, End::Destination)).chain(to.iter().map(|t| (t, End::Source)))
            {
                let (address, port) = (view.address(version, end), view.port(version, end));
                for steps in self.controllers(version, address, port) {
                    let tail = [guest.clone()].into_iter().chain(steps).chain(accept());
                    rules.push(rule("controller", view.protocol(version, TCP, false), tail));
                }
            }
        }
        rules
    }

    /// ARP and neighbour discovery among guests and internal networks.
    pub(super) fn guest_discovery(&self, view: View) -> Vec<Rule> {
        let from = self.among(List::Internal, Version::V4, view.network(14, 4));
        let to = self.among(List::Internal, Version::V4, view.network(24, 4));
        let pairs = from.into_iter().zip(to).map(|(from, to)| arp_rule(view, vec![from, to]));
        let asked = if self.internal.iter().any(|net| Version::V6.of(net.network())) {
            self.among(List::Neighbours, Version::V6, view.address(Version::V6, End::Destination))
        } else {
            Vec::new()
        };
        pairs.chain(asked.into_iter().map(|to| neighbour_rule(view, vec![to]))).collect()
    }
}

fn neighbour_rule(view: View, way: Vec<Expr>) -> Rule {
    let kind = view.transport(Version::V6, 0, 1);
    let asking = Expr::Range { field: kind, from: [135].into(), to: [136].into() };
    let head = view.protocol(Version::V6, ICMPV6, true);
    rule("neighbour discovery", head, [asking].into_iter().chain(way).chain(accept()))
}

fn arp_rule(view: View, peers: Vec<Expr>) -> Rule {
    let mut head = view.ethertype(0x0806);
    head.push(Expr::equals(view.network(0, 6), [0, 1, 8, 0, 6, 4]));
    let limit = Expr::Limit { per_second: ARP_PER_SECOND, burst: ARP_BURST };
    rule("arp", head, peers.into_iter().chain([limit]).chain(count_and_accept()))
}

/// Holds for TCP segments that cannot open a connection (ACK or RST is set).
fn no_opening(view: View, version: Version) -> Expr {
    Expr::masked(view.transport(version, 13, 1), [0x14], Op::Ne, [0])
}

fn in_network(field: Field, network: IpNet) -> Expr {
    let value = octets(network.network());
    if network.prefix_len() == network.max_prefix_len() {
        return Expr::equals(field, value);
    }
    Expr::masked(field, octets(network.netmask()), Op::Eq, value)
}

pub(super) fn octets(address: IpAddr) -> Hex {
    match address {
        IpAddr::V4(address) => address.octets().into(),
        IpAddr::V6(address) => address.octets().into(),
    }
}

fn link_local(first: u16, prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, 0), prefix))
}

/// Without a counter: what passes is not what is watched, and every step of a rule takes its time to load.
fn accept() -> [Expr; 1] {
    [Expr::Verdict(Verdict::Accept)]
}

fn count_and_accept() -> [Expr; 2] {
    [Expr::Counter, Expr::Verdict(Verdict::Accept)]
}

pub(super) fn rule(comment: &str, head: Vec<Expr>, tail: impl IntoIterator<Item = Expr>) -> Rule {
    Rule { comment: comment.to_owned(), exprs: head.into_iter().chain(tail).collect() }
}
