//! The envelope: a type, the exact bytes that were signed, and signatures anyone can check with
//! `ssh-keygen -Y verify`.
//!
//! The SSHSIG namespace of each signature must be the payload type, so a signature made for one class
//! counts for no other, and the class is known before the payload is parsed.

use std::fmt;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::id::Digest;
use crate::limits::{
    MAX_ENVELOPE, MAX_INVENTORY, MAX_PAYLOAD, MAX_REPORT, MAX_SIGNATURE_ARMOUR, MAX_SIGNATURES,
};
use crate::strict::{self, StrictError, base64_bytes};

/// What a payload is, and at the same time the namespace of its signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PayloadType {
    /// The trust root.
    #[serde(rename = "digue-root.v1")]
    Root,
    /// The signed inventory.
    #[serde(rename = "digue-inventory.v1")]
    Inventory,
    /// An order that changes nothing on a host.
    #[serde(rename = "digue-query.v1")]
    Query,
    /// An order that closes.
    #[serde(rename = "digue-protect.v1")]
    Protect,
    /// An order that opens.
    #[serde(rename = "digue-release.v1")]
    Release,
    /// A statement that a host is clean.
    #[serde(rename = "digue-clean.v1")]
    Clean,
    /// A statement that a host is suspect or compromised.
    #[serde(rename = "digue-suspect.v1")]
    Suspect,
    /// A host's answer to an order.
    #[serde(rename = "digue-receipt.v1")]
    Receipt,
    /// A host's state.
    #[serde(rename = "digue-report.v1")]
    Report,
    /// A host's sign of life.
    #[serde(rename = "digue-heartbeat.v1")]
    Heartbeat,
    /// A server's request to enter the inventory.
    #[serde(rename = "digue-enrol.v1")]
    Enrol,
}

impl PayloadType {
    /// Every type, for listings and exhaustive tests.
    pub const ALL: [Self; 11] = [
        Self::Root,
        Self::Inventory,
        Self::Query,
        Self::Protect,
        Self::Release,
        Self::Clean,
        Self::Suspect,
        Self::Receipt,
        Self::Report,
        Self::Heartbeat,
        Self::Enrol,
    ];

    /// The SSHSIG namespace.
    pub const fn namespace(self) -> &'static str {
        match self {
            Self::Root => "digue-root.v1",
            Self::Inventory => "digue-inventory.v1",
            Self::Query => "digue-query.v1",
            Self::Protect => "digue-protect.v1",
            Self::Release => "digue-release.v1",
            Self::Clean => "digue-clean.v1",
            Self::Suspect => "digue-suspect.v1",
            Self::Receipt => "digue-receipt.v1",
            Self::Report => "digue-report.v1",
            Self::Heartbeat => "digue-heartbeat.v1",
            Self::Enrol => "digue-enrol.v1",
        }
    }
}

impl PayloadType {
    /// Largest payload of this type, in bytes.
    pub const fn max_payload(self) -> usize {
        match self {
            Self::Inventory => MAX_INVENTORY,
            Self::Report => MAX_REPORT,
            Self::Root
            | Self::Query
            | Self::Protect
            | Self::Release
            | Self::Clean
            | Self::Suspect
            | Self::Receipt
            | Self::Heartbeat
            | Self::Enrol => MAX_PAYLOAD,
        }
    }
}

impl fmt::Display for PayloadType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.namespace())
    }
}

/// A signed document as it is stored and carried. Nothing in it is trusted until `verify` has run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The type of the payload.
    pub payload_type: PayloadType,
    /// The exact bytes that were signed.
    #[serde(with = "base64_bytes")]
    pub payload: Vec<u8>,
    /// Armoured SSHSIG signatures.
    #[serde(deserialize_with = "few_signatures")]
    pub signatures: Vec<String>,
}

/// Stops at the first signature too many: a list of a million would otherwise be in memory before
/// anything counts it (A2).
fn few_signatures<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<String>, D::Error> {
    struct Few;
    impl<'de> Visitor<'de> for Few {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {MAX_SIGNATURES} signatures")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut signatures = Vec::new();
            while let Some(signature) = list.next_element::<String>()? {
                if signatures.len() == MAX_SIGNATURES {
                    return Err(A::Error::custom(format_args!("more than {MAX_SIGNATURES} signatures")));
                }
                signatures.push(signature);
            }
            Ok(signatures)
        }
    }
    d.deserialize_seq(Few)
}

impl Envelope {
    /// Reads an envelope from JSON within the bounds of [`crate::limits`].
    ///
    /// # Errors
    /// [`StrictError`] if a bound is broken or the text is not exactly an envelope.
    pub fn from_json(bytes: &[u8]) -> Result<Self, StrictError> {
        let envelope: Self = strict::from_slice(bytes, MAX_ENVELOPE)?;
        envelope.check_bounds()?;
        Ok(envelope)
    }

    /// Checks the bounds of an envelope that arrived inside another document.
    ///
    /// # Errors
    /// [`StrictError`] naming the bound that is broken.
    pub fn check_bounds(&self) -> Result<(), StrictError> {
        let limit = self.payload_type.max_payload();
        if self.payload.len() > limit {
            return Err(StrictError::TooLarge { size: self.payload.len(), limit });
        }
        if self.signatures.len() > MAX_SIGNATURES {
            return Err(StrictError::Json(format!(
                "{} signatures, the limit is {MAX_SIGNATURES}",
                self.signatures.len()
            )));
        }
        match self.signatures.iter().map(String::len).find(|len| *len > MAX_SIGNATURE_ARMOUR) {
            Some(size) => Err(StrictError::TooLarge { size, limit: MAX_SIGNATURE_ARMOUR }),
            None => Ok(()),
        }
    }

    /// The envelope as JSON.
    ///
    /// # Errors
    /// Never in practice, see [`strict::to_vec`].
    pub fn to_json(&self) -> Result<Vec<u8>, StrictError> {
        strict::to_vec(self)
    }

    /// The identity of the document: the SHA-256 of its payload, never of its signatures,
    /// since a signature may be malleable (B8).
    pub fn digest(&self) -> Digest {
        Digest::of(&self.payload)
    }
}
