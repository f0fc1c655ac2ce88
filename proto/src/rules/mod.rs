//! From containment policy to packet filter rules, and back to what was found in the kernel.
//!
//! [`compile`] turns a policy and what the host looks like into a typed [`RuleSet`]; a driver loads it and
//! reads back what the kernel holds as the same type; [`diff`] says where the two part. Nothing here
//! touches a kernel, and nothing here is text that a shell or `nft` would parse: [`RuleSet::render`] is for
//! people. Deliberately absent: any expression that our own rules do not use. Such an expression, found in
//! the kernel, is kept as [`Expr::Foreign`] and never compares equal to one of ours.

mod accept;
mod bytes;
mod compile;
mod diff;
mod drift;
mod facts;
mod field;
mod flow;
mod names;
mod observed;
mod ranges;
mod render;
mod ruleset;
#[cfg(test)]
mod tests;
mod view;

pub use bytes::Hex;
pub use compile::{CANARY_ETHERTYPE, compile, minimal};
pub use diff::{coverage, diff};
pub use drift::Drift;
pub use facts::{Card, HostFacts, LinkLayer, Support};
pub use field::{Base, Field};
pub use flow::{Flow, allows};
pub use names::{Role, TableNames};
pub use observed::{CounterReading, ForeignEgress, ForeignTable, ObservedNet, ObservedTable, Owner, Timer};
pub use ruleset::{
    Chain, ChainKind, Element, Expr, Family, Hook, HookPoint, Op, RejectWith, Rule, RuleSet, Set, Table,
    Verdict,
};
