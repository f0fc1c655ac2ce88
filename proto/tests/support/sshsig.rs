//! SSHSIG blobs made by hand, so that a test can put anything into any field (PROTOCOL.sshsig), and
//! security keys in software (PROTOCOL.u2f).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use digue_proto::key::PublicKey;
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256, Sha512};
use ssh_key::public::{Ed25519PublicKey, KeyData, SkEd25519};

use super::people::seed;

/// A length-prefixed string of the SSH wire format.
pub(crate) fn text(bytes: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(bytes.len()).expect("a short string").to_be_bytes().to_vec();
    out.extend(bytes);
    out
}

/// The fields of an SSHSIG, before encoding.
#[derive(Debug, Clone)]
pub(crate) struct Blob {
    pub(crate) magic: Vec<u8>,
    pub(crate) version: u32,
    pub(crate) public_key: Vec<u8>,
    pub(crate) namespace: Vec<u8>,
    pub(crate) reserved: Vec<u8>,
    pub(crate) hash: &'static str,
    pub(crate) signature: Vec<u8>,
}

impl Blob {
    /// A good signature of `payload` by the Ed25519 key of this name.
    pub(crate) fn good(name: &str, namespace: &str, payload: &[u8]) -> Self {
        let mut blob = Self {
            magic: b"SSHSIG".to_vec(),
            version: 1,
            public_key: ed25519_key(&signing(name)),
            namespace: namespace.as_bytes().to_vec(),
            reserved: Vec::new(),
            hash: "sha512",
            signature: Vec::new(),
        };
        blob.sign_again(name, payload);
        blob
    }

    /// Signs the fields as they now are, so that only the field under test is at fault.
    pub(crate) fn sign_again(&mut self, name: &str, payload: &[u8]) {
        let signature = signing(name).sign(&self.signed_data(payload));
        self.signature = [text(b"ssh-ed25519"), text(&signature.to_bytes())].concat();
    }

    /// What the key signs.
    pub(crate) fn signed_data(&self, payload: &[u8]) -> Vec<u8> {
        let hash = match self.hash {
            "sha256" => Sha256::digest(payload).to_vec(),
            "sha512" => Sha512::digest(payload).to_vec(),
            // No library here makes SHA-1; twenty bytes of another hash show that the name is refused.
            _ => Sha256::digest(payload).get(..20).expect("20 bytes").to_vec(),
        };
        let parts = [text(&self.namespace), text(&self.reserved), text(self.hash.as_bytes()), text(&hash)];
        [b"SSHSIG".to_vec(), parts.concat()].concat()
    }

    /// The blob in its armour.
    pub(crate) fn armour(&self) -> String {
        let bytes = [
            self.magic.clone(),
            self.version.to_be_bytes().to_vec(),
            text(&self.public_key),
            text(&self.namespace),
            text(&self.reserved),
            text(self.hash.as_bytes()),
            text(&self.signature),
        ]
        .concat();
        armour(&bytes)
    }
}

/// Base64 in lines of 70, between the two marks.
pub(crate) fn armour(bytes: &[u8]) -> String {
    let encoded = STANDARD.encode(bytes);
    let lines: Vec<&str> =
        encoded.as_bytes().chunks(70).map(|l| std::str::from_utf8(l).expect("ASCII")).collect();
    format!("-----BEGIN SSH SIGNATURE-----\n{}\n-----END SSH SIGNATURE-----\n", lines.join("\n"))
}

/// The Ed25519 key of a name, without its SSH wrapping.
pub(crate) fn signing(name: &str) -> SigningKey {
    SigningKey::from_bytes(&seed(name))
}

/// The public key in SSH wire format.
pub(crate) fn ed25519_key(key: &SigningKey) -> Vec<u8> {
    [text(b"ssh-ed25519"), text(key.verifying_key().as_bytes())].concat()
}

/// A FIDO authenticator in software, which says whatever the test wants about touch and PIN.
#[derive(Debug, Clone)]
pub(crate) struct SecurityKey {
    name: String,
    application: String,
}

impl SecurityKey {
    pub(crate) fn new(name: &str, application: &str) -> Self {
        Self { name: name.to_owned(), application: application.to_owned() }
    }

    pub(crate) fn public(&self) -> PublicKey {
        let point = Ed25519PublicKey(signing(&self.name).verifying_key().to_bytes());
        PublicKey::from_data(KeyData::SkEd25519(SkEd25519::new(point, self.application.clone())))
            .expect("a key")
    }

    /// An armoured signature with these authenticator flags and counter.
    pub(crate) fn sign(&self, namespace: &str, payload: &[u8], flags: u8, counter: u32) -> String {
        let kind = b"sk-ssh-ed25519@openssh.com";
        let key = signing(&self.name);
        let mut blob = Blob::good(&self.name, namespace, payload);
        let point = key.verifying_key().to_bytes();
        blob.public_key = [text(kind), text(&point), text(self.application.as_bytes())].concat();
        let trailer = [&[flags][..], &counter.to_be_bytes()].concat();
        let signed = [
            Sha256::digest(self.application.as_bytes()).to_vec(),
            trailer.clone(),
            Sha256::digest(blob.signed_data(payload)).to_vec(),
        ]
        .concat();
        blob.signature = [text(kind), text(&key.sign(&signed).to_bytes()), trailer].concat();
        blob.armour()
    }
}
