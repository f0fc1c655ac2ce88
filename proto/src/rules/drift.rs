//! One difference between the rules meant and the rules found, in words that name the place.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::names::Role;
use super::ruleset::Family;

/// A difference. Any of them means that the containment is not the one ordered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Drift {
    /// A table is gone.
    MissingTable {
        /// Its family.
        family: Family,
        /// Its copy.
        role: Role,
    },
    /// A table under one of our names that was not meant.
    ExtraTable {
        /// Its family.
        family: Family,
        /// Its name.
        name: String,
    },
    /// A property of a table, chain or set is another.
    Changed {
        /// The table, chain or set.
        place: String,
        /// The property.
        property: String,
        /// What was meant.
        meant: String,
        /// What was found.
        found: String,
    },
    /// A chain or set is gone.
    Missing {
        /// The chain or set.
        place: String,
    },
    /// A chain or set that was not meant.
    Extra {
        /// The chain or set.
        place: String,
    },
    /// A rule that was not meant.
    ForeignRule {
        /// The chain.
        place: String,
        /// Its place in the chain, from 1.
        position: u32,
        /// The rule.
        rule: String,
    },
    /// A rule is gone.
    MissingRule {
        /// The chain.
        place: String,
        /// Its place in the chain meant, from 1.
        position: u32,
        /// The rule.
        rule: String,
    },
    /// The rules are those meant, in another order.
    RulesReordered {
        /// The chain.
        place: String,
    },
    /// An element of a set is gone.
    MissingElement {
        /// The set.
        place: String,
        /// The element.
        element: String,
    },
    /// An element of a set that was not meant.
    ExtraElement {
        /// The set.
        place: String,
        /// The element.
        element: String,
    },
    /// The kernel's timer has run out: the host has reopened.
    Lifted {
        /// The set.
        place: String,
    },
    /// A chain of others sees frames after ours did, and may send them elsewhere.
    LaterChain {
        /// The chain.
        place: String,
    },
    /// A card of the host that no chain covers.
    UncoveredCard {
        /// The card.
        card: String,
        /// The hook.
        hook: String,
    },
    /// A chain is bound to a card that does not exist.
    MissingCard {
        /// The card.
        card: String,
        /// The chain.
        place: String,
    },
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingTable { family, role } => {
                write!(f, "the {} {} table is missing", role.as_str(), family.as_str())
            }
            Self::ExtraTable { family, name } => write!(f, "table {} {name} was not meant", family.as_str()),
            Self::Changed { place, property, meant, found } => {
                write!(f, "{place}: {property} should be {meant} and is {found}")
            }
            Self::Missing { place } => write!(f, "{place} is missing"),
            Self::Extra { place } => write!(f, "{place} was not meant"),
            Self::ForeignRule { place, position, rule } => {
                write!(f, "{place}: foreign rule at position {position}: {rule}")
            }
            Self::MissingRule { place, position, rule } => {
                write!(f, "{place}: rule {position} is missing: {rule}")
            }
            Self::RulesReordered { place } => write!(f, "{place}: the rules are in another order"),
            Self::MissingElement { place, element } => write!(f, "{place}: {element} is missing"),
            Self::ExtraElement { place, element } => write!(f, "{place}: {element} was not meant"),
            Self::Lifted { place } => write!(f, "{place}: the kernel's timer has run out, the host is open"),
            Self::LaterChain { place } => {
                write!(f, "{place} can still change frames that the rules have let pass")
            }
            Self::UncoveredCard { card, hook } => write!(f, "no {hook} chain covers the card {card}"),
            Self::MissingCard { card, place } => {
                write!(f, "{place} is bound to {card}, which does not exist")
            }
        }
    }
}
