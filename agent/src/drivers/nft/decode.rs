//! What the kernel listed, as the same types that we load.
//!
//! Pure. Whatever is well formed is kept, if only as something foreign; whatever is not is an error, and
//! an error is never read as "nothing there".

use digue_proto::rules::{
    Chain, ChainKind, CounterReading, Element, Family, ForeignEgress, ForeignTable, Hook, HookPoint,
    ObservedNet, ObservedTable, Owner, Rule, Set, Table, Timer, Verdict,
};

use super::code::{self, chain, rule, set, table};
use super::encode::comment;
use super::expr::{self, Count};
use crate::drivers::netlink::{Malformed, attributes, be32, be64, first, text};

/// Bodies of the messages that the kernel listed, each after its netlink header.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dumps {
    /// The kernel's number of the rule set.
    pub generation: u32,
    /// Tables of all families.
    pub tables: Vec<Vec<u8>>,
    /// Chains of all families.
    pub chains: Vec<Vec<u8>>,
    /// Rules of our tables.
    pub rules: Vec<Vec<u8>>,
    /// Sets of our tables.
    pub sets: Vec<Vec<u8>>,
    /// Elements of our sets.
    pub elements: Vec<Vec<u8>>,
}

/// A table's family, by the kernel's number, and its name.
pub(super) type TableKey = (u8, String);

/// Head and attributes of one message.
struct Item<'a> {
    family: u8,
    attributes: Vec<(u16, &'a [u8])>,
}

impl<'a> Item<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let (&[family, ..], rest) =
            body.split_first_chunk::<4>().ok_or(Malformed("short nf_tables message"))?;
        Ok(Self { family, attributes: attributes(rest)? })
    }
    fn get(&self, kind: u16) -> Option<&'a [u8]> {
        first(&self.attributes, kind)
    }
    fn text(&self, kind: u16) -> Result<String, Malformed> {
        self.get(kind).map(text).ok_or(Malformed("a name is missing"))
    }
    fn number(&self, kind: u16) -> Result<Option<u32>, Malformed> {
        self.get(kind).map(be32).transpose()
    }
    fn is_of(&self, key: &TableKey, name: u16) -> Result<bool, Malformed> {
        Ok(self.family == key.0 && self.text(name)? == key.1)
    }
}

/// What one table message says.
pub(super) struct RawTable {
    pub(super) key: TableKey,
    flags: u32,
    uses: u32,
    pub(super) owner: Option<u32>,
}

impl RawTable {
    pub(super) fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let item = Item::parse(body)?;
        Ok(Self {
            key: (item.family, item.text(table::NAME)?),
            flags: item.number(table::FLAGS)?.unwrap_or(0),
            uses: item.number(table::USE)?.unwrap_or(0),
            owner: item.number(table::OWNER)?,
        })
    }

    /// The table with no content yet, if its name and family are ours.
    fn ours(&self) -> Option<Table> {
        let empty = Table {
            family: code::family_of(self.key.0)?,
            name: self.key.1.clone(),
            owner: self.flags & table::OWNED != 0,
            dormant: self.flags & table::DORMANT != 0,
            other_flags: self.flags & !(table::OWNED | table::DORMANT),
            other_objects: 0,
            sets: Vec::new(),
            chains: Vec::new(),
        };
        empty.role().is_some().then_some(empty)
    }

    pub(super) fn is_ours(&self) -> bool {
        self.ours().is_some()
    }
}

/// The name of a set in a set message.
pub(super) fn set_name(body: &[u8]) -> Result<String, Malformed> {
    Item::parse(body)?.text(set::NAME)
}

/// Puts the lists together. `sockets` are the netlink ports whose tables are ours.
///
/// # Errors
/// Bytes that are no well-formed answer of the kernel.
pub fn decode(
    dumps: &Dumps,
    sockets: &[u32],
    owner_supported: Option<bool>,
) -> Result<ObservedNet, Malformed> {
    let mut observed = ObservedNet {
        generation: dumps.generation,
        owner_supported,
        tables: Vec::new(),
        foreign: Vec::new(),
        foreign_egress: Vec::new(),
        counters: Vec::new(),
        timers: Vec::new(),
    };
    for body in &dumps.tables {
        let raw = RawTable::parse(body)?;
        let Some(mut found) = raw.ours() else {
            foreign_egress(dumps, &raw.key, &mut observed.foreign_egress)?;
            observed.foreign.push(ForeignTable { family: code::family_name(raw.key.0), name: raw.key.1 });
            continue;
        };
        found.sets = sets(dumps, &raw.key, &found, &mut observed.timers)?;
        found.chains = chains(dumps, &raw.key, &found, &mut observed.counters)?;
        let known = found.sets.len() + found.chains.len();
        found.other_objects = raw.uses.saturating_sub(u32::try_from(known).unwrap_or(u32::MAX));
        let owner = match raw.owner {
            None => Owner::Nobody,
            Some(port) if sockets.contains(&port) => Owner::Us,
            Some(port) => Owner::Other(port),
        };
        observed.tables.push(ObservedTable { table: found, owner });
    }
    observed.tables.sort_by(|a, b| (a.table.family, &a.table.name).cmp(&(b.table.family, &b.table.name)));
    observed.foreign.sort_unstable();
    observed.foreign_egress.sort_unstable();
    observed.counters.sort_unstable();
    observed.timers.sort_unstable();
    Ok(observed)
}

fn chains(
    dumps: &Dumps,
    key: &TableKey,
    table: &Table,
    counters: &mut Vec<CounterReading>,
) -> Result<Vec<Chain>, Malformed> {
    let mut chains = Vec::new();
    for body in &dumps.chains {
        let item = Item::parse(body)?;
        if item.is_of(key, chain::TABLE)? {
            let name = item.text(chain::NAME)?;
            chains.push(Chain { hook: hook(&item, table.family)?, rules: Vec::new(), name });
        }
    }
    for body in &dumps.rules {
        let item = Item::parse(body)?;
        if !item.is_of(key, rule::TABLE)? {
            continue;
        }
        let name = item.text(rule::CHAIN)?;
        let Some(chain) = chains.iter_mut().find(|chain| chain.name == name) else {
            return Err(Malformed("a rule of a chain that was not listed"));
        };
        let (exprs, counts) = item.get(rule::EXPRESSIONS).map_or(Ok((Vec::new(), Vec::new())), expr::read)?;
        let comment = item.get(rule::USERDATA).and_then(comment).unwrap_or_default();
        if let (Some(role), Some(Count { packets, bytes })) = (table.role(), counts.first().copied()) {
            counters.push(CounterReading {
                family: table.family,
                role,
                chain: name,
                rule: u32::try_from(chain.rules.len()).unwrap_or(u32::MAX),
                comment: comment.clone(),
                packets,
                bytes,
            });
        }
        chain.rules.push(Rule { comment, exprs });
    }
    chains.sort_unstable();
    Ok(chains)
}

/// Chains of a foreign table on frames that cards are about to send.
fn foreign_egress(dumps: &Dumps, key: &TableKey, found: &mut Vec<ForeignEgress>) -> Result<(), Malformed> {
    if code::family_of(key.0) != Some(Family::Netdev) {
        return Ok(());
    }
    for body in &dumps.chains {
        let item = Item::parse(body)?;
        if !item.is_of(key, chain::TABLE)? {
            continue;
        }
        if let Some(hook) = hook(&item, Family::Netdev)?
            && hook.point == HookPoint::Egress
        {
            let place = format!("chain {} of the foreign netdev table {}", item.text(chain::NAME)?, key.1);
            found.push(ForeignEgress { place, priority: hook.priority });
        }
    }
    Ok(())
}

fn hook(item: &Item<'_>, family: Family) -> Result<Option<Hook>, Malformed> {
    let Some(nest) = item.get(chain::HOOK) else { return Ok(None) };
    let parts = attributes(nest)?;
    let number = |kind| first(&parts, kind).map(be32).transpose();
    let mut devices = Vec::new();
    if let Some(list) = first(&parts, chain::HOOK_DEVICES) {
        devices.extend(attributes(list)?.into_iter().map(|(_, name)| text(name)));
    } else if let Some(one) = first(&parts, chain::HOOK_DEVICE) {
        devices.push(text(one));
    }
    devices.sort_unstable();
    let flags = item.number(chain::FLAGS)?.unwrap_or(chain::BASE);
    let kind = match (item.get(chain::TYPE).map(text), flags) {
        (Some(kind), chain::BASE) if kind == "filter" => ChainKind::Filter,
        (kind, flags) => ChainKind::Other(format!("{} flags {flags:#x}", kind.unwrap_or_default())),
    };
    let policy = item.number(chain::POLICY)?.and_then(code::verdict_of);
    Ok(Some(Hook {
        kind,
        point: code::hook_of(
            family,
            number(chain::HOOK_NUMBER)?.ok_or(Malformed("a hook without a number"))?,
        ),
        priority: number(chain::HOOK_PRIORITY)?.ok_or(Malformed("a hook without a priority"))?.cast_signed(),
        policy: policy.unwrap_or(Verdict::Accept),
        devices,
    }))
}

fn sets(
    dumps: &Dumps,
    key: &TableKey,
    table: &Table,
    timers: &mut Vec<Timer>,
) -> Result<Vec<Set>, Malformed> {
    let mut sets = Vec::new();
    for body in &dumps.sets {
        let item = Item::parse(body)?;
        if !item.is_of(key, set::TABLE)? {
            continue;
        }
        let flags = item.number(set::FLAGS)?.unwrap_or(0);
        let timeout = flags & set::TIMEOUT != 0;
        // A set of ours is constant or has timeouts, never both and never neither.
        let constant = flags & set::CONSTANT;
        let expected = if timeout { 0 } else { set::CONSTANT };
        let unexpected = constant ^ expected;
        let known = set::TIMEOUT | set::CONSTANT | set::INTERVAL;
        let mut found = Set {
            name: item.text(set::NAME)?,
            key_type: item.number(set::KEY_TYPE)?.unwrap_or(0),
            key_len: item.number(set::KEY_LEN)?.unwrap_or(0),
            interval: flags & set::INTERVAL != 0,
            timeout,
            other_flags: flags & !known | unexpected,
            elements: Vec::new(),
        };
        let raw = elements(dumps, key, &found.name)?;
        if let Some(role) = table.role() {
            timers.extend(raw.iter().filter_map(|element| element.left_ms).map(|left_ms| Timer {
                family: table.family,
                role,
                set: found.name.clone(),
                left_ms,
            }));
        }
        found.elements =
            if found.interval { intervals(raw) } else { raw.into_iter().map(RawElement::whole).collect() };
        found.elements.sort_unstable();
        sets.push(found);
    }
    sets.sort_unstable();
    Ok(sets)
}

struct RawElement {
    key: Vec<u8>,
    end: bool,
    timeout_ms: Option<u64>,
    left_ms: Option<u64>,
    /// It carries something that our elements never do.
    strange: bool,
}

impl RawElement {
    fn whole(self) -> Element {
        let to = if self.strange || self.end { Vec::new() } else { self.key.clone() };
        Element { from: self.key.into(), to: to.into(), timeout_ms: self.timeout_ms }
    }
}

fn elements(dumps: &Dumps, key: &TableKey, name: &str) -> Result<Vec<RawElement>, Malformed> {
    let mut found = Vec::new();
    for body in &dumps.elements {
        let item = Item::parse(body)?;
        // In element messages the set's name has the number of a set's own name.
        if !item.is_of(key, set::TABLE)? || item.text(set::NAME)? != name {
            continue;
        }
        for (_, element) in attributes(item.get(set::ELEMENTS).unwrap_or_default())? {
            let element = raw_element(element)?;
            // Listed, yet run out: the kernel no longer matches it.
            if element.timeout_ms.is_none() || element.left_ms != Some(0) {
                found.push(element);
            }
        }
    }
    Ok(found)
}

fn raw_element(bytes: &[u8]) -> Result<RawElement, Malformed> {
    let parts = attributes(bytes)?;
    let ordinary = [
        set::ELEMENT_KEY,
        set::ELEMENT_FLAGS,
        set::ELEMENT_TIMEOUT,
        set::ELEMENT_EXPIRATION,
        set::ELEMENT_USERDATA,
        set::ELEMENT_PAD,
    ];
    let mut strange = parts.iter().any(|(kind, _)| !ordinary.contains(kind));
    let flags = first(&parts, set::ELEMENT_FLAGS).map_or(Ok(0), be32)?;
    strange |= flags & !set::INTERVAL_END != 0;
    let key = match first(&parts, set::ELEMENT_KEY).map(attributes).transpose()?.as_deref() {
        Some([(set::DATA_VALUE, key)]) => key.to_vec(),
        _ => {
            strange = true;
            bytes.to_vec()
        }
    };
    Ok(RawElement {
        key,
        end: flags & set::INTERVAL_END != 0,
        timeout_ms: first(&parts, set::ELEMENT_TIMEOUT).map(be64).transpose()?,
        left_ms: first(&parts, set::ELEMENT_EXPIRATION).map(be64).transpose()?,
        strange,
    })
}

/// Joins beginnings and ends of intervals. What does not pair is kept as an element that equals none.
fn intervals(mut raw: Vec<RawElement>) -> Vec<Element> {
    raw.sort_by(|a, b| (&a.key, !a.end).cmp(&(&b.key, !b.end)));
    let mut found = Vec::new();
    let mut open: Option<RawElement> = None;
    for element in raw {
        if element.strange {
            found.push(element.whole());
        } else if element.end {
            match open.take() {
                Some(begin) => {
                    let to = predecessor(&element.key);
                    found.push(Element {
                        from: begin.key.into(),
                        to: to.into(),
                        timeout_ms: begin.timeout_ms,
                    });
                }
                // nft marks the gap before the first interval with an end at zero.
                None if element.key.iter().all(|byte| *byte == 0) => {}
                None => found.push(element.whole()),
            }
        } else if let Some(unclosed) = open.replace(element) {
            found.push(Element {
                from: unclosed.key.into(),
                to: Vec::new().into(),
                timeout_ms: unclosed.timeout_ms,
            });
        }
    }
    if let Some(last) = open {
        let to = vec![0xff; last.key.len()];
        found.push(Element { from: last.key.into(), to: to.into(), timeout_ms: last.timeout_ms });
    }
    found
}

fn predecessor(number: &[u8]) -> Vec<u8> {
    let mut before = number.to_vec();
    for byte in before.iter_mut().rev() {
        let (difference, borrow) = byte.overflowing_sub(1);
        *byte = difference;
        if !borrow {
            break;
        }
    }
    before
}
