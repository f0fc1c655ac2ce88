//! The chain of trust roots: the first one is pinned by its digest, each later one is signed by the
//! threshold of the one before *and* by its own (TUF 5.3). Deliberately absent: an expiry date, which
//! would turn a changed clock into loss of control (3.5 of the trust design).

use std::collections::BTreeSet;

use crate::envelope::{Envelope, PayloadType};
use crate::id::{Digest, PersonId};
use crate::limits::{MAX_GENERATION_JUMP, MAX_HOSTS};
use crate::trust::{Class, InventoryV1, PROTOCOL_VERSION, PersonKey, Role, RootV1};
use crate::verify::{self, VerifyError};

/// Why a trust root is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// Its digest is not the one pinned at installation.
    #[error("the root's SHA-256 is {found}, {pinned} was pinned at installation")]
    NotPinned {
        /// Of the root offered.
        found: Digest,
        /// Given at installation.
        pinned: Digest,
    },
    /// Not exactly one more than the current version.
    #[error("root version {found} does not follow {current}; only {} does", current + 1)]
    NotNext {
        /// Of the root offered.
        found: u64,
        /// Held.
        current: u64,
    },
    /// The deployment is not the one pinned.
    #[error("the root belongs to another deployment")]
    OtherDeployment,
    /// The epoch goes back or jumps.
    #[error("gen_epoch {found} goes back from, or too far beyond, {current}")]
    Epoch {
        /// Of the root offered.
        found: u64,
        /// Held.
        current: u64,
    },
    /// This program is too old for the root.
    #[error("the root asks for protocol {0}, this program speaks {PROTOCOL_VERSION}: update it")]
    ProtocolTooNew(u32),
    /// The root's contents break a rule.
    #[error("the root is not acceptable: {0}")]
    Contents(String),
    /// Signatures or payload.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}

impl TrustError {
    /// A stable code for `digue explain`.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotPinned { .. } => "E0311",
            Self::NotNext { .. } => "E0312",
            Self::OtherDeployment => "E0313",
            Self::Epoch { .. } => "E0314",
            Self::ProtocolTooNew(_) => "E0315",
            Self::Contents(_) => "E0316",
            Self::Verify(error) => error.code(),
        }
    }
}

/// A trust root that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trust {
    root: RootV1,
    digest: Digest,
    deployment: Digest,
    envelope: Envelope,
}

impl Trust {
    /// Accepts root version 1 by its pinned digest and its own signatures.
    ///
    /// # Errors
    /// [`TrustError`] naming the rule that is broken.
    pub fn initial(envelope: &Envelope, pinned: &Digest) -> Result<Self, TrustError> {
        let found = envelope.digest();
        if found != *pinned {
            return Err(TrustError::NotPinned { found, pinned: *pinned });
        }
        let trust = Self::read(envelope, found)?;
        if trust.root.version != 1 {
            return Err(TrustError::NotNext { found: trust.root.version, current: 0 });
        }
        if trust.root.deployment_id.is_some() {
            return Err(TrustError::Contents("version 1 cannot name its own digest".to_owned()));
        }
        trust.signers(envelope, Class::Root)?;
        Ok(trust)
    }

    /// Accepts the root after this one.
    ///
    /// # Errors
    /// [`TrustError`] naming the rule that is broken; this root stays in force.
    pub fn next(&self, envelope: &Envelope) -> Result<Self, TrustError> {
        // Before parsing: the threshold of the root in force, over the exact bytes.
        verify::expect_type(envelope, PayloadType::Root, "a trust root")?;
        self.signers(envelope, Class::Root)?;
        let next = Self::read(envelope, self.deployment)?;
        if next.root.version != self.root.version.saturating_add(1) {
            return Err(TrustError::NotNext { found: next.root.version, current: self.root.version });
        }
        if next.root.deployment_id != Some(self.deployment) {
            return Err(TrustError::OtherDeployment);
        }
        let (found, current) = (next.root.gen_epoch, self.root.gen_epoch);
        if found < current || found - current > MAX_GENERATION_JUMP {
            return Err(TrustError::Epoch { found, current });
        }
        next.signers(envelope, Class::Root)?;
        Ok(next)
    }

    /// Replays a stored chain from its pinned first root.
    ///
    /// # Errors
    /// [`TrustError`] of the first root that is not acceptable.
    pub fn from_chain(chain: &[Envelope], pinned: &Digest) -> Result<Self, TrustError> {
        let (first, rest) =
            chain.split_first().ok_or_else(|| TrustError::Contents("an empty chain of roots".to_owned()))?;
        rest.iter().try_fold(Self::initial(first, pinned)?, |trust, next| trust.next(next))
    }

    fn read(envelope: &Envelope, deployment: Digest) -> Result<Self, TrustError> {
        verify::expect_type(envelope, PayloadType::Root, "a trust root")?;
        envelope.check_bounds().map_err(VerifyError::Bounds)?;
        let root: RootV1 = verify::payload(envelope)?;
        root.validate().map_err(TrustError::Contents)?;
        if root.protocol_min > PROTOCOL_VERSION {
            return Err(TrustError::ProtocolTooNew(root.protocol_min));
        }
        Ok(Self { root, digest: envelope.digest(), deployment, envelope: envelope.clone() })
    }

    /// The root's contents.
    pub const fn root(&self) -> &RootV1 {
        &self.root
    }
    /// Its version.
    pub const fn version(&self) -> u64 {
        self.root.version
    }
    /// SHA-256 of its payload.
    pub const fn digest(&self) -> Digest {
        self.digest
    }
    /// SHA-256 of root version 1: names the deployment for ever.
    pub const fn deployment_id(&self) -> Digest {
        self.deployment
    }
    /// The root as received.
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Distinct persons needed for a role: the root's threshold, never under the compiled minimum (B13).
    pub fn threshold(&self, role: Role) -> usize {
        let asked = self.root.roles.iter().find(|r| r.role == role).map_or(0, |r| r.threshold);
        usize::try_from(asked).unwrap_or(usize::MAX).max(role.minimum())
    }

    /// Whether a person holds a role.
    pub fn holds(&self, person: &PersonId, role: Role) -> bool {
        self.root.roles.iter().any(|r| r.role == role && r.persons.contains(person))
    }

    /// Whether the same persons may not sign for both roles in one matter (E11).
    pub fn disjoint(&self, one: Role, other: Role) -> bool {
        let says = |a, b| self.root.roles.iter().any(|r| r.role == a && r.disjoint_from.contains(&b));
        says(one, other) || says(other, one)
    }

    /// The keys of everyone who holds a role.
    pub(crate) fn keys_of(&self, role: Role) -> Vec<(PersonId, &PersonKey)> {
        let members = self.root.persons.iter().filter(|p| self.holds(&p.id, role));
        members.flat_map(|p| p.keys.iter().map(|key| (p.id.clone(), key))).collect()
    }
}

impl RootV1 {
    /// Checks everything that does not depend on who signed it (B6, B12).
    ///
    /// # Errors
    /// The rule that is broken, in words.
    pub fn validate(&self) -> Result<(), String> {
        if self.persons.is_empty() || !self.persons.is_sorted_by(|a, b| a.id < b.id) {
            return Err("persons must be there, sorted by id and unique".to_owned());
        }
        let mut seen = BTreeSet::new();
        for person in &self.persons {
            if person.keys.is_empty() {
                return Err(format!("{} has no key", person.id));
            }
            for key in &person.keys {
                if !key.key.is_for_people() {
                    return Err(format!("{} has a key that is for hosts alone: use Ed25519", person.id));
                }
                if !seen.insert(key.key.material()) {
                    return Err(format!("the key {} stands twice", key.key.fingerprint()));
                }
                if (key.require_touch || key.require_pin) && !key.key.is_security_key() {
                    return Err(format!("{} asks touch or PIN of a key that is no security key", person.id));
                }
            }
        }
        if !self.roles.iter().map(|r| r.role).eq(Role::ALL) {
            return Err("roles must name each role once, in order".to_owned());
        }
        for role in &self.roles {
            let name = role.role.as_str();
            if !role.persons.is_sorted_by(|a, b| a < b) || !role.disjoint_from.is_sorted_by(|a, b| a < b) {
                return Err(format!("the lists of role {name} must be sorted and unique"));
            }
            if let Some(unknown) = role.persons.iter().find(|p| !self.persons.iter().any(|q| q.id == **p)) {
                return Err(format!("role {name} names {unknown}, who is not among the persons"));
            }
            let needed = usize::try_from(role.threshold).unwrap_or(usize::MAX).max(role.role.minimum());
            if role.threshold == 0 || needed > role.persons.len() {
                return Err(format!(
                    "role {name}: {needed} of {} persons can never sign",
                    role.persons.len()
                ));
            }
        }
        let of = |role: Role| self.roles.iter().find(|r| r.role == role);
        if let (Some(clean), Some(forensic)) = (of(Role::Clean), of(Role::Forensic)) {
            let both = clean.persons.iter().filter(|p| forensic.persons.contains(p)).count();
            if both < usize::try_from(forensic.threshold).unwrap_or(usize::MAX) {
                let text = "role clean: too few of its persons are forensic, it can never sign";
                return Err(text.to_owned());
            }
        }
        if !self.controllers.is_sorted_by(|a, b| a.name < b.name) {
            return Err("controllers must be sorted by name and unique".to_owned());
        }
        Ok(())
    }
}

impl InventoryV1 {
    /// Checks everything that does not depend on who signed it.
    ///
    /// # Errors
    /// The rule that is broken, in words.
    pub fn validate(&self) -> Result<(), String> {
        if self.hosts.len() > MAX_HOSTS {
            return Err(format!("{} hosts, the limit is {MAX_HOSTS}", self.hosts.len()));
        }
        if !self.hosts.is_sorted_by(|a, b| a.host_id < b.host_id) {
            return Err("hosts must be sorted by name and unique".to_owned());
        }
        let mut keys = BTreeSet::new();
        for host in &self.hosts {
            let id = &host.host_id;
            if host.host_key.as_ref().is_some_and(|key| !keys.insert(key.as_str())) {
                return Err(format!("the key of {id} is also that of another host"));
            }
            if host.host_key.as_ref().is_some_and(crate::key::PublicKey::is_security_key) {
                return Err(format!("the key of {id} is a security key: a host cannot touch it"));
            }
            let text_ok = |t: &str| !t.is_empty() && t.len() <= 200 && !t.chars().any(char::is_control);
            if host.labels.iter().any(|l| !text_ok(&l.key) || !text_ok(&l.value)) {
                return Err(format!("a label of {id} is empty, too long or holds control characters"));
            }
            if !host.labels.is_sorted_by(|a, b| a < b) || !host.addresses.is_sorted_by(|a, b| a < b) {
                return Err(format!("the lists of {id} must be sorted and unique"));
            }
        }
        Ok(())
    }
}
