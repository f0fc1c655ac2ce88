//! Public keys as they stand in signed documents: OpenSSH's one-line form, without a comment.
//!
//! Accepted: `ssh-ed25519`, `sk-ssh-ed25519@openssh.com`, and `ecdsa-sha2-nistp256` for host keys held
//! by a TPM. Absent on purpose: RSA, DSA, other curves, certificates, sk-ecdsa (3.3 of the trust design).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ssh_key::public::KeyData;
use ssh_key::{EcdsaCurve, HashAlg};

/// DER prefix of an Ed25519 SubjectPublicKeyInfo (RFC 8410, section 4); the 32 key bytes follow.
const ED25519_SPKI_PREFIX: [u8; 12] =
    [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a public key is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not OpenSSH's public key format.
    #[error("not an OpenSSH public key line (expected: ssh-ed25519 AAAA…): {0}")]
    Format(String),
    /// A format that parses but has another canonical spelling.
    #[error("the key is not in canonical form; write it without comment as {0:?}")]
    NotCanonical(String),
    /// An algorithm that Digue never accepts.
    #[error("key algorithm {0} is not accepted; use ssh-ed25519 or sk-ssh-ed25519@openssh.com")]
    Algorithm(String),
    /// A low-order point: one signature would verify for every message.
    #[error("the key is a low-order point: it would accept forged signatures")]
    Weak,
}

/// A checked public key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey {
    text: String,
    data: KeyData,
}

impl PublicKey {
    /// Reads an OpenSSH public key line and drops its comment, as for a `.pub` file.
    ///
    /// # Errors
    /// [`KeyError`] if the line, the algorithm or the key is not acceptable.
    pub fn from_openssh_line(line: &str) -> Result<Self, KeyError> {
        let key =
            ssh_key::PublicKey::from_openssh(line.trim()).map_err(|e| KeyError::Format(e.to_string()))?;
        Self::from_data(key.key_data().clone())
    }

    /// Checks a key that another format carried.
    ///
    /// # Errors
    /// [`KeyError`] if the algorithm or the key is not acceptable.
    pub fn from_data(data: KeyData) -> Result<Self, KeyError> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "everything not listed is refused, new ones too")]
        match &data {
            KeyData::Ed25519(key) => not_weak(&key.0)?,
            KeyData::SkEd25519(key) => not_weak(&key.public_key().0)?,
            KeyData::Ecdsa(key) if key.curve() == EcdsaCurve::NistP256 => {}
            other => return Err(KeyError::Algorithm(other.algorithm().to_string())),
        }
        let text = ssh_key::PublicKey::new(data.clone(), "")
            .to_openssh()
            .map_err(|e| KeyError::Format(e.to_string()))?;
        Ok(Self { text: text.trim_end().to_owned(), data })
    }

    /// The key of an Ed25519 SubjectPublicKeyInfo, as TLS raw public keys carry it (RFC 7250).
    ///
    /// # Errors
    /// [`KeyError::Format`] if `spki` is anything else.
    pub fn from_ed25519_spki(spki: &[u8]) -> Result<Self, KeyError> {
        let bytes = spki
            .strip_prefix(&ED25519_SPKI_PREFIX)
            .and_then(|rest| <[u8; 32]>::try_from(rest).ok())
            .ok_or_else(|| KeyError::Format("not an Ed25519 SubjectPublicKeyInfo".to_owned()))?;
        Self::from_data(KeyData::Ed25519(ssh_key::public::Ed25519PublicKey(bytes)))
    }

    /// The SubjectPublicKeyInfo of an Ed25519 key; `None` for the other algorithms.
    pub fn ed25519_spki(&self) -> Option<Vec<u8>> {
        let key = self.data.ed25519()?;
        Some(ED25519_SPKI_PREFIX.iter().chain(&key.0).copied().collect())
    }

    /// Whether the key lives in a FIDO authenticator.
    pub const fn is_security_key(&self) -> bool {
        matches!(self.data, KeyData::SkEd25519(_))
    }

    /// Whether this is a plain Ed25519 key (usable as a host key on TLS).
    pub const fn is_ed25519(&self) -> bool {
        matches!(self.data, KeyData::Ed25519(_))
    }

    /// Whether a person may sign with this key: P-256 is for the TPMs of hosts, and its signatures can be
    /// altered without the key (B8).
    pub const fn is_for_people(&self) -> bool {
        self.is_ed25519() || self.is_security_key()
    }

    /// The key without its wrapping: the same for a plain key and for a security key over it, whatever
    /// application that names. Two entries with the same material are one key.
    pub(crate) fn material(&self) -> Vec<u8> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "everything else was refused when it was read")]
        match &self.data {
            KeyData::Ed25519(key) => key.0.to_vec(),
            KeyData::SkEd25519(key) => key.public_key().0.to_vec(),
            KeyData::Ecdsa(key) => key.as_sec1_bytes().to_vec(),
            _ => self.text.as_bytes().to_vec(),
        }
    }

    /// OpenSSH's fingerprint, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(self.data.fingerprint(HashAlg::Sha256).to_string())
    }

    /// The parsed key.
    pub const fn data(&self) -> &KeyData {
        &self.data
    }

    /// The key as one line without a comment.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn not_weak(bytes: &[u8; 32]) -> Result<(), KeyError> {
    let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|e| KeyError::Format(e.to_string()))?;
    if key.is_weak() { Err(KeyError::Weak) } else { Ok(()) }
}

impl FromStr for PublicKey {
    type Err = KeyError;
    /// Reads the canonical form only: one spelling a key, so that comparing texts compares keys.
    fn from_str(s: &str) -> Result<Self, KeyError> {
        let key = Self::from_openssh_line(s)?;
        if key.text == s { Ok(key) } else { Err(KeyError::NotCanonical(key.text)) }
    }
}
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}
impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// OpenSSH's SHA-256 fingerprint of a key: `SHA256:` and 43 characters of base64.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl FromStr for Fingerprint {
    type Err = KeyError;
    fn from_str(s: &str) -> Result<Self, KeyError> {
        let parsed: ssh_key::Fingerprint =
            s.parse().map_err(|e: ssh_key::Error| KeyError::Format(e.to_string()))?;
        if matches!(parsed, ssh_key::Fingerprint::Sha256(_)) && parsed.to_string() == s {
            Ok(Self(s.to_owned()))
        } else {
            Err(KeyError::Format("a fingerprint is SHA256: and 43 characters".to_owned()))
        }
    }
}
impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
