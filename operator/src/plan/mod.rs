//! Plans: what an order would do, computed and frozen before anyone signs.
//!
//! [`build`] is pure: the fleet, the reports, the time and the order's random name are arguments, so the
//! same input gives the same bytes. [`mod@file`] keeps the result; [`show`] says it in words, from the bytes.

pub(crate) mod build;
pub(crate) mod collect;
pub(crate) mod file;
pub(crate) mod keep;
pub(crate) mod show;
#[cfg(test)]
mod tests;

use digue_proto::policy::Policy;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::selector::Selection;

/// What a plan was asked to do. Kept in the plan, so that it can be computed again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Request {
    /// For which hosts.
    pub(crate) selection: Selection,
    /// What.
    pub(crate) what: What,
    /// The incident.
    pub(crate) incident: String,
    /// Why.
    pub(crate) reason: String,
    /// How long the order may be delivered, in milliseconds.
    pub(crate) ttl_ms: u64,
}

/// The kinds of plans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum What {
    /// Cut, isolate or go dark.
    Contain {
        /// The whole desired state.
        policy: Policy,
        /// The order may cut the agent's own way to its controllers.
        allow_self_cut: bool,
    },
    /// Change a containment that stays one.
    Adjust {
        /// The whole desired state.
        policy: Policy,
    },
    /// Reopen.
    Release {
        /// Without a clean statement.
        without_verdict: bool,
    },
    /// Block networks in addition to those that are blocked.
    Block {
        /// The networks to add.
        networks: Vec<IpNet>,
    },
    /// Let networks through again.
    Unblock {
        /// The networks to take out.
        networks: Vec<IpNet>,
    },
    /// Ask for a full report.
    Report {},
}
