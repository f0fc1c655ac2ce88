//! What people state about a host: clean, suspect or compromised. Version 1 of its form.

use serde::{Deserialize, Serialize};

use crate::id::{Digest, HostId, UnixMillis};
use crate::key::Fingerprint;
use crate::limits::MAX_TEXT;

/// What is stated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stated {
    /// Confirmed clean; needs the `clean` class.
    Clean,
    /// Suspect; needs the `suspect` class.
    Suspect,
    /// Compromised; needs the `suspect` class.
    Compromised,
}

/// How strong the view behind a clean statement is (6.8.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Assurance {
    /// The live agent alone.
    L1,
    /// Also a view that the host cannot forge.
    L2,
    /// Rebuilt from trusted media, or restored from before the intrusion.
    L3,
}

/// A statement about one incarnation of one host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatementV1 {
    /// The deployment that it belongs to.
    pub deployment_id: Digest,
    /// The host.
    pub host_id: HostId,
    /// Its key when it was examined.
    pub host_key: Fingerprint,
    /// Its incarnation when it was examined.
    pub incarnation: u64,
    /// Its boot id when it was examined; a clean statement lapses when the host boots again.
    pub boot_id: Option<String>,
    /// What is stated.
    pub verdict: Stated,
    /// The strength of a clean statement; absent in the others.
    pub assurance: Option<Assurance>,
    /// When the last thing examined was observed.
    pub observed_at_ms: UnixMillis,
    /// When it was written.
    pub issued_at_ms: UnixMillis,
    /// After this it has lapsed.
    pub valid_until_ms: UnixMillis,
    /// Digests of the documents that it rests on; sorted, unique.
    pub evidence: Vec<Digest>,
    /// Why, in the signers' words.
    pub reason: String,
}

/// Why a statement is not well formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// The payload is not a statement.
    #[error("not a statement: {0}")]
    Parse(#[from] crate::strict::StrictError),
    /// The verdict does not belong to the payload type.
    #[error("verdict {0:?} cannot be signed under this payload type")]
    WrongClass(Stated),
    /// A clean statement without assurance or boot id, or another one with an assurance.
    #[error("a clean statement names its assurance and the boot id; the others name no assurance")]
    Assurance,
    /// No reason, or one that is too long or holds control characters.
    #[error("the reason is empty, too long or holds control characters")]
    Reason,
    /// The evidence list is not strictly ascending.
    #[error("the evidence is not sorted, or holds a digest twice")]
    Evidence,
    /// Times out of order.
    #[error("observed, issued and valid-until times are not in order")]
    Times,
}

impl StatementV1 {
    /// Checks everything that does not depend on who signed it.
    ///
    /// # Errors
    /// [`StatementError`] naming the rule that is broken.
    pub fn validate(&self) -> Result<(), StatementError> {
        let clean = self.verdict == Stated::Clean;
        if clean != self.assurance.is_some() || (clean && self.boot_id.is_none()) {
            return Err(StatementError::Assurance);
        }
        let reason = self.reason.trim();
        if reason.is_empty() || reason.len() > MAX_TEXT || reason.chars().any(|c| c.is_control() && c != '\n')
        {
            return Err(StatementError::Reason);
        }
        if !self.evidence.is_sorted_by(|a, b| a < b) {
            return Err(StatementError::Evidence);
        }
        if self.observed_at_ms > self.issued_at_ms || self.issued_at_ms >= self.valid_until_ms {
            return Err(StatementError::Times);
        }
        Ok(())
    }
}
