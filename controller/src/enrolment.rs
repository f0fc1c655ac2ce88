//! Servers that ask to enter the inventory: a bounded waiting room.
//!
//! The controller relays the requests and cannot judge them: the operator's command checks the MAC (D6).
//! Only who proves to hold the key asks for it, and no address may ask without limit.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use digue_proto::envelope::Envelope;
use digue_proto::id::{Digest, HostId, UnixMillis};
use digue_proto::key::{Fingerprint, PublicKey};

/// Most requests that wait.
pub(crate) const MAX_PENDING: usize = 1024;
/// Requests that one address may make at once...
const BURST: f64 = 256.0;
/// ...and then in a second.
const PER_SECOND: f64 = 2.0;
/// Addresses remembered; beyond it those that have been quiet are forgotten.
const MAX_ADDRESSES: usize = 4096;

/// A request that waits.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    /// The signed request.
    pub(crate) envelope: Envelope,
    /// The name asked for.
    pub(crate) host_id: HostId,
    /// The key.
    pub(crate) host_key: PublicKey,
    /// The proof of the join secret, which only the operator's command can check.
    pub(crate) mac: Digest,
    /// When it arrived.
    pub(crate) received_at: UnixMillis,
    /// The address that it came from.
    pub(crate) peer: String,
}

/// Why a request is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotTaken {
    /// The room is full.
    #[error("{MAX_PENDING} enrolment requests wait already")]
    Full,
    /// The address asks too often.
    #[error("too many enrolment requests from one address")]
    TooOften,
}

/// The waiting room.
#[derive(Debug, Default)]
pub(crate) struct Enrolments {
    pending: BTreeMap<Fingerprint, Pending>,
    asked: HashMap<IpAddr, (f64, Instant)>,
}

impl Enrolments {
    /// Whether one more request of this key and address may be taken.
    pub(crate) fn admit(&mut self, key: &Fingerprint, peer: IpAddr, now: Instant) -> Result<(), NotTaken> {
        if self.asked.len() >= MAX_ADDRESSES {
            let quiet = Duration::from_secs_f64(BURST / PER_SECOND);
            self.asked.retain(|_, (_, last)| now.duration_since(*last) < quiet);
        }
        if self.asked.len() >= MAX_ADDRESSES && !self.asked.contains_key(&peer) {
            return Err(NotTaken::TooOften);
        }
        let (tokens, last) = self.asked.entry(peer).or_insert((BURST, now));
        *tokens = (*tokens + now.duration_since(*last).as_secs_f64() * PER_SECOND).min(BURST);
        *last = now;
        if *tokens < 1.0 {
            return Err(NotTaken::TooOften);
        }
        *tokens -= 1.0;
        if self.pending.len() >= MAX_PENDING && !self.pending.contains_key(key) {
            return Err(NotTaken::Full);
        }
        Ok(())
    }

    /// Whether the same request waits already.
    pub(crate) fn knows(&self, key: &Fingerprint, host: &HostId, mac: &Digest) -> bool {
        self.pending.get(key).is_some_and(|known| known.host_id == *host && known.mac == *mac)
    }

    /// Keeps a request; it replaces an earlier one of the same key.
    pub(crate) fn insert(&mut self, pending: Pending) {
        self.pending.insert(pending.host_key.fingerprint(), pending);
    }

    /// Drops a request; says whether there was one.
    pub(crate) fn remove(&mut self, key: &Fingerprint) -> bool {
        self.pending.remove(key).is_some()
    }

    /// The requests that wait, by fingerprint.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Fingerprint, &Pending)> {
        self.pending.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fingerprint(n: u32) -> Fingerprint {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&n.to_be_bytes());
        let key = ssh_key::private::Ed25519Keypair::from_seed(&seed);
        PublicKey::from_data(ssh_key::public::KeyData::Ed25519(key.public)).expect("key").fingerprint()
    }

    #[test]
    fn one_address_cannot_ask_without_limit_and_others_still_can() {
        let (mut room, now, key) = (Enrolments::default(), Instant::now(), fingerprint(1));
        let noisy = IpAddr::from([10, 0, 0, 1]);
        let taken = (0..1000).filter(|_| room.admit(&key, noisy, now).is_ok()).count();
        assert_eq!(taken, 256);
        assert_eq!(room.admit(&key, IpAddr::from([10, 0, 0, 2]), now), Ok(()));
        assert_eq!(room.admit(&key, noisy, now + Duration::from_secs(2)), Ok(()));
    }

    #[test]
    fn d11_the_addresses_that_are_remembered_are_bounded() {
        let (mut room, now, key) = (Enrolments::default(), Instant::now(), fingerprint(1));
        for n in 0..20_000_u32 {
            let _full = room.admit(&key, IpAddr::from(n.to_be_bytes()), now);
        }
        assert!(room.asked.len() <= MAX_ADDRESSES);
        assert_eq!(room.admit(&key, IpAddr::from([99, 9, 9, 9]), now + Duration::from_secs(129)), Ok(()));
    }
}
