//! What a driver found in the kernel. It goes into signed reports: no maps, no floats.

use serde::{Deserialize, Serialize};

use super::names::Role;
use super::ruleset::{Family, RuleSet, Table};

/// To whom a table belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// To nobody: anyone with the rights can change it.
    Nobody,
    /// To a socket that this agent holds.
    Us,
    /// To another netlink socket, by its port number.
    Other(u32),
}

/// A table under one of our names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObservedTable {
    /// Its content.
    pub table: Table,
    /// To whom it belongs.
    pub owner: Owner,
}

/// A table that is not ours: never touched, only named.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignTable {
    /// Its family, by nft's name, or by number if nft has none.
    pub family: String,
    /// Its name.
    pub name: String,
}

/// A chain of others on frames that a card is about to send.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForeignEgress {
    /// The chain and its table.
    pub place: String,
    /// Lower runs earlier.
    pub priority: i32,
}

/// The state of one counter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CounterReading {
    /// The table's family.
    pub family: Family,
    /// The table's copy.
    pub role: Role,
    /// The chain.
    pub chain: String,
    /// The rule's place in the chain, from 0.
    pub rule: u32,
    /// The rule's comment.
    pub comment: String,
    /// Packets counted since the rules were loaded.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A set element that the kernel will remove by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timer {
    /// The table's family.
    pub family: Family,
    /// The table's copy.
    pub role: Role,
    /// The set.
    pub set: String,
    /// Time left, in milliseconds.
    pub left_ms: u64,
}

/// Everything read back in one go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObservedNet {
    /// The kernel's number of the rule set; it was the same before and after reading.
    pub generation: u32,
    /// Whether this kernel lets a socket own a table; `None` until it was tried.
    pub owner_supported: Option<bool>,
    /// Tables under our names; sorted by family and name.
    pub tables: Vec<ObservedTable>,
    /// All other tables; sorted.
    pub foreign: Vec<ForeignTable>,
    /// What others do with frames that leave; sorted.
    pub foreign_egress: Vec<ForeignEgress>,
    /// Our counters; sorted.
    pub counters: Vec<CounterReading>,
    /// Our running timers; sorted.
    pub timers: Vec<Timer>,
}

impl ObservedNet {
    /// The rules alone, to be rendered or hashed.
    pub fn rule_set(&self) -> RuleSet {
        RuleSet { tables: self.tables.iter().map(|found| found.table.clone()).collect() }.sorted()
    }

    /// Packets counted by the rules of a chain with this comment, in the given copy.
    pub fn packets(&self, family: Family, role: Role, chain: &str, comment: &str) -> u64 {
        let ours = |c: &&CounterReading| {
            c.family == family && c.role == role && c.chain == chain && c.comment == comment
        };
        self.counters.iter().filter(ours).map(|c| c.packets).sum()
    }
}
