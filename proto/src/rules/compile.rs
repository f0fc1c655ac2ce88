//! Policy to rules: the three tables of section 4.3, each in two copies.
//!
//! The owned copy belongs to the agent's netlink socket; the plain copy outlives the agent. A packet must
//! pass both, so neither can be used to get around the other. Exceptions that have run out are the
//! caller's to leave out: there is no clock here.

use super::accept::{CONTROLLERS, List, Maker, Side, octets, rule};
use super::facts::{Card, HostFacts, LinkLayer, Support};
use super::field::{Base, Field};
use super::names::{Role, TableNames};
use super::ranges::intervals;
use super::ruleset::{
    ARMED, Chain, ChainKind, Element, Expr, Family, Hook, HookPoint, RejectWith, Rule, RuleSet, Set, Table,
    Verdict,
};
use super::view::{End, TCP, Version, View};
use crate::policy::{BlockList, OnLostManagement, Policy};

/// Frames of this type are sent by the agent to see that a chain really drops; one of the two that IEEE
/// 802 sets aside for experiments.
pub const CANARY_ETHERTYPE: u16 = 0x88b5;

/// The kernel accepts at most 256 cards in one chain.
const CARDS_PER_CHAIN: usize = 200;
const LOOPBACK_INDEX: u32 = 1;

/// Ingress first, before any flow table.
const INGRESS: i32 = -500;
/// Egress last: a chain of others that runs later can give a frame to an allowed peer another destination.
/// Among equals the kernel puts the newest first, so nobody gets behind ours once they are loaded.
const EGRESS: i32 = i32::MAX;

// Numbers of nft's own types, by which `nft list` knows how to show keys.
const TYPE_NFPROTO: u32 = 2;
const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;
const TYPE_PORT: u32 = 13;

/// The rules of a policy and a block list on this host.
///
/// The same arguments give the same rules, whatever the order of lists in `facts`.
pub fn compile(policy: &Policy, blocked: &BlockList, facts: &HostFacts, names: &TableNames) -> RuleSet {
    if !policy.contains() && blocked.networks.is_empty() {
        return RuleSet::empty();
    }
    let facts = &facts.sorted();
    let maker = Maker::new(policy, blocked, facts, timer(policy).is_some());
    let default = if policy.contains() { Verdict::Drop } else { Verdict::Accept };
    let build = Build { maker, default, facts };
    let mut tables = vec![(Family::Inet, build.inet())];
    if facts.support.bridge {
        tables.push((Family::Bridge, build.bridge()));
    }
    let netdev = build.netdev();
    if !netdev.is_empty() {
        tables.push((Family::Netdev, netdev));
    }
    build.assemble(tables, names).with_timer(timer(policy))
}

/// The fallback if the kernel refuses the rules of [`compile`]: three chains, no set but the timer's, no
/// chain on any card (trap 15). It cuts what the full profile cuts on IP traffic, and guests besides.
pub fn minimal(policy: &Policy, blocked: &BlockList, names: &TableNames) -> RuleSet {
    if !policy.contains() && blocked.networks.is_empty() {
        return RuleSet::empty();
    }
    let facts = HostFacts::unknown();
    let mut maker = Maker::new(policy, blocked, &facts, timer(policy).is_some());
    maker.with_sets = false;
    let default = if policy.contains() { Verdict::Drop } else { Verdict::Accept };
    let build = Build { maker, default, facts: &facts };
    let chains = build.inet().into_iter().filter(|chain| chain.name != "postrouting").collect();
    build.assemble(vec![(Family::Inet, chains)], names).with_timer(timer(policy))
}

const fn timer(policy: &Policy) -> Option<u32> {
    match policy.on_lost_management {
        OnLostManagement::ReopenAfter(seconds) if policy.contains() => Some(seconds),
        OnLostManagement::ReopenAfter(_) | OnLostManagement::Hold => None,
    }
}

struct Build<'a> {
    maker: Maker<'a>,
    default: Verdict,
    facts: &'a HostFacts,
}

impl Build<'_> {
    fn inet(&self) -> Vec<Chain> {
        let maker = &self.maker;
        let (view, both) = (View::Parsed, [End::Source, End::Destination]);
        let mut refuse = vec![
            rule("refused", vec![Expr::equals(Field::L4proto, [TCP])], refuse(RejectWith::TcpReset)),
            rule("refused", Vec::new(), refuse(RejectWith::AdminProhibited)),
        ];
        let mut output = vec![loopback(Field::Oif)];
        output.extend(maker.open(view, Side::Out));
        let postrouting = output.clone();
        output.append(&mut refuse);
        let mut input = vec![loopback(Field::Iif)];
        input.extend(maker.open(view, Side::In));
        // Without sets this would be a rule for every pair of internal networks.
        let forward = if maker.with_sets { maker.guests(view) } else { Vec::new() };
        let to = &[End::Destination];
        vec![
            self.chain("output", HookPoint::Output, 0, maker.blocked(view, to, true), output, false),
            self.chain(
                "postrouting",
                HookPoint::Postrouting,
                300,
                maker.blocked(view, to, false),
                postrouting,
                true,
            ),
            self.chain("input", HookPoint::Input, 0, maker.blocked(view, &[End::Source], false), input, true),
            self.chain("forward", HookPoint::Forward, 0, maker.blocked(view, &both, false), forward, true),
        ]
    }

    fn bridge(&self) -> Vec<Chain> {
        let mut first = Vec::new();
        let mut rules = Vec::new();
        // Without a bridge nothing is forwarded that these rules could let pass. One that appears during a
        // containment forwards nothing until the rules are compiled anew.
        let bridges = self.facts.cards.iter().any(|card| card.kind == "bridge");
        let needed = bridges || self.default == Verdict::Accept;
        for view in self.frame_views().into_iter().filter(|_| needed) {
            first.extend(self.maker.blocked(view, &[End::Source, End::Destination], false));
            rules.extend(self.maker.guests(view));
            rules.extend(self.maker.guest_discovery(view));
        }
        vec![self.chain("forward", HookPoint::Forward, 0, first, rules, true)]
    }

    fn netdev(&self) -> Vec<Chain> {
        let mut chains = Vec::new();
        for (layer, layer_name) in [(LinkLayer::Ethernet, "ethernet"), (LinkLayer::Bare, "bare")] {
            let mut cards: Vec<&Card> = self.bound().filter(|c| c.link_layer == layer).collect();
            cards.sort_unstable();
            for (number, cards) in cards.chunks(CARDS_PER_CHAIN).enumerate() {
                let suffix = if number == 0 { String::new() } else { format!("_{}", number + 1) };
                for (side, point, priority, word, supported) in self.sides() {
                    if supported {
                        let name = format!("{word}_{layer_name}{suffix}");
                        let mut chain = self.card_chain(&name, point, priority, layer, side);
                        if let Some(hook) = &mut chain.hook {
                            hook.devices = cards.iter().map(|card| card.name.clone()).collect();
                        }
                        chains.push(chain);
                    }
                }
            }
        }
        chains
    }

    const fn sides(&self) -> [(Side, HookPoint, i32, &'static str, bool); 2] {
        let Support { egress, ingress, .. } = self.facts.support;
        [
            (Side::Out, HookPoint::Egress, EGRESS, "egress", egress),
            (Side::In, HookPoint::Ingress, INGRESS, "ingress", ingress),
        ]
    }

    /// The cards that chains can name. A name that is no text cannot be given back to the kernel as it was;
    /// such a card counts as not covered.
    fn bound(&self) -> impl Iterator<Item = &Card> {
        self.facts.external().filter(|card| !card.name.contains(char::REPLACEMENT_CHARACTER))
    }

    fn card_chain(&self, name: &str, point: HookPoint, priority: i32, layer: LinkLayer, side: Side) -> Chain {
        let views = match layer {
            LinkLayer::Ethernet => self.frame_views(),
            LinkLayer::Bare => vec![View::Bare],
        };
        let mut first = Vec::new();
        let mut rules = Vec::new();
        let peer = match side {
            Side::Out => End::Destination,
            Side::In => End::Source,
        };
        if side == Side::Out && layer == LinkLayer::Ethernet && self.default == Verdict::Drop {
            let canary = View::Frame.ethertype(CANARY_ETHERTYPE);
            rules.push(rule("canary", canary, [Expr::Counter, Expr::Verdict(Verdict::Drop)]));
        }
        for view in views {
            first.extend(self.maker.blocked(view, &[peer], false));
            rules.extend(self.maker.open(view, side));
            if layer == LinkLayer::Ethernet {
                rules.extend(self.maker.arp(view, side));
            }
        }
        if layer == LinkLayer::Ethernet && self.facts.cards.iter().any(|card| card.bond_port) {
            rules.push(link_aggregation());
        }
        self.chain(name, point, priority, first, rules, true)
    }

    fn frame_views(&self) -> Vec<View> {
        let tagged = self.facts.cards.iter().any(|card| card.carries_vlan);
        if tagged { vec![View::Frame, View::Tagged] } else { vec![View::Frame] }
    }

    /// Blocked networks first, then the timer, then what stays open, then the end. Under `observe` there is
    /// nothing but the first.
    fn chain(
        &self,
        name: &str,
        point: HookPoint,
        priority: i32,
        first: Vec<Rule>,
        open: Vec<Rule>,
        drop_last: bool,
    ) -> Chain {
        let mut rules = first;
        if self.default == Verdict::Drop {
            rules.extend(self.maker.lifted());
            rules.extend(open);
            if drop_last {
                rules.push(rule("dropped", Vec::new(), [Expr::Counter, Expr::Verdict(Verdict::Drop)]));
            }
        }
        let hook =
            Hook { kind: ChainKind::Filter, point, priority, policy: self.default, devices: Vec::new() };
        Chain { name: name.to_owned(), hook: Some(hook), rules }
    }

    fn assemble(&self, tables: Vec<(Family, Vec<Chain>)>, names: &TableNames) -> RuleSet {
        let mut set = RuleSet::empty();
        for role in [Role::Owned, Role::Plain] {
            for (family, chains) in &tables {
                set.tables.push(Table {
                    family: *family,
                    name: names.of(role).to_owned(),
                    owner: role == Role::Owned,
                    dormant: false,
                    other_flags: 0,
                    other_objects: 0,
                    sets: self.sets(*family, chains),
                    chains: chains.clone(),
                });
            }
        }
        set.sorted()
    }

    /// Definitions of the sets that the chains name.
    fn sets(&self, family: Family, chains: &[Chain]) -> Vec<Set> {
        let exprs = chains.iter().flat_map(|chain| &chain.rules).flat_map(|rule| &rule.exprs);
        let named: Vec<&str> = exprs
            .filter_map(|expr| if let Expr::Lookup { set, .. } = expr { Some(set.as_str()) } else { None })
            .collect();
        let mut sets = self.known_sets(family);
        sets.retain(|set| named.contains(&set.name.as_str()));
        sets
    }

    fn known_sets(&self, family: Family) -> Vec<Set> {
        let mut sets = vec![armed(family)];
        for version in Version::BOTH {
            let address_type = match version {
                Version::V4 => TYPE_IPV4,
                Version::V6 => TYPE_IPV6,
            };
            let width: u32 = match version {
                Version::V4 => 4,
                Version::V6 => 16,
            };
            for list in List::ALL {
                let name = format!("{}{}", list.name(), version.suffix());
                let elements = intervals(self.maker.list(list), version);
                sets.push(set(&name, address_type, width, true, elements));
            }
            // A port takes four bytes of a joined key.
            let known = self.maker.controllers.iter().filter(|c| version.of(c.ip()));
            let key = known.map(|c| [&*octets(c.ip()), &c.port().to_be_bytes(), &[0, 0]].concat());
            let elements = key.map(|key| single(&key)).collect();
            let name = format!("{CONTROLLERS}{}", version.suffix());
            sets.push(set(&name, address_type << 6 | TYPE_PORT, width + 4, false, elements));
        }
        sets
    }
}

fn set(name: &str, key_type: u32, key_len: u32, interval: bool, elements: Vec<Element>) -> Set {
    Set { name: name.to_owned(), key_type, key_len, interval, timeout: false, other_flags: 0, elements }
}

fn single(key: &[u8]) -> Element {
    Element { from: key.into(), to: key.into(), timeout_ms: None }
}

/// The key is the protocol family of the hook, the one thing that every packet of a chain has in common.
fn armed(family: Family) -> Set {
    let keys: &[u8] = match family {
        Family::Inet => &[2, 10],
        Family::Bridge => &[7],
        Family::Netdev => &[5],
    };
    let elements = keys.iter().map(|key| single(&[*key])).collect();
    Set { timeout: true, ..set(ARMED, TYPE_NFPROTO, 1, false, elements) }
}

/// By index, not by name: the loopback's index is always 1, while any card can be renamed `lo`.
fn loopback(field: Field) -> Rule {
    let steps = vec![Expr::equals(field, LOOPBACK_INDEX.to_ne_bytes())];
    rule("loopback", steps, [Expr::Verdict(Verdict::Accept)])
}

/// LACP, without which a bond's switch takes the link down. No switch passes such frames on.
fn link_aggregation() -> Rule {
    let mut head = vec![Expr::equals(Field::payload(Base::Link, 0, 6), [0x01, 0x80, 0xc2, 0, 0, 2])];
    head.extend(View::Frame.ethertype(0x8809));
    rule("link aggregation", head, [Expr::Verdict(Verdict::Accept)])
}

fn refuse(with: RejectWith) -> [Expr; 2] {
    [Expr::Counter, Expr::Reject(with)]
}
