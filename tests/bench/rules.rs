//! The rules that a server of the laboratory gets from an ordinary cut, made by the compiler that its agent
//! uses, of the policy that the operator's plan has.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::Result;
use digue_agent::drivers::{self, Place};
use digue_lab::topology::CONTROLLER_PORT;
use digue_proto::policy::{BlockList, OnLostManagement, Policy, Profile};
use digue_proto::rules::{HostFacts, Role, RuleSet, Support, TableNames, compile, minimal};

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

/// What the server whose network the calling thread is in looks like, read as its agent reads it.
pub(crate) fn facts(place: &Place, support: Support) -> Result<HostFacts> {
    let policy = cut_policy()?;
    let mut targets: Vec<IpAddr> = policy.controllers.iter().map(SocketAddr::ip).collect();
    targets.extend(policy.internal.iter().map(|net| net.hosts().next().unwrap_or(net.network())));
    targets.sort_unstable();
    Ok(drivers::facts(place, &targets, support, Path::new("/"))?)
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
