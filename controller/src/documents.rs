//! What hosts sign, verified and folded in: the one path for what arrives now and what was stored before.

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::fleet::{Changed, Fleet, Ignored};
use digue_proto::id::{Digest, HostId, UnixMillis};
use digue_proto::key::PublicKey;
use digue_proto::report::{ReceiptV1, ReportV1};
use digue_proto::verify::{Verified, VerifyError, verify_host};

/// A receipt or report that verified under a host's key.
#[derive(Debug, Clone)]
pub(crate) enum HostDocument {
    /// An answer to an order.
    Receipt(Box<Verified<ReceiptV1>>),
    /// A state.
    Report(Box<Verified<ReportV1>>),
}

impl HostDocument {
    /// Verifies a document under the key of whoever sent it.
    ///
    /// # Errors
    /// [`VerifyError`] if it is neither, or not signed by this key.
    pub(crate) fn verify(
        envelope: &Envelope,
        key: &PublicKey,
        deployment: Digest,
    ) -> Result<Self, VerifyError> {
        match envelope.payload_type {
            PayloadType::Receipt => {
                verify_host(envelope, key, deployment).map(|receipt| Self::Receipt(Box::new(receipt)))
            }
            PayloadType::Report => {
                verify_host(envelope, key, deployment).map(|report| Self::Report(Box::new(report)))
            }
            found @ (PayloadType::Root
            | PayloadType::Inventory
            | PayloadType::Query
            | PayloadType::Protect
            | PayloadType::Release
            | PayloadType::Clean
            | PayloadType::Suspect
            | PayloadType::Heartbeat
            | PayloadType::Enrol) => Err(VerifyError::WrongType { found, expected: "a receipt or a report" }),
        }
    }

    /// The host that it speaks for.
    pub(crate) fn host(&self) -> &HostId {
        match self {
            Self::Receipt(receipt) => &receipt.value().host_id,
            Self::Report(report) => &report.value().host_id,
        }
    }

    /// The order that it answers.
    pub(crate) fn answers(&self) -> Option<Digest> {
        match self {
            Self::Receipt(receipt) => Some(receipt.value().order),
            Self::Report(_) => None,
        }
    }

    /// The digest of its payload.
    pub(crate) fn digest(&self) -> Digest {
        match self {
            Self::Receipt(receipt) => receipt.digest(),
            Self::Report(report) => report.digest(),
        }
    }

    /// Folds it into the fleet.
    ///
    /// # Errors
    /// [`Ignored`] if it changes nothing there.
    pub(crate) fn fold(&self, fleet: &mut Fleet, by: &PublicKey, at: UnixMillis) -> Result<Changed, Ignored> {
        match self {
            Self::Receipt(receipt) => fleet.apply_receipt(receipt, by, at),
            Self::Report(report) => fleet.apply_report(report, by, at),
        }
    }
}
