//! Seeded keys: the same name is always the same key.

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::id::Digest;
use digue_proto::key::PublicKey;
use digue_proto::sign;
use digue_proto::trust::{Person, PersonKey};
use ssh_key::PrivateKey;
use ssh_key::private::Ed25519Keypair;

/// The seed that belongs to a name.
pub(crate) fn seed(name: &str) -> [u8; 32] {
    *Digest::of_parts(&[b"a test key, worthless", name.as_bytes()]).as_bytes()
}

/// The private key that belongs to a name.
pub(crate) fn key(name: &str) -> PrivateKey {
    PrivateKey::from(Ed25519Keypair::from_seed(&seed(name)))
}

/// The public half of a private key.
pub(crate) fn public(key: &PrivateKey) -> PublicKey {
    PublicKey::from_data(key.public_key().key_data().clone()).expect("a good key")
}

/// The entry of a key in a trust root, for a key held in a file.
pub(crate) fn plain(key: PublicKey) -> PersonKey {
    PersonKey { key, require_touch: false, require_pin: false }
}

/// A person who holds the keys of these names.
pub(crate) fn person(id: &str, keys: &[&str]) -> Person {
    let keys = keys.iter().map(|name| plain(public(&key(name)))).collect();
    Person { id: id.parse().expect("a person's name"), keys }
}

/// An envelope signed by the keys of these names.
pub(crate) fn seal_by(kind: PayloadType, payload: Vec<u8>, names: &[&str]) -> Envelope {
    let sign = |name: &&str| sign::sign(&key(name), kind, &payload).expect("a signature");
    let signatures = names.iter().map(sign).collect();
    Envelope { payload_type: kind, payload, signatures }
}
