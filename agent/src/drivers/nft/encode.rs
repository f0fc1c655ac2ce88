//! A rule set as one netlink batch: everything of it, or nothing, takes effect.

use std::fmt::{self, Arguments};

use digue_proto::rules::{Chain, Element, RuleSet, Set, Table};

use super::code::{self, chain, message, rule, set, table};
use super::expr;
use crate::drivers::netlink::Writer;

/// Elements in one message: its list must stay under 64 KiB.
const ELEMENTS_PER_MESSAGE: usize = 500;
/// Type of the comment in a table's and in a rule's user data, as nft writes it.
const COMMENT: u8 = 0;

/// A batch, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The number of its first message.
    pub first: u32,
    /// The number of the message whose answer comes last.
    pub last: u32,
}

/// A table to remove, by the kernel's number of its family and its name.
pub(super) type Removal<'a> = (u8, &'a str);

/// Encodes the loading of `load` and the removal of tables, in this order and in one transaction: there is
/// no moment without one of the two.
pub fn encode(load: &RuleSet, remove: &[(u8, &str)], first: u32) -> Batch {
    build(load, remove, first, &mut |_, _| {})
}

/// What the message with a number is about, for error messages.
pub(super) fn describe(load: &RuleSet, remove: &[Removal<'_>], first: u32, seq: u32) -> String {
    let mut found = "the batch".to_owned();
    build(load, remove, first, &mut |number, what| {
        if number == seq {
            found = fmt::format(what);
        }
    });
    found
}

/// Whether the message with a number makes a table.
pub(super) fn makes_table(load: &RuleSet, first: u32, seq: u32) -> bool {
    let count = u32::try_from(load.tables.len()).unwrap_or(u32::MAX);
    (1..=count).contains(&seq.wrapping_sub(first))
}

/// Encodes new timeouts for elements of sets that are already loaded.
pub(super) fn encode_timers(load: &RuleSet, first: u32) -> Batch {
    let tell: Tell<'_> = &mut |_, _| {};
    let mut batch = Building { writer: Writer::default(), seq: first, first, tell };
    batch.begin();
    for table in &load.tables {
        for set in table.sets.iter().filter(|set| set.timeout) {
            let bare = set.elements.iter().map(|e| Element { timeout_ms: None, ..e.clone() }).collect();
            let bare = Set { elements: bare, ..set.clone() };
            batch.elements(code::DELSETELEM, 0, table, &bare);
            batch.elements(code::NEWSETELEM, code::CREATE, table, set);
        }
    }
    batch.end()
}

type Tell<'a> = &'a mut dyn FnMut(u32, Arguments<'_>);

struct Building<'a> {
    writer: Writer,
    seq: u32,
    first: u32,
    tell: Tell<'a>,
}

fn build(load: &RuleSet, remove: &[Removal<'_>], first: u32, tell: Tell<'_>) -> Batch {
    let mut batch = Building { writer: Writer::default(), seq: first, first, tell };
    batch.begin();
    for table in &load.tables {
        batch.table(table);
    }
    for table in &load.tables {
        let mut id = 0;
        for set in &table.sets {
            id += 1;
            batch.set(table, set, id);
            batch.elements(code::NEWSETELEM, code::CREATE, table, set);
        }
        for chain in &table.chains {
            batch.chain(table, chain);
        }
        for chain in &table.chains {
            batch.rules(table, chain);
        }
    }
    for (family, name) in remove {
        let what = format_args!("removing table {} {name}", code::family_name(*family));
        batch.put(code::DELTABLE, 0, *family, what, |w| w.text(table::NAME, name));
    }
    batch.end()
}

fn header(w: &mut Writer, family: u8, resource: u16) {
    w.raw(&[family, 0]);
    w.raw(&resource.to_be_bytes());
}

impl Building<'_> {
    fn begin(&mut self) {
        let subsystem = code::message(0) >> 8;
        self.writer.message(code::BATCH_BEGIN, code::REQUEST, self.seq, |w| header(w, 0, subsystem));
    }

    /// Asks for an answer to the last message: the kernel sends it once it has looked at the whole batch.
    fn end(mut self) -> Batch {
        self.writer.add_flags_to_last(code::ACK);
        let subsystem = code::message(0) >> 8;
        let end = self.seq.wrapping_add(1);
        self.writer.message(code::BATCH_END, code::REQUEST, end, |w| header(w, 0, subsystem));
        Batch { bytes: self.writer.into_bytes(), first: self.first, last: self.seq }
    }

    fn put(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        what: Arguments<'_>,
        body: impl FnOnce(&mut Writer),
    ) {
        self.seq = self.seq.wrapping_add(1);
        (self.tell)(self.seq, what);
        self.writer.message(message(kind), code::REQUEST | flags, self.seq, |w| {
            header(w, family, 0);
            body(w);
        });
    }

    fn table(&mut self, table: &Table) {
        let place = format_args!("table {} {}", table.family.as_str(), table.name);
        self.put(code::NEWTABLE, code::NEW, code::family(table.family), place, |w| {
            w.text(table::NAME, &table.name);
            let mut flags = table.other_flags;
            flags |= if table.owner { table::OWNED } else { 0 };
            flags |= if table.dormant { table::DORMANT } else { 0 };
            w.be32(table::FLAGS, flags);
            let comment = format!("digue: {} copy", if table.owner { "owned" } else { "plain" });
            w.attribute(table::USERDATA, &comment_data(&comment));
        });
    }

    fn set(&mut self, table: &Table, set: &Set, id: u32) {
        let place = format_args!("set {} of table {}", set.name, table.family.as_str());
        self.put(code::NEWSET, code::NEW, code::family(table.family), place, |w| {
            w.text(set::TABLE, &table.name);
            w.text(set::NAME, &set.name);
            w.be32(set::FLAGS, set_flags(set));
            w.be32(set::KEY_TYPE, set.key_type);
            w.be32(set::KEY_LEN, set.key_len);
            w.be32(set::ID, id);
            if !set.interval && !set.timeout {
                // A known size lets the kernel choose a plain hash table.
                let size = u32::try_from(set.elements.len()).unwrap_or(u32::MAX);
                w.nest(set::DESCRIPTION, |w| w.be32(set::SIZE, size));
            }
        });
    }

    fn elements(&mut self, kind: u16, flags: u16, table: &Table, set: &Set) {
        let keys = keys(set);
        for chunk in keys.chunks(ELEMENTS_PER_MESSAGE) {
            let place = format_args!("elements of set {} of table {}", set.name, table.family.as_str());
            self.put(kind, flags, code::family(table.family), place, |w| {
                w.text(set::TABLE, &table.name);
                w.text(set::NAME, &set.name);
                w.nest(set::ELEMENTS, |w| {
                    for key in chunk {
                        w.nest(set::LIST_ELEMENT, |w| {
                            w.nest(set::ELEMENT_KEY, |w| w.attribute(set::DATA_VALUE, &key.key));
                            if key.end {
                                w.be32(set::ELEMENT_FLAGS, set::INTERVAL_END);
                            }
                            if let Some(timeout) = key.timeout_ms {
                                w.be64(set::ELEMENT_TIMEOUT, timeout);
                            }
                        });
                    }
                });
            });
        }
    }

    fn chain(&mut self, table: &Table, chain: &Chain) {
        let place = format_args!("chain {} of table {}", chain.name, table.family.as_str());
        self.put(code::NEWCHAIN, code::NEW, code::family(table.family), place, |w| {
            w.text(chain::TABLE, &table.name);
            w.text(chain::NAME, &chain.name);
            let Some(hook) = &chain.hook else { return };
            w.nest(chain::HOOK, |w| {
                w.be32(chain::HOOK_NUMBER, code::hook(hook.point));
                w.be32(chain::HOOK_PRIORITY, hook.priority.cast_unsigned());
                match hook.devices.as_slice() {
                    [] => {}
                    [one] => w.text(chain::HOOK_DEVICE, one),
                    many => w.nest(chain::HOOK_DEVICES, |w| {
                        many.iter().for_each(|device| w.text(chain::DEVICE_NAME, device));
                    }),
                }
            });
            w.be32(chain::POLICY, code::verdict(hook.policy));
            w.text(chain::TYPE, code::kind(&hook.kind));
        });
    }

    fn rules(&mut self, table: &Table, chain: &Chain) {
        for (number, rule) in (1u32..).zip(&chain.rules) {
            let place =
                format_args!("rule {number} of chain {} of table {}", chain.name, table.family.as_str());
            let flags = code::APPEND | code::CREATE;
            self.put(code::NEWRULE, flags, code::family(table.family), place, |w| {
                w.text(rule::TABLE, &table.name);
                w.text(rule::CHAIN, &chain.name);
                w.nest(rule::EXPRESSIONS, |w| expr::write(w, &rule.exprs));
                if !rule.comment.is_empty() {
                    w.attribute(rule::USERDATA, &comment_data(&rule.comment));
                }
            });
        }
    }
}

/// A comment as nft keeps it: type, length, text, zero byte. Longer ones than nft would write are cut.
fn comment_data(comment: &str) -> Vec<u8> {
    let text: Vec<u8> = comment.bytes().take(120).chain([0]).collect();
    let mut data = vec![COMMENT, u8::try_from(text.len()).unwrap_or(0)];
    data.extend(text);
    data
}

/// The comment in user data, if there is one.
pub(super) fn comment(data: &[u8]) -> Option<String> {
    let (&[kind, length], rest) = data.split_first_chunk::<2>()?;
    let text = rest.get(..usize::from(length))?;
    if kind == COMMENT { Some(crate::drivers::netlink::text(text)) } else { None }
}

pub(super) fn set_flags(set: &Set) -> u32 {
    let mut flags = set.other_flags;
    flags |= if set.interval { set::INTERVAL } else { 0 };
    flags |= if set.timeout { set::TIMEOUT } else { set::CONSTANT };
    flags
}

/// An element as the kernel keeps it: an interval is two of them.
struct Key {
    key: Vec<u8>,
    end: bool,
    timeout_ms: Option<u64>,
}

fn keys(set: &Set) -> Vec<Key> {
    let mut keys = Vec::new();
    for element in &set.elements {
        keys.push(Key { key: element.from.to_vec(), end: false, timeout_ms: element.timeout_ms });
        if set.interval
            && let Some(after) = successor(&element.to)
        {
            keys.push(Key { key: after, end: true, timeout_ms: None });
        }
    }
    keys
}

/// The next number; `None` after the last one, where an interval needs no end.
fn successor(number: &[u8]) -> Option<Vec<u8>> {
    let mut next = number.to_vec();
    for byte in next.iter_mut().rev() {
        let (sum, carry) = byte.overflowing_add(1);
        *byte = sum;
        if !carry {
            return Some(next);
        }
    }
    None
}
