//! Signing what the host says: receipts, reports, heartbeats and the request to enter the inventory.

use digue_proto::enrol;
use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::host::Document;
use digue_proto::id::{Digest, HostId, UnixMillis};
use digue_proto::report::EnrolV1;
use digue_proto::{sign, strict};

use crate::keyfile::HostKey;

/// Why something cannot be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key refused.
    #[error("signing a {0}")]
    Key(PayloadType, #[source] ssh_key::Error),
    /// The document cannot be serialised.
    #[error("serialising a {0}")]
    Serialise(PayloadType, #[source] strict::StrictError),
    /// The MAC of an enrolment request cannot be made.
    #[error("making the MAC of the enrolment request")]
    Mac,
}

/// Signs a document of the host core.
///
/// # Errors
/// [`SignError`].
pub fn document(key: &HostKey, document: &Document) -> Result<Envelope, SignError> {
    let kind = document.payload_type;
    sign::seal(key.private(), kind, document.payload.clone()).map_err(|e| SignError::Key(kind, e))
}

/// A request to enter the inventory under a join secret; the controller that relays it cannot make it.
///
/// # Errors
/// [`SignError`].
pub fn enrolment(
    key: &HostKey,
    host_id: &HostId,
    secret: &[u8; 16],
    deployment_id: Digest,
    controller_spki_sha256: Digest,
    at_ms: UnixMillis,
) -> Result<Envelope, SignError> {
    let mac = enrol::make_mac(secret, &deployment_id, host_id, key.public(), &controller_spki_sha256)
        .ok_or(SignError::Mac)?;
    let request = EnrolV1 {
        deployment_id,
        host_id: host_id.clone(),
        host_key: key.public().clone(),
        controller_spki_sha256,
        mac,
        at_ms,
    };
    let kind = PayloadType::Enrol;
    let payload = strict::to_vec(&request).map_err(|e| SignError::Serialise(kind, e))?;
    sign::seal(key.private(), kind, payload).map_err(|e| SignError::Key(kind, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use digue_proto::verify;

    #[test]
    fn an_enrolment_request_verifies_by_its_own_key_and_by_the_secret_and_by_no_other() {
        let dir = tempfile::tempdir().expect("directory");
        let (key, _) = HostKey::load_or_make(dir.path()).expect("key");
        let host: HostId = "srv-001".parse().expect("name");
        let (deployment, controller) = (Digest::of(b"root"), Digest::of(b"spki"));
        let envelope =
            enrolment(&key, &host, &[7; 16], deployment, controller, UnixMillis(1)).expect("signed");
        let request = verify::verify_host::<EnrolV1>(&envelope, key.public(), deployment).expect("verified");
        assert!(enrol::check_mac(&[7; 16], request.value()));
        assert!(!enrol::check_mac(&[8; 16], request.value()));
    }
}
