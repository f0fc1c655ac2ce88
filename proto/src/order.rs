//! Orders: what people sign and hosts obey. Version 1 of their form.

use serde::{Deserialize, Serialize};

use crate::id::{Challenge, Digest, HostId, OrderId, UnixMillis};
use crate::key::Fingerprint;
use crate::limits::MAX_TEXT;
use crate::merkle::{self, Proof};
use crate::policy::{BlockList, OnLostManagement, Policy, PolicyError, Profile};
use crate::strict::{self, StrictError, base64_bytes};
use crate::trust::Class;

/// A sequence of orders of which only the newest matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// The containment profile and what stays open.
    Net,
    /// The blocked addresses.
    Block,
    /// Questions; they change nothing.
    Query,
}

impl Stream {
    /// Every stream.
    pub const ALL: [Self; 3] = [Self::Net, Self::Block, Self::Query];
}

/// What is ordered. The class follows from the action and its arguments, see [`Action::class`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Contain: cut, isolate or go dark. Never relaxes what is in force.
    Contain {
        /// The whole desired state.
        policy: Policy,
        /// The order may cut the agent's own way to its controllers (D13).
        allow_self_cut: bool,
    },
    /// Change a containment that stays one, to something that may be more open
    /// (a forensic jump host, another controller, `isolate` back to `cut`).
    Adjust {
        /// The whole desired state.
        policy: Policy,
    },
    /// Reopen the host's links.
    Release {
        /// No clean statement is attached: takes three persons and is printed in every report.
        without_verdict: bool,
    },
    /// Block at least what is blocked already.
    Block {
        /// The whole list.
        blocked: BlockList,
    },
    /// Set the block list to something that may be shorter.
    Unblock {
        /// The whole list.
        blocked: BlockList,
    },
    /// Send a full report now.
    Report {},
}

impl Action {
    /// The stream that the action belongs to.
    pub const fn stream(&self) -> Stream {
        match self {
            Self::Contain { .. } | Self::Adjust { .. } | Self::Release { .. } => Stream::Net,
            Self::Block { .. } | Self::Unblock { .. } => Stream::Block,
            Self::Report {} => Stream::Query,
        }
    }

    /// The class that the action needs, compiled in from the action *and its arguments*: a containment
    /// that reopens by itself is a release (3.6.4).
    pub const fn class(&self) -> Class {
        match self {
            Self::Contain { policy, .. } => match policy.on_lost_management {
                OnLostManagement::Hold => Class::Protect,
                OnLostManagement::ReopenAfter(_) => Class::Release,
            },
            Self::Block { .. } => Class::Protect,
            Self::Adjust { .. } | Self::Release { .. } | Self::Unblock { .. } => Class::Release,
            Self::Report {} => Class::Query,
        }
    }

    /// Checks the arguments.
    ///
    /// # Errors
    /// [`OrderError`] naming the rule that is broken.
    pub fn validate(&self) -> Result<(), OrderError> {
        match self {
            Self::Contain { policy, .. } | Self::Adjust { policy } => {
                policy.validate()?;
                if policy.profile == Profile::Observe {
                    return Err(OrderError::ContainWithObserve);
                }
                Ok(())
            }
            Self::Block { blocked } | Self::Unblock { blocked } => Ok(blocked.validate()?),
            Self::Release { .. } | Self::Report {} => Ok(()),
        }
    }
}

/// Whom an order is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// Every host that trusts this root. Never for a relaxing order.
    All {},
    /// A frozen list, bound by the root of its Merkle tree; each host gets its own leaf and path.
    List {
        /// RFC 6962 tree head over the leaves' bytes.
        root: Digest,
        /// How many leaves.
        count: u64,
    },
}

/// The newest order of another stream that the signer knew of: a host learns that it missed one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The stream.
    pub stream: Stream,
    /// Its epoch.
    pub gen_epoch: u64,
    /// Its generation.
    pub generation: u64,
}

/// An order, version 1 of its form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderV1 {
    /// The deployment that it is for.
    pub deployment_id: Digest,
    /// Its name.
    pub order_id: OrderId,
    /// The trust root that the signer knew.
    pub root_version: u64,
    /// The stream; must be the action's own.
    pub stream: Stream,
    /// Compared before the generation.
    pub gen_epoch: u64,
    /// Strictly greater than every earlier order of the stream.
    pub generation: u64,
    /// When it was made.
    pub issued_at_ms: UnixMillis,
    /// After this it is expired: hard for a relaxing order, flagged for a protective one.
    pub not_after_ms: UnixMillis,
    /// The incident that it belongs to.
    pub incident: String,
    /// What is ordered.
    pub action: Action,
    /// Whom it is for.
    pub target: Target,
    /// Heads of the other streams; sorted by stream, unique.
    pub heads: Vec<Head>,
    /// Why, in the signer's words.
    pub reason: String,
}

/// One host's part of an order with a frozen target list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeafV1 {
    /// The host.
    pub host_id: HostId,
    /// Its key, so that nothing signed for one machine binds another of the same name.
    pub host_key: Fingerprint,
    /// The host's own unspent challenge; required by relaxing orders (3.6.3).
    pub challenge: Option<Challenge>,
    /// The payload digest of the clean statement that a release relies on.
    pub clean: Option<Digest>,
}

/// A leaf as carried: its exact bytes, its place and its path to the signed root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetProof {
    /// The bytes of a [`LeafV1`].
    #[serde(with = "base64_bytes")]
    pub leaf: Vec<u8>,
    /// Its place and path.
    pub proof: Proof,
}

impl TargetProof {
    /// Checks the path against the signed target list and then parses the leaf.
    ///
    /// # Errors
    /// [`OrderError::NotInTargets`] if the path does not lead to the root.
    pub fn open(&self, root: &Digest, count: u64) -> Result<LeafV1, OrderError> {
        if self.leaf.len() > 4096 || !merkle::verify(&self.leaf, &self.proof, count, root) {
            return Err(OrderError::NotInTargets);
        }
        Ok(strict::from_slice(&self.leaf, 4096)?)
    }
}

/// Why an order, though signed, is not well formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The payload is not an order.
    #[error("not an order: {0}")]
    Parse(#[from] StrictError),
    /// A policy that is not acceptable.
    #[error("policy refused: {0}")]
    Policy(#[from] PolicyError),
    /// The stream is not the action's.
    #[error("the stream does not fit the action")]
    WrongStream,
    /// A containment with the profile `observe`, which contains nothing.
    #[error("a containment cannot have the profile observe; use a release")]
    ContainWithObserve,
    /// A relaxing order for `all`.
    #[error("a relaxing order needs a frozen target list with each host's challenge")]
    RelaxingForAll,
    /// A text that is too long or holds control characters.
    #[error("the {0} is too long or holds control characters")]
    BadText(&'static str),
    /// Heads that are not sorted, or name the order's own stream.
    #[error("the heads are not sorted or name the order's own stream")]
    BadHeads,
    /// It expires before it is issued.
    #[error("not_after_ms is earlier than issued_at_ms")]
    ExpiresBeforeIssued,
    /// The leaf and path do not lead to the signed root.
    #[error("the leaf is not part of the signed target list")]
    NotInTargets,
}

impl OrderV1 {
    /// Parses and checks a payload. Called by `verify` only after the signatures met their threshold.
    pub(crate) fn from_payload(payload: &[u8]) -> Result<Self, OrderError> {
        let order: Self = strict::from_slice(payload, crate::limits::MAX_PAYLOAD)?;
        order.validate()?;
        Ok(order)
    }

    /// Checks everything that does not depend on who signed it or who reads it.
    ///
    /// # Errors
    /// [`OrderError`] naming the rule that is broken.
    pub fn validate(&self) -> Result<(), OrderError> {
        if self.stream != self.action.stream() {
            return Err(OrderError::WrongStream);
        }
        if self.action.class() == Class::Release && matches!(self.target, Target::All {}) {
            return Err(OrderError::RelaxingForAll);
        }
        if self.not_after_ms < self.issued_at_ms {
            return Err(OrderError::ExpiresBeforeIssued);
        }
        for (what, text) in [("incident", &self.incident), ("reason", &self.reason)] {
            if text.len() > MAX_TEXT || text.chars().any(|c| c.is_control() && c != '\n') {
                return Err(OrderError::BadText(what));
            }
        }
        let sorted = self.heads.is_sorted_by(|a, b| a.stream < b.stream);
        if !sorted || self.heads.iter().any(|h| h.stream == self.stream) {
            return Err(OrderError::BadHeads);
        }
        self.action.validate()
    }
}
