//! Comparing the rules meant with the rules found.
//!
//! The comparison is of content, never of names or numbers of rules: whatever the kernel holds that was
//! not meant, or lacks that was, is a [`Drift`]. An equal digest and an empty list say the same.

use super::drift::Drift;
use super::facts::HostFacts;
use super::names::Role;
use super::observed::{ObservedNet, Owner};
use super::ruleset::{ARMED, Chain, Family, HookPoint, Rule, RuleSet, Set, Table};

/// Every difference between what was meant and what was found; empty if the kernel holds what was meant.
pub fn diff(meant: &RuleSet, observed: &ObservedNet) -> Vec<Drift> {
    let mut drift = Vec::new();
    let mut left: Vec<_> = observed.tables.iter().collect();
    for table in &meant.tables {
        let role = table.role();
        let found = left.iter().position(|o| o.table.family == table.family && o.table.role() == role);
        let Some(found) = found.map(|index| left.remove(index)) else {
            match role {
                Some(role) => drift.push(Drift::MissingTable { family: table.family, role }),
                None => drift.push(Drift::Missing { place: place(table) }),
            }
            continue;
        };
        owner(table, found.owner, observed.owner_supported, &mut drift);
        content(table, &found.table, &mut drift);
    }
    let extra = left.into_iter().map(|o| &o.table);
    drift.extend(extra.map(|t| Drift::ExtraTable { family: t.family, name: t.name.clone() }));
    later_chains(meant, observed, &mut drift);
    drift
}

/// A packet to an allowed peer is checked, then given another destination: whoever comes last decides.
fn later_chains(meant: &RuleSet, observed: &ObservedNet, drift: &mut Vec<Drift>) {
    let hooks = meant.tables.iter().flat_map(|t| &t.chains).filter_map(|chain| chain.hook.as_ref());
    let ours = hooks.filter(|hook| hook.point == HookPoint::Egress).map(|hook| hook.priority).min();
    let Some(ours) = ours else { return };
    let later = observed.foreign_egress.iter().filter(|chain| chain.priority >= ours);
    drift.extend(later.map(|chain| Drift::LaterChain { place: chain.place.clone() }));
}

/// Every card of the host that a chain should cover and does not, and the other way round. A chain bound to
/// a card that does not exist is accepted by the kernel and protects nothing (trap 9).
pub fn coverage(rules: &RuleSet, facts: &HostFacts) -> Vec<Drift> {
    let mut drift = Vec::new();
    let hooks: Vec<_> = rules
        .tables
        .iter()
        .filter(|table| table.family == Family::Netdev)
        .flat_map(|table| table.chains.iter().map(move |chain| (table, chain)))
        .filter_map(|(table, chain)| chain.hook.as_ref().map(|hook| (table, chain, hook)))
        .collect();
    for (table, chain, hook) in &hooks {
        for device in hook.devices.iter().filter(|d| !facts.cards.iter().any(|card| card.name == **d)) {
            drift.push(Drift::MissingCard { card: device.clone(), place: chain_place(table, chain) });
        }
    }
    let wanted = [
        (HookPoint::Egress, "egress", facts.support.egress),
        (HookPoint::Ingress, "ingress", facts.support.ingress),
    ];
    let roles = [Role::Owned, Role::Plain];
    for (point, word, _) in wanted.iter().filter(|(_, _, supported)| *supported && !rules.is_empty()) {
        for card in facts.external() {
            let covered = roles
                .iter()
                .filter(|role| rules.tables.iter().any(|t| t.role() == Some(**role)))
                .all(|role| {
                    hooks.iter().any(|(table, _, hook)| {
                        table.role() == Some(*role)
                            && hook.point == *point
                            && hook.devices.contains(&card.name)
                    })
                });
            if !covered {
                drift.push(Drift::UncoveredCard { card: card.name.clone(), hook: (*word).to_owned() });
            }
        }
    }
    drift
}

fn owner(meant: &Table, found: Owner, supported: Option<bool>, drift: &mut Vec<Drift>) {
    let expected = if meant.owner && supported != Some(false) { Owner::Us } else { Owner::Nobody };
    if found != expected {
        drift.push(Drift::Changed {
            place: place(meant),
            property: "owner".to_owned(),
            meant: owner_name(expected),
            found: owner_name(found),
        });
    }
}

fn owner_name(owner: Owner) -> String {
    match owner {
        Owner::Nobody => "nobody".to_owned(),
        Owner::Us => "this agent".to_owned(),
        Owner::Other(port) => format!("another process (netlink port {port})"),
    }
}

fn place(table: &Table) -> String {
    let role = table.role().map_or("", Role::as_str);
    format!("{role} {} table", table.family.as_str())
}

fn chain_place(table: &Table, chain: &Chain) -> String {
    format!("{}, chain {}", place(table), chain.name)
}

struct Report<'a> {
    drift: &'a mut Vec<Drift>,
    place: String,
}

impl Report<'_> {
    fn compare<T: PartialEq + std::fmt::Debug>(&mut self, property: &str, meant: &T, found: &T) {
        if meant != found {
            self.drift.push(Drift::Changed {
                place: self.place.clone(),
                property: property.to_owned(),
                meant: format!("{meant:?}"),
                found: format!("{found:?}"),
            });
        }
    }
}

fn content(meant: &Table, found: &Table, drift: &mut Vec<Drift>) {
    let mut report = Report { drift, place: place(meant) };
    report.compare("dormant", &meant.dormant, &found.dormant);
    report.compare("flags", &meant.other_flags, &found.other_flags);
    report.compare("number of other objects", &meant.other_objects, &found.other_objects);
    pairs(
        &meant.sets,
        &found.sets,
        |set| &set.name,
        |name, meant_set, found_set| {
            let place = format!("{}, set {name}", place(meant));
            match (meant_set, found_set) {
                (Some(meant_set), Some(found_set)) => compare_sets(place, meant_set, found_set, drift),
                (Some(_), None) => drift.push(Drift::Missing { place }),
                (None, _) => drift.push(Drift::Extra { place }),
            }
        },
    );
    pairs(
        &meant.chains,
        &found.chains,
        |chain| &chain.name,
        |name, meant_chain, found_chain| {
            let place = format!("{}, chain {name}", place(meant));
            match (meant_chain, found_chain) {
                (Some(meant_chain), Some(found_chain)) => {
                    compare_chains(place, meant_chain, found_chain, drift);
                }
                (Some(_), None) => drift.push(Drift::Missing { place }),
                (None, _) => drift.push(Drift::Extra { place }),
            }
        },
    );
}

/// Pairs items of two lists by name; an item found twice counts as extra.
fn pairs<'a, T>(
    meant: &'a [T],
    found: &'a [T],
    name: impl Fn(&T) -> &String,
    mut each: impl FnMut(&str, Option<&'a T>, Option<&'a T>),
) {
    let mut left: Vec<&T> = found.iter().collect();
    for item in meant {
        let other = left.iter().position(|other| name(other) == name(item)).map(|index| left.remove(index));
        each(name(item), Some(item), other);
    }
    for item in left {
        each(name(item), None, Some(item));
    }
}

fn compare_sets(place: String, meant: &Set, found: &Set, drift: &mut Vec<Drift>) {
    let mut report = Report { drift, place: place.clone() };
    report.compare("key type", &meant.key_type, &found.key_type);
    report.compare("key length", &meant.key_len, &found.key_len);
    report.compare("intervals", &meant.interval, &found.interval);
    report.compare("timeouts", &meant.timeout, &found.timeout);
    report.compare("flags", &meant.other_flags, &found.other_flags);
    let (missing, extra) = unmatched(&meant.elements, &found.elements);
    let timed = meant.elements.iter().any(|element| element.timeout_ms.is_some());
    if meant.name == ARMED && timed && found.elements.is_empty() {
        drift.push(Drift::Lifted { place });
        return;
    }
    for (_, element) in missing {
        drift.push(Drift::MissingElement { place: place.clone(), element: meant.show(element) });
    }
    for (_, element) in extra {
        drift.push(Drift::ExtraElement { place: place.clone(), element: found.show(element) });
    }
}

fn compare_chains(place: String, meant: &Chain, found: &Chain, drift: &mut Vec<Drift>) {
    let mut report = Report { drift, place: place.clone() };
    match (&meant.hook, &found.hook) {
        (Some(meant), Some(found)) => {
            report.compare("type", &meant.kind, &found.kind);
            report.compare("hook", &meant.point, &found.point);
            report.compare("priority", &meant.priority, &found.priority);
            report.compare("policy", &meant.policy, &found.policy);
            let sorted = |devices: &[String]| {
                let mut devices = devices.to_vec();
                devices.sort_unstable();
                devices
            };
            report.compare("cards", &sorted(&meant.devices), &sorted(&found.devices));
        }
        (meant, found) => report.compare("hook", meant, found),
    }
    let strip = |chain: &Chain| -> Vec<Rule> {
        chain.rules.iter().map(|rule| Rule { comment: String::new(), exprs: rule.exprs.clone() }).collect()
    };
    let (meant_rules, found_rules) = (strip(meant), strip(found));
    if meant_rules == found_rules {
        return;
    }
    let before = drift.len();
    let (missing, extra) = unmatched(&meant_rules, &found_rules);
    for (position, rule) in missing {
        drift.push(Drift::MissingRule { place: place.clone(), position, rule: rule.render() });
    }
    for (position, rule) in extra {
        drift.push(Drift::ForeignRule { place: place.clone(), position, rule: rule.render() });
    }
    if drift.len() == before {
        drift.push(Drift::RulesReordered { place });
    }
}

type Positioned<'a, T> = Vec<(u32, &'a T)>;

/// Items of each list without a counterpart in the other, with their places from 1.
fn unmatched<'a, T: PartialEq>(meant: &'a [T], found: &'a [T]) -> (Positioned<'a, T>, Positioned<'a, T>) {
    let mut extra: Positioned<'a, T> = (1..).zip(found).collect();
    let mut missing = Vec::new();
    for (position, item) in (1..).zip(meant) {
        // Usually both lists are equal, so the counterpart is the first one left.
        match extra.iter().position(|(_, other)| *other == item) {
            Some(index) => drop(extra.remove(index)),
            None => missing.push((position, item)),
        }
    }
    (missing, extra)
}
