//! Making SSHSIG signatures with an Ed25519 key held in memory: hosts sign with it, and so do tests.
//!
//! People sign with `ssh-keygen -Y sign`, which also reaches agents and security keys.

use ssh_key::{HashAlg, PrivateKey, SshSig};

use crate::envelope::{Envelope, PayloadType};

/// Signs `payload` under the namespace of its type. Ed25519 is deterministic: no entropy is drawn.
///
/// # Errors
/// If the key cannot sign (a security key, for instance).
pub fn sign(key: &PrivateKey, payload_type: PayloadType, payload: &[u8]) -> Result<String, ssh_key::Error> {
    let signature = SshSig::sign(key, payload_type.namespace(), HashAlg::Sha512, payload)?;
    signature.to_pem(ssh_key::LineEnding::LF)
}

/// Wraps `payload` in an envelope with one signature.
///
/// # Errors
/// See [`sign`].
pub fn seal(
    key: &PrivateKey,
    payload_type: PayloadType,
    payload: Vec<u8>,
) -> Result<Envelope, ssh_key::Error> {
    let signatures = vec![sign(key, payload_type, &payload)?];
    Ok(Envelope { payload_type, payload, signatures })
}
