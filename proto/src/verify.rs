//! The only maker of [`Verified`] and the only counter of signatures.
//!
//! Steps follow docs/PROTOCOL.md, "Acceptance": bounds (1, 2) and type (3) come first, then signatures
//! (4) and the threshold of the class (5); the payload is parsed (6) only once they hold. What comes
//! after belongs to the host (`host::admit`).

use std::collections::BTreeSet;
use std::sync::Arc;

use ssh_key::{Algorithm, LineEnding, SshSig};

use crate::envelope::{Envelope, PayloadType};
use crate::id::{Digest, PersonId};
use crate::key::PublicKey;
use crate::limits::MAX_SIGNATURES;
use crate::order::{OrderError, OrderV1};
use crate::report::{EnrolV1, HeartbeatV1, ReceiptV1, ReportV1};
use crate::statement::{Stated, StatementError, StatementV1};
use crate::strict::{self, StrictError};
use crate::trust::{Class, InventoryV1, PersonKey, Role};
use crate::trust_chain::Trust;

/// FIDO authenticator data: the user touched the key.
const FLAG_USER_PRESENT: u8 = 0x01;
/// FIDO authenticator data: a PIN or a finger was checked.
const FLAG_USER_VERIFIED: u8 = 0x04;
/// Flags byte and counter that end a security key's signature (PROTOCOL.u2f).
const SK_TRAILER: usize = 5;

/// A document whose signatures met their threshold, together with the bytes that were signed.
///
/// It can be made nowhere else and it cannot be deserialised: holding one is the proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T> {
    value: T,
    digest: Digest,
    envelope: Arc<Envelope>,
    signers: BTreeSet<PersonId>,
}

impl<T> Verified<T> {
    /// The document.
    pub const fn value(&self) -> &T {
        &self.value
    }
    /// SHA-256 of the signed bytes.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
    /// The signed bytes and their signatures, as received.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }
    /// The distinct persons who signed; empty for what a host signed.
    pub const fn signers(&self) -> &BTreeSet<PersonId> {
        &self.signers
    }
}

/// Why one signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Not an armoured SSHSIG of version 1.
    #[error("not an SSH signature: {0}")]
    Format(String),
    /// The reserved field is not empty.
    #[error("its reserved field is not empty")]
    Reserved,
    /// Made for something else.
    #[error("it was made for namespace {found:?}, not {expected:?}")]
    Namespace {
        /// The namespace in the signature.
        found: String,
        /// The namespace that counts here.
        expected: &'static str,
    },
    /// Made by a key that the trust root (or inventory) does not name.
    #[error("its key {0} is not trusted for this")]
    UnknownKey(String),
    /// Made by another algorithm than the key's.
    #[error("its algorithm {0} is not that of its key")]
    Algorithm(String),
    /// The security key was not touched.
    #[error("the security key was not touched")]
    NotTouched,
    /// The security key checked no PIN.
    #[error("the security key checked no PIN")]
    NoPin,
    /// The signature does not belong to these bytes and this key.
    #[error("the signature does not verify")]
    Invalid,
}

/// Why a document is not verified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// A bound of the envelope is broken.
    #[error("envelope refused: {0}")]
    Bounds(StrictError),
    /// Another type than this place takes.
    #[error("a {found} is not accepted here (expected {expected})")]
    WrongType {
        /// What arrived.
        found: PayloadType,
        /// What was expected.
        expected: &'static str,
    },
    /// Too few distinct persons. The payload was not parsed.
    #[error("{have} of {need} signatures that count for {class:?}{}", reasons(.rejected))]
    Threshold {
        /// The class.
        class: Class,
        /// Distinct persons whose signatures count.
        have: usize,
        /// Distinct persons needed.
        need: usize,
        /// Why the others do not count.
        rejected: Vec<SignatureError>,
    },
    /// Too few signers of a clean statement hold the forensic role.
    #[error("too few of the signers hold the forensic role")]
    NoForensic,
    /// Not signed by the host's key.
    #[error("not signed by the host's key{}", reasons(.0))]
    NotByHost(Vec<SignatureError>),
    /// The payload is not the document that its type says.
    #[error("the signed {kind} is not readable: {source}")]
    Payload {
        /// The type.
        kind: PayloadType,
        /// What is wrong.
        source: StrictError,
    },
    /// The order is not well formed.
    #[error(transparent)]
    Order(#[from] OrderError),
    /// The statement is not well formed.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// For another deployment.
    #[error("it belongs to deployment {0}, not to this one")]
    Deployment(Digest),
    /// Signed under a newer root than is known here; keep it until the chain arrives.
    #[error("it names trust root {named}, this side holds {held}: fetch the newer root first")]
    NewerRoot {
        /// Named by the document.
        named: u64,
        /// Held here.
        held: u64,
    },
    /// The action belongs to another class than the signatures.
    #[error("its action needs signatures for {needed:?}, it was signed for {signed:?}")]
    WrongClass {
        /// The compiled class of action and arguments.
        needed: Class,
        /// The class of the payload type.
        signed: Class,
    },
    /// The inventory is not well formed.
    #[error("inventory refused: {0}")]
    Inventory(String),
}

fn reasons(rejected: &[SignatureError]) -> String {
    let list: Vec<String> = rejected.iter().map(ToString::to_string).collect();
    if list.is_empty() { String::new() } else { format!(" (not counted: {})", list.join("; ")) }
}

impl VerifyError {
    /// A stable code for `digue explain`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Bounds(_) => "E0301",
            Self::WrongType { .. } => "E0302",
            Self::Threshold { .. } => "E0303",
            Self::NoForensic => "E0304",
            Self::NotByHost(_) => "E0305",
            Self::Payload { .. } | Self::Order(_) | Self::Statement(_) | Self::Inventory(_) => "E0306",
            Self::Deployment(_) => "E0307",
            Self::NewerRoot { .. } => "E0308",
            Self::WrongClass { .. } => "E0309",
        }
    }
}

/// The signatures of an envelope, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally<I: Ord> {
    /// Distinct owners of keys that signed. Two keys of one person are one entry.
    pub counted: BTreeSet<I>,
    /// Why the other signatures do not count.
    pub rejected: Vec<SignatureError>,
}

/// Counts the signatures of `envelope` made by `keys`: the one place where signatures become numbers.
///
/// A key is found by its bytes alone; key ids and comments are never looked at (B7).
pub fn tally<I: Ord + Clone>(envelope: &Envelope, keys: &[(I, &PersonKey)]) -> Tally<I> {
    let mut tally = Tally { counted: BTreeSet::new(), rejected: Vec::new() };
    for armour in envelope.signatures.iter().take(MAX_SIGNATURES) {
        match check(armour, envelope, keys) {
            Ok(owner) => {
                tally.counted.insert(owner);
            }
            Err(error) => tally.rejected.push(error),
        }
    }
    tally
}

/// Protocol step 4 for one signature.
fn check<I: Clone>(armour: &str, envelope: &Envelope, keys: &[(I, &PersonKey)]) -> Result<I, SignatureError> {
    let signature = SshSig::from_pem(armour).map_err(|e| SignatureError::Format(e.to_string()))?;
    if !is_canonical(armour, &signature) {
        return Err(SignatureError::Format("not in the form that ssh-keygen writes".to_owned()));
    }
    if signature.version() != SshSig::VERSION {
        return Err(SignatureError::Format(format!("version {}", signature.version())));
    }
    if !signature.reserved().is_empty() {
        return Err(SignatureError::Reserved);
    }
    let expected = envelope.payload_type.namespace();
    if signature.namespace() != expected {
        return Err(SignatureError::Namespace { found: signature.namespace().to_owned(), expected });
    }
    let key = ssh_key::PublicKey::new(signature.public_key().clone(), "");
    let (owner, trusted) = keys
        .iter()
        .find(|(_, trusted)| trusted.key.data() == signature.public_key())
        .ok_or_else(|| SignatureError::UnknownKey(key.fingerprint(ssh_key::HashAlg::Sha256).to_string()))?;
    if signature.algorithm() != key.algorithm() {
        return Err(SignatureError::Algorithm(signature.algorithm().to_string()));
    }
    check_presence(&signature, trusted)?;
    key.verify(expected, &envelope.payload, &signature).map_err(|_| SignatureError::Invalid)?;
    Ok(owner.clone())
}

/// The library overlooks inner lengths that are too long. What it accepts and OpenSSH does not must not
/// count: a relay could make a signature that is good here and bad for everyone else.
fn is_canonical(armour: &str, signature: &SshSig) -> bool {
    let visible = |text: &str| text.bytes().filter(|b| !b.is_ascii_whitespace()).collect::<Vec<u8>>();
    signature.to_pem(LineEnding::LF).is_ok_and(|canonical| visible(&canonical) == visible(armour))
}

/// Neither ssh-key nor `ssh-keygen -Y verify` looks at these bits (3.3 of the trust design).
fn check_presence(signature: &SshSig, trusted: &PersonKey) -> Result<(), SignatureError> {
    if signature.algorithm() != Algorithm::SkEd25519 {
        return Ok(());
    }
    let bytes = signature.signature_bytes();
    let flags = bytes.len().checked_sub(SK_TRAILER).and_then(|at| bytes.get(at)).copied().unwrap_or(0);
    if trusted.require_touch && flags & FLAG_USER_PRESENT == 0 {
        return Err(SignatureError::NotTouched);
    }
    if trusted.require_pin && flags & FLAG_USER_VERIFIED == 0 {
        return Err(SignatureError::NoPin);
    }
    Ok(())
}

/// What verifies under the keys of people.
impl Trust {
    /// Protocol steps 1, 4 and 5: who signed, of those who may sign this class.
    ///
    /// # Errors
    /// [`VerifyError`] if a bound is broken or too few distinct persons signed.
    pub(crate) fn signers(
        &self,
        envelope: &Envelope,
        class: Class,
    ) -> Result<BTreeSet<PersonId>, VerifyError> {
        envelope.check_bounds().map_err(VerifyError::Bounds)?;
        let tally = self.tally(envelope, class);
        let need = self.threshold(class.role());
        if tally.counted.len() < need {
            let have = tally.counted.len();
            return Err(VerifyError::Threshold { class, have, need, rejected: tally.rejected });
        }
        let forensic = tally.counted.iter().filter(|p| self.holds(p, Role::Forensic)).count();
        if class == Class::Clean && forensic < self.threshold(Role::Forensic) {
            return Err(VerifyError::NoForensic);
        }
        Ok(tally.counted)
    }

    /// Who of those who may sign this class has signed so far; for showing progress, never for acting.
    pub fn tally(&self, envelope: &Envelope, class: Class) -> Tally<PersonId> {
        tally(envelope, &self.keys_of(class.role()))
    }

    /// Verifies an order: protocol steps 1 to 8.
    ///
    /// # Errors
    /// [`VerifyError`] naming the step that failed.
    pub fn verify_order(&self, envelope: &Envelope) -> Result<Verified<OrderV1>, VerifyError> {
        let signed = match Class::of(envelope.payload_type) {
            Some(class @ (Class::Query | Class::Protect | Class::Release)) => class,
            Some(Class::Root | Class::Inventory | Class::Clean | Class::Suspect) | None => {
                return Err(wrong_type(envelope, "an order"));
            }
        };
        let signers = self.signers(envelope, signed)?;
        let order = OrderV1::from_payload(&envelope.payload)?;
        self.same_deployment(order.deployment_id)?;
        if order.root_version > self.version() {
            return Err(VerifyError::NewerRoot { named: order.root_version, held: self.version() });
        }
        let needed = order.action.class();
        if needed != signed {
            return Err(VerifyError::WrongClass { needed, signed });
        }
        Ok(verified(order, envelope, signers))
    }

    /// Verifies a signed inventory.
    ///
    /// # Errors
    /// [`VerifyError`] naming the step that failed.
    pub fn verify_inventory(&self, envelope: &Envelope) -> Result<Verified<InventoryV1>, VerifyError> {
        expect_type(envelope, PayloadType::Inventory, "an inventory")?;
        let signers = self.signers(envelope, Class::Inventory)?;
        let inventory: InventoryV1 = payload(envelope)?;
        self.same_deployment(inventory.deployment_id)?;
        inventory.validate().map_err(VerifyError::Inventory)?;
        if inventory.version < self.root().inventory_min_version {
            let floor = self.root().inventory_min_version;
            let text = format!("version {} is older than the floor {floor}", inventory.version);
            return Err(VerifyError::Inventory(text));
        }
        Ok(verified(inventory, envelope, signers))
    }

    /// Verifies a statement about a host.
    ///
    /// # Errors
    /// [`VerifyError`] naming the step that failed.
    pub fn verify_statement(&self, envelope: &Envelope) -> Result<Verified<StatementV1>, VerifyError> {
        let class = match Class::of(envelope.payload_type) {
            Some(class @ (Class::Clean | Class::Suspect)) => class,
            Some(Class::Root | Class::Inventory | Class::Query | Class::Protect | Class::Release) | None => {
                return Err(wrong_type(envelope, "a statement"));
            }
        };
        let signers = self.signers(envelope, class)?;
        let statement: StatementV1 = payload(envelope)?;
        self.same_deployment(statement.deployment_id)?;
        if (statement.verdict == Stated::Clean) != (class == Class::Clean) {
            return Err(StatementError::WrongClass(statement.verdict).into());
        }
        statement.validate()?;
        Ok(verified(statement, envelope, signers))
    }

    fn same_deployment(&self, named: Digest) -> Result<(), VerifyError> {
        if named == self.deployment_id() { Ok(()) } else { Err(VerifyError::Deployment(named)) }
    }
}

/// A document that hosts sign.
pub trait HostDocument: serde::de::DeserializeOwned {
    /// Its payload type.
    const TYPE: PayloadType;
    /// The deployment that it names.
    fn deployment(&self) -> Digest;
}

macro_rules! host_document {
    ($type:ty, $kind:ident) => {
        impl HostDocument for $type {
            const TYPE: PayloadType = PayloadType::$kind;
            fn deployment(&self) -> Digest {
                self.deployment_id
            }
        }
    };
}
host_document!(ReceiptV1, Receipt);
host_document!(ReportV1, Report);
host_document!(HeartbeatV1, Heartbeat);
host_document!(EnrolV1, Enrol);

/// Verifies a document that the holder of `host_key` signed. It proves who said it, not that it is true.
///
/// # Errors
/// [`VerifyError`] naming the step that failed.
pub fn verify_host<T: HostDocument>(
    envelope: &Envelope,
    host_key: &PublicKey,
    deployment: Digest,
) -> Result<Verified<T>, VerifyError> {
    expect_type(envelope, T::TYPE, "a document of a host")?;
    envelope.check_bounds().map_err(VerifyError::Bounds)?;
    let key = PersonKey { key: host_key.clone(), require_touch: false, require_pin: false };
    let tally = tally(envelope, &[((), &key)]);
    if tally.counted.is_empty() {
        return Err(VerifyError::NotByHost(tally.rejected));
    }
    let document: T = payload(envelope)?;
    if document.deployment() != deployment {
        return Err(VerifyError::Deployment(document.deployment()));
    }
    Ok(verified(document, envelope, BTreeSet::new()))
}

pub(crate) fn verified<T>(value: T, envelope: &Envelope, signers: BTreeSet<PersonId>) -> Verified<T> {
    Verified { value, digest: envelope.digest(), envelope: Arc::new(envelope.clone()), signers }
}

pub(crate) fn payload<T: serde::de::DeserializeOwned>(envelope: &Envelope) -> Result<T, VerifyError> {
    let kind = envelope.payload_type;
    strict::from_slice(&envelope.payload, kind.max_payload())
        .map_err(|source| VerifyError::Payload { kind, source })
}

fn wrong_type(envelope: &Envelope, expected: &'static str) -> VerifyError {
    VerifyError::WrongType { found: envelope.payload_type, expected }
}

pub(crate) fn expect_type(
    envelope: &Envelope,
    wanted: PayloadType,
    expected: &'static str,
) -> Result<(), VerifyError> {
    if envelope.payload_type == wanted { Ok(()) } else { Err(wrong_type(envelope, expected)) }
}
