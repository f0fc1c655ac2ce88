//! An order with everything its hosts need, as the operator hands it to a relay or a stick.
//!
//! The relay cuts it into one delivery a host and evaluates nothing: what binds is the signed root over
//! the leaves, which each host checks for itself.

use serde::{Deserialize, Serialize};

use crate::envelope::Envelope;
use crate::frame::Delivery;
use crate::id::HostId;
use crate::limits::MAX_HOSTS;
use crate::merkle;
use crate::order::{LeafV1, OrderError, OrderV1, Target, TargetProof};
use crate::strict::{self, StrictError};

/// One leaf's exact bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LeafBytes(#[serde(with = "crate::strict::base64_bytes")] pub Vec<u8>);

impl AsRef<[u8]> for LeafBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// An order, its frozen targets and the clean statements that they rely on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OrderBundle {
    /// The order, with however many signatures it has so far.
    pub order: Envelope,
    /// The leaves in the order of the tree; empty for an order to all.
    pub leaves: Vec<LeafBytes>,
    /// Clean statements, found by their payload digest.
    pub statements: Vec<Envelope>,
}

/// Why a bundle does not fit its order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// A leaf is not readable.
    #[error("leaf {0} is not readable: {1}")]
    Leaf(usize, StrictError),
    /// The leaves do not hash to the signed root.
    #[error("the leaves are not the target list that was signed")]
    WrongRoot,
    /// The same host twice.
    #[error("host {0} stands twice in the target list")]
    Duplicate(HostId),
    /// Too many leaves or statements.
    #[error("more than {MAX_HOSTS} leaves or statements")]
    TooMany,
    /// The statement that a leaf names is not in the bundle.
    #[error("the clean statement for {0} is missing from the bundle")]
    NoStatement(HostId),
    /// An envelope breaks a bound.
    #[error("envelope refused: {0}")]
    Bounds(StrictError),
    /// The order is not well formed.
    #[error(transparent)]
    Order(#[from] OrderError),
}

impl OrderBundle {
    /// The order as it reads, without any check of its signatures: for showing, never for acting.
    ///
    /// # Errors
    /// [`BundleError`] if the payload is not a well-formed order.
    pub fn read_unverified(&self) -> Result<OrderV1, BundleError> {
        self.order.check_bounds().map_err(BundleError::Bounds)?;
        Ok(OrderV1::from_payload(&self.order.payload)?)
    }

    /// The parsed leaves.
    ///
    /// # Errors
    /// [`BundleError`] if one is not readable, or a host stands twice, or they are not what was signed.
    pub fn targets(&self, order: &OrderV1) -> Result<Vec<LeafV1>, BundleError> {
        if self.leaves.len() > MAX_HOSTS || self.statements.len() > MAX_HOSTS {
            return Err(BundleError::TooMany);
        }
        let leaves = self.leaves.iter().enumerate();
        let leaves: Vec<LeafV1> = leaves
            .map(|(i, leaf)| strict::from_slice(&leaf.0, 4096).map_err(|e| BundleError::Leaf(i, e)))
            .collect::<Result<_, _>>()?;
        let signed = match order.target {
            Target::All {} => leaves.is_empty(),
            Target::List { root, count } => {
                count == leaves.len() as u64 && !leaves.is_empty() && merkle::root(&self.leaves) == root
            }
        };
        if !signed {
            return Err(BundleError::WrongRoot);
        }
        let mut seen = std::collections::BTreeSet::new();
        match leaves.iter().find(|leaf| !seen.insert(&leaf.host_id)) {
            Some(twice) => Err(BundleError::Duplicate(twice.host_id.clone())),
            None => Ok(leaves),
        }
    }

    /// One delivery for each host of the frozen list; for an order to all, use [`Self::delivery_to_all`].
    ///
    /// # Errors
    /// [`BundleError`] if the leaves do not fit the order, or a statement is missing.
    pub fn deliveries(&self, order: &OrderV1) -> Result<Vec<(HostId, Delivery)>, BundleError> {
        let statements: std::collections::BTreeMap<_, _> =
            self.statements.iter().map(|s| (s.digest(), s)).collect();
        let targets = self.targets(order)?;
        let proofs = merkle::proofs(&self.leaves);
        let parts = targets.into_iter().zip(&self.leaves).zip(proofs);
        parts
            .map(|((leaf, bytes), proof)| {
                let statement = match leaf.clean {
                    None => None,
                    Some(digest) => match statements.get(&digest) {
                        Some(found) => Some((*found).clone()),
                        None => return Err(BundleError::NoStatement(leaf.host_id)),
                    },
                };
                let target = Some(TargetProof { leaf: bytes.0.clone(), proof });
                Ok((leaf.host_id, Delivery { order: self.order.clone(), target, statement }))
            })
            .collect()
    }

    /// The delivery of an order to all hosts.
    pub fn delivery_to_all(&self) -> Delivery {
        Delivery { order: self.order.clone(), target: None, statement: None }
    }
}
