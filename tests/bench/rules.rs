//! The rules that a server of the laboratory gets from an ordinary cut, made by the compiler that its agent
//! uses, of the policy that the operator's plan has.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use digue_lab::topology::CONTROLLER_PORT;
use digue_proto::policy::{BlockList, OnLostManagement, Policy, Profile};
use digue_proto::rules::{Card, HostFacts, LinkLayer, Role, RuleSet, Support, TableNames, compile, minimal};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::{InterfaceFlags, if_nametoindex};

/// The ordinary cut of the laboratory: controller and internal networks stay open.
pub(crate) fn cut_policy() -> Result<Policy> {
    let controller = SocketAddr::new([10, 77, 0, 2].into(), CONTROLLER_PORT);
    Ok(Policy {
        profile: Profile::Cut,
        controllers: vec![controller],
        internal: vec!["10.77.0.0/16".parse()?, "fd77::/64".parse()?],
        exceptions: Vec::new(),
        on_lost_management: OnLostManagement::Hold,
    })
}

/// What the server whose network the calling thread is in looks like: one card on a bridge, nothing leased,
/// no router on the way to anything that stays open.
pub(crate) fn facts() -> Result<HostFacts> {
    let mut cards = BTreeMap::new();
    for found in getifaddrs().context("listing the cards")? {
        let Some(mac) = found.address.as_ref().and_then(|a| a.as_link_addr()).map(|link| link.addr()) else {
            continue;
        };
        let index = if_nametoindex(found.interface_name.as_str()).context("numbering a card")?;
        let card = Card {
            name: found.interface_name.clone(),
            ifindex: index,
            mac: mac,
            kind: String::new(),
            link_layer: LinkLayer::Ethernet,
            bond_port: false,
            carries_vlan: false,
            external: !found.flags.contains(InterfaceFlags::IFF_LOOPBACK),
            up: found.flags.contains(InterfaceFlags::IFF_UP),
        };
        cards.insert(found.interface_name, card);
    }
    let cards = cards.into_values().collect();
    Ok(HostFacts { cards, next_hops: Vec::new(), dhcp_servers: Vec::new(), support: Support::FULL })
}

/// The rules of a cut on such a server, under names that no other `number` has.
pub(crate) fn cut_rules(facts: &HostFacts, number: u32) -> Result<RuleSet> {
    Ok(compile(&cut_policy()?, &BlockList::default(), facts, &names(number)))
}

/// What an administrator would write for the same purpose: three chains on IP traffic, in one copy. It is
/// the compiler's own fallback, and much less than [`cut_rules`]. (nft cannot load again what it lists of
/// the full rules: it refuses sets of addresses that are looked up by offset.)
pub(crate) fn administrators_rules() -> Result<RuleSet> {
    let mut rules = minimal(&cut_policy()?, &BlockList::default(), &names(0));
    rules.tables.retain(|table| table.role() == Some(Role::Plain));
    Ok(rules)
}

fn names(number: u32) -> TableNames {
    TableNames::from_entropy((u64::from(number) << 32 | u64::from(number)).to_be_bytes())
}
