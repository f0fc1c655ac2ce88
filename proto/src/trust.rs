//! The trust root and the signed inventory: who may sign what, and which servers exist.

use serde::{Deserialize, Serialize};

use crate::envelope::PayloadType;
use crate::id::{Digest, HostId, PersonId, UnixMillis};
use crate::key::{Fingerprint, PublicKey};

/// The version of Digue's own protocol that this build speaks. History: 1 (2026-11) first version.
pub const PROTOCOL_VERSION: u32 = 1;

/// A class of documents that people sign; decides the threshold before anything is parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Changes the trust root.
    Root,
    /// Changes the inventory.
    Inventory,
    /// Asks a host for something and changes nothing.
    Query,
    /// Closes.
    Protect,
    /// Opens, deletes or powers off.
    Release,
    /// Says that a host is clean.
    Clean,
    /// Says that a host is suspect or compromised.
    Suspect,
}

impl Class {
    /// The fewest distinct persons, compiled in: a trust root may ask for more, never for fewer.
    pub const fn minimum(self) -> usize {
        match self {
            Self::Query | Self::Protect | Self::Inventory | Self::Suspect => 1,
            Self::Root | Self::Release | Self::Clean => 2,
        }
    }

    /// The class of a payload type; `None` for what hosts sign.
    pub const fn of(payload_type: PayloadType) -> Option<Self> {
        match payload_type {
            PayloadType::Root => Some(Self::Root),
            PayloadType::Inventory => Some(Self::Inventory),
            PayloadType::Query => Some(Self::Query),
            PayloadType::Protect => Some(Self::Protect),
            PayloadType::Release => Some(Self::Release),
            PayloadType::Clean => Some(Self::Clean),
            PayloadType::Suspect => Some(Self::Suspect),
            PayloadType::Receipt | PayloadType::Report | PayloadType::Heartbeat | PayloadType::Enrol => None,
        }
    }

    /// The role whose members sign this class.
    pub const fn role(self) -> Role {
        match self {
            Self::Root => Role::Root,
            Self::Inventory => Role::Inventory,
            Self::Query => Role::Query,
            Self::Protect => Role::Protect,
            Self::Release => Role::Release,
            Self::Clean => Role::Clean,
            Self::Suspect => Role::Suspect,
        }
    }
}

/// A role of the trust root: one for each class, and `forensic`, of which a clean statement needs one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Signs trust roots.
    Root,
    /// Signs inventories.
    Inventory,
    /// Signs queries.
    Query,
    /// Signs protective orders.
    Protect,
    /// Signs relaxing orders.
    Release,
    /// Signs clean statements.
    Clean,
    /// Signs suspect and compromised statements.
    Suspect,
    /// Of every clean statement, at least one signer holds this role.
    Forensic,
}

impl Role {
    /// Every role; a trust root names each exactly once.
    pub const ALL: [Self; 8] = [
        Self::Root,
        Self::Inventory,
        Self::Query,
        Self::Protect,
        Self::Release,
        Self::Clean,
        Self::Suspect,
        Self::Forensic,
    ];

    /// The compiled minimum of distinct persons.
    pub const fn minimum(self) -> usize {
        match self {
            Self::Root => Class::Root.minimum(),
            Self::Inventory => Class::Inventory.minimum(),
            Self::Query => Class::Query.minimum(),
            Self::Protect => Class::Protect.minimum(),
            Self::Release => Class::Release.minimum(),
            Self::Clean => Class::Clean.minimum(),
            Self::Suspect => Class::Suspect.minimum(),
            Self::Forensic => 1,
        }
    }

    /// The role's name as it stands in documents.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Inventory => "inventory",
            Self::Query => "query",
            Self::Protect => "protect",
            Self::Release => "release",
            Self::Clean => "clean",
            Self::Suspect => "suspect",
            Self::Forensic => "forensic",
        }
    }
}

/// Persons who must sign a release that carries no clean statement (3.0.5).
pub const WITHOUT_VERDICT_MINIMUM: usize = 3;

/// A key of a person and what its hardware must have checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonKey {
    /// The public key.
    pub key: PublicKey,
    /// The security key must say that it was touched.
    pub require_touch: bool,
    /// The security key must say that a PIN or a finger was checked.
    pub require_pin: bool,
}

/// A person and all keys that are theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The person's name.
    pub id: PersonId,
    /// Their keys; two of them still count as one person.
    pub keys: Vec<PersonKey>,
}

/// Who holds a role, and how many of them must sign.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleAssignment {
    /// The role.
    pub role: Role,
    /// Its members; sorted, unique.
    pub persons: Vec<PersonId>,
    /// Distinct persons needed; the compiled minimum applies if it is higher.
    pub threshold: u32,
    /// Nobody may sign for both this role and these in one matter (E11); sorted, unique.
    pub disjoint_from: Vec<Role>,
}

/// A controller that agents may talk to. It orders nothing; it relays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ControllerKey {
    /// A name for people.
    pub name: HostId,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub spki_sha256: Digest,
}

/// The trust root, version 1 of its form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootV1 {
    /// SHA-256 of the payload of root version 1; absent in version 1 itself.
    pub deployment_id: Option<Digest>,
    /// 1, then exactly one more each time.
    pub version: u64,
    /// When it was made.
    pub issued_at_ms: UnixMillis,
    /// Compared before every generation; raised to recover from a fast-forward (A5).
    pub gen_epoch: u64,
    /// The oldest protocol version that is still accepted (D3).
    pub protocol_min: u32,
    /// Everyone who may sign anything; sorted by id.
    pub persons: Vec<Person>,
    /// One entry a role; sorted by role.
    pub roles: Vec<RoleAssignment>,
    /// Pins of the controllers; sorted by name.
    pub controllers: Vec<ControllerKey>,
    /// No older inventory is accepted (A13).
    pub inventory_min_version: u64,
}

/// A label of a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// Its name: site, service, role, criticality, or anything else.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// A server of the inventory, with or without an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventoryHost {
    /// The server's name.
    pub host_id: HostId,
    /// The key of its agent; absent for a server that was never enrolled.
    pub host_key: Option<PublicKey>,
    /// Raised by one when the server is rebuilt, so that nothing signed for the old one binds it.
    pub incarnation: u64,
    /// Its addresses, for people and for peer blocks; sorted, unique.
    pub addresses: Vec<std::net::IpAddr>,
    /// Its labels; sorted, unique.
    pub labels: Vec<Label>,
}

impl InventoryHost {
    /// The value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|l| l.key == key).map(|l| l.value.as_str())
    }

    /// The fingerprint of the host's key, if it is enrolled.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.host_key.as_ref().map(PublicKey::fingerprint)
    }
}

/// The signed inventory: the denominator of every figure. Version 1 of its form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InventoryV1 {
    /// The deployment that it belongs to.
    pub deployment_id: Digest,
    /// One more each time; gaps are allowed, going back is not.
    pub version: u64,
    /// When it was made.
    pub issued_at_ms: UnixMillis,
    /// Every server; sorted by name, unique.
    pub hosts: Vec<InventoryHost>,
}

impl InventoryV1 {
    /// A host by its name.
    pub fn host(&self, id: &HostId) -> Option<&InventoryHost> {
        self.hosts.binary_search_by(|h| h.host_id.cmp(id)).ok().and_then(|i| self.hosts.get(i))
    }

    /// A host by its key.
    pub fn host_by_key(&self, key: &PublicKey) -> Option<&InventoryHost> {
        self.hosts.iter().find(|h| h.host_key.as_ref() == Some(key))
    }
}
