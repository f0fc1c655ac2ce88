//! The typed rule set: what we mean to load and what was found, in the same words.

use serde::{Deserialize, Serialize};

use super::bytes::Hex;
use super::field::Field;
use super::names::{Role, TableNames, role_of};
use crate::id::Digest;

/// The family of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// IPv4 and IPv6.
    Inet,
    /// Bridged frames.
    Bridge,
    /// Frames of one card.
    Netdev,
}

impl Family {
    /// The name that nft uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Bridge => "bridge",
            Self::Netdev => "netdev",
        }
    }
}

/// Where a base chain hooks in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookPoint {
    /// To this host.
    Input,
    /// Through this host.
    Forward,
    /// From this host.
    Output,
    /// Leaving, after address translation.
    Postrouting,
    /// Frames that a card received.
    Ingress,
    /// Frames that a card is about to send.
    Egress,
    /// A hook that our rules never use, by its number.
    Other(u32),
}

/// The type of a base chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChainKind {
    /// Decides whether packets pass.
    Filter,
    /// A type that our rules never use.
    Other(String),
}

/// What a rule or the policy of a chain decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The packet passes this chain.
    Accept,
    /// The packet is gone.
    Drop,
}

/// How a packet of this host is refused, so that programs fail at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectWith {
    /// A TCP reset.
    TcpReset,
    /// ICMP or ICMPv6 "administratively prohibited".
    AdminProhibited,
}

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Op {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
}

/// One step of a rule. Exactly what our rules use, and [`Expr::Foreign`] for everything else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Expr {
    /// Goes on if the field, after the mask, compares with the value.
    Match {
        /// The field.
        field: Field,
        /// Bits that count; `None` for all.
        mask: Option<Hex>,
        /// The comparison.
        op: Op,
        /// The value, as long as the field.
        value: Hex,
    },
    /// Goes on if the field lies between two values, both included.
    Range {
        /// The field.
        field: Field,
        /// The lowest value, as long as the field.
        from: Hex,
        /// The highest value, as long as the field.
        to: Hex,
    },
    /// Goes on if the fields, joined, are (or are not) in a set.
    Lookup {
        /// The fields, in order.
        fields: Vec<Field>,
        /// The set of the same table.
        set: String,
        /// Goes on if they are *not* in the set.
        negated: bool,
    },
    /// Goes on until the rate is exceeded.
    Limit {
        /// Packets per second.
        per_second: u64,
        /// Packets beyond it that are let through at once.
        burst: u32,
    },
    /// Counts.
    Counter,
    /// Refuses.
    Reject(RejectWith),
    /// Decides.
    Verdict(Verdict),
    /// An expression that no rule of ours holds.
    Foreign {
        /// The kernel's name for it.
        name: String,
        /// Its attributes.
        bytes: Hex,
    },
}

/// A rule: steps that are taken in order until one does not hold.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// What it is for, shown by `nft list` too. No part of the normal form.
    pub comment: String,
    /// Its steps.
    pub exprs: Vec<Expr>,
}

/// Where a base chain hooks in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Its type.
    pub kind: ChainKind,
    /// The hook.
    pub point: HookPoint,
    /// Lower runs earlier.
    pub priority: i32,
    /// What happens to packets that no rule decided.
    pub policy: Verdict,
    /// The cards it is bound to (family `netdev`); sorted, unique.
    pub devices: Vec<String>,
}

/// A chain of rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chain {
    /// Its name, unique in its table.
    pub name: String,
    /// Where it hooks in; `None` for a chain that is only jumped to, which ours never are.
    pub hook: Option<Hook>,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// An element of a set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Element {
    /// First value.
    pub from: Hex,
    /// Last value; equal to `from` in a set without intervals.
    pub to: Hex,
    /// After this time the kernel removes it, in milliseconds.
    pub timeout_ms: Option<u64>,
}

/// A named set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    /// Its name, unique in its table.
    pub name: String,
    /// nft's number for the type of its key; lets `nft list` show it.
    pub key_type: u32,
    /// Length of the key, in bytes.
    pub key_len: u32,
    /// Whether elements are intervals.
    pub interval: bool,
    /// Whether elements may carry a timeout. A set without is constant: nobody can add to it once loaded.
    pub timeout: bool,
    /// Flags of the kernel's that our sets never carry; zero in ours.
    pub other_flags: u32,
    /// Its elements; sorted.
    pub elements: Vec<Element>,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Its family.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Whether it belongs to one netlink socket.
    pub owner: bool,
    /// Whether it is switched off.
    pub dormant: bool,
    /// Flags of the kernel's that our tables never carry; zero in ours.
    pub other_flags: u32,
    /// Flow tables and stateful objects in it, of which ours have none.
    pub other_objects: u32,
    /// Its sets; sorted by name.
    pub sets: Vec<Set>,
    /// Its chains; sorted by name.
    pub chains: Vec<Chain>,
}

/// All tables of ours.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSet {
    /// The tables; sorted by family and name.
    pub tables: Vec<Table>,
}

/// Name of the set whose elements hold a containment armed: while the key is in it, rules decide; once
/// the kernel has let it expire, everything passes.
pub(super) const ARMED: &str = "armed";

impl Table {
    /// Which copy this table belongs to; `None` if its name is not one of ours.
    pub fn role(&self) -> Option<Role> {
        role_of(&self.name)
    }
}

impl Expr {
    /// Goes on if `field` equals `value`.
    pub fn equals(field: Field, value: impl Into<Hex>) -> Self {
        Self::Match { field, mask: None, op: Op::Eq, value: value.into() }
    }
    /// Goes on if the bits of `mask` in `field` compare with `value`.
    pub fn masked(field: Field, mask: impl Into<Hex>, op: Op, value: impl Into<Hex>) -> Self {
        Self::Match { field, mask: Some(mask.into()), op, value: value.into() }
    }
    /// Goes on if `fields` are in the set.
    pub fn within(fields: &[Field], set: &str) -> Self {
        Self::Lookup { fields: fields.to_vec(), set: set.to_owned(), negated: false }
    }
}

impl RuleSet {
    /// No table at all: nothing of ours filters anything.
    pub const fn empty() -> Self {
        Self { tables: Vec::new() }
    }

    /// Whether there is no table.
    pub const fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The same without the plain copy. What is left vanishes when the agent's socket closes.
    #[must_use]
    pub fn without_plain(mut self) -> Self {
        self.tables.retain(|table| table.role() != Some(Role::Plain));
        self
    }

    /// The same without the owner flag, for kernels that do not know it.
    #[must_use]
    pub fn without_owner(mut self) -> Self {
        self.tables.iter_mut().for_each(|table| table.owner = false);
        self
    }

    /// The same under other names, roles kept.
    #[must_use]
    pub fn renamed(mut self, names: &TableNames) -> Self {
        for table in &mut self.tables {
            if let Some(role) = table.role() {
                table.name = names.of(role).to_owned();
            }
        }
        self.sorted()
    }

    /// The same with the kernel's own timer set to `seconds`, or stopped for good by `None` (trap 16). Does
    /// nothing to rules that were not compiled with `reopen_after`.
    #[must_use]
    pub fn with_timer(mut self, seconds: Option<u32>) -> Self {
        let armed = self.tables.iter_mut().flat_map(|t| &mut t.sets).filter(|set| set.name == ARMED);
        for element in armed.flat_map(|set| &mut set.elements) {
            element.timeout_ms = seconds.map(|s| u64::from(s) * 1000);
        }
        self
    }

    /// What is hashed, and compared rule by rule: names replaced by roles, comments and the owner flag (not
    /// every kernel has it; [`super::diff`] looks at it on its own) dropped, everything whose order means
    /// nothing sorted.
    #[must_use]
    pub fn normal(&self) -> Self {
        let mut normal = self.clone();
        for table in &mut normal.tables {
            if let Some(role) = table.role() {
                table.name = role.as_str().to_owned();
            }
            table.owner = false;
            for rule in table.chains.iter_mut().flat_map(|chain| &mut chain.rules) {
                rule.comment.clear();
            }
        }
        normal.sorted()
    }

    /// SHA-256 of the normal form: the same rules have the same digest at every load.
    ///
    /// # Panics
    /// Never: the types hold no map, which is all that could fail to serialise.
    pub fn digest(&self) -> Digest {
        let bytes = serde_json::to_vec(&self.normal());
        Digest::of(&bytes.expect("lists, numbers and texts serialise"))
    }

    pub(super) fn sorted(mut self) -> Self {
        for table in &mut self.tables {
            for set in &mut table.sets {
                set.elements.sort_unstable();
            }
            for hook in table.chains.iter_mut().filter_map(|chain| chain.hook.as_mut()) {
                hook.devices.sort_unstable();
            }
            table.sets.sort_unstable();
            table.chains.sort_unstable();
        }
        self.tables.sort_unstable();
        self
    }
}
