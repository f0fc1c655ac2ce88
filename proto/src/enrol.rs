//! The join secret: how a new server's key reaches the inventory without trusting the controller.
//!
//! The operator's command draws a secret for one host and gives it to that host's agent by another way.
//! The agent sends its key with a MAC under the secret; the controller relays it and, not knowing the
//! secret, cannot put its own key in its place (D6). The operator's command checks the MAC.

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use crate::id::{Digest, HostId};
use crate::key::PublicKey;
use crate::report::EnrolV1;

fn mac(secret: &[u8; 16]) -> Option<Hmac<Sha256>> {
    Hmac::<Sha256>::new_from_slice(secret).ok()
}

fn message(deployment: &Digest, host: &HostId, key: &PublicKey, controller: &Digest) -> Digest {
    Digest::of_parts(&[
        b"digue join v1",
        deployment.as_bytes(),
        host.as_str().as_bytes(),
        key.as_str().as_bytes(),
        controller.as_bytes(),
    ])
}

/// The MAC of an enrolment request.
pub fn make_mac(
    secret: &[u8; 16],
    deployment: &Digest,
    host: &HostId,
    key: &PublicKey,
    controller: &Digest,
) -> Option<Digest> {
    let mut mac = mac(secret)?;
    mac.update(message(deployment, host, key, controller).as_bytes());
    Some(Digest::from_bytes(mac.finalize().into_bytes().into()))
}

/// Whether a request was made by someone who knows the secret; compares in constant time.
pub fn check_mac(secret: &[u8; 16], request: &EnrolV1) -> bool {
    let Some(mut mac) = mac(secret) else { return false };
    let message =
        message(&request.deployment_id, &request.host_id, &request.host_key, &request.controller_spki_sha256);
    mac.update(message.as_bytes());
    mac.verify_slice(request.mac.as_bytes()).is_ok()
}
