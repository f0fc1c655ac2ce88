//! Two people, a trust root and the orders that they sign, for a host that a test has initialised.
#![allow(dead_code, clippy::allow_attributes, reason = "every test file uses its own part")]

use std::net::SocketAddr;
use std::path::Path;

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::frame::Delivery;
use digue_proto::id::{Challenge, Digest, HostId, Nonce, OrderId, UnixMillis};
use digue_proto::key::PublicKey;
use digue_proto::merkle;
use digue_proto::order::{Action, LeafV1, OrderV1, Target, TargetProof};
use digue_proto::policy::{OnLostManagement, Policy, Profile};
use digue_proto::statement::{Assurance, Stated, StatementV1};
use digue_proto::trust::{Class, PROTOCOL_VERSION, Person, PersonKey, Role, RoleAssignment, RootV1};
use digue_proto::{sign, strict};
use ssh_key::PrivateKey;
use ssh_key::private::Ed25519Keypair;

/// Everyone signs everything; orders that open take two.
pub(crate) struct Deployment {
    people: Vec<PrivateKey>,
    pub(crate) root: Envelope,
}

pub(crate) fn host_id() -> HostId {
    "srv-001".parse().expect("name")
}

fn now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    UnixMillis(u64::try_from(since.as_millis()).expect("fits"))
}

fn public(key: &PrivateKey) -> PublicKey {
    PublicKey::from_data(key.public_key().key_data().clone()).expect("key")
}

impl Deployment {
    pub(crate) fn new() -> Self {
        let people: Vec<PrivateKey> =
            (1..=3).map(|n| PrivateKey::from(Ed25519Keypair::from_seed(&[n; 32]))).collect();
        let names = ["alice", "bruno", "claire"];
        let person = |(name, key): (&&str, &PrivateKey)| Person {
            id: name.parse().expect("name"),
            keys: vec![PersonKey { key: public(key), require_touch: false, require_pin: false }],
        };
        let role = |role: Role| RoleAssignment {
            role,
            persons: names.iter().map(|n| n.parse().expect("name")).collect(),
            threshold: u32::try_from(role.minimum()).expect("small"),
            disjoint_from: Vec::new(),
        };
        let root = RootV1 {
            deployment_id: None,
            version: 1,
            issued_at_ms: UnixMillis(1_767_300_000_000),
            gen_epoch: 0,
            protocol_min: PROTOCOL_VERSION,
            persons: names.iter().zip(&people).map(person).collect(),
            roles: Role::ALL.map(role).to_vec(),
            controllers: Vec::new(),
            inventory_min_version: 1,
        };
        let root = seal(&people, 2, PayloadType::Root, &root);
        Self { people, root }
    }

    /// The next root, which changes nothing but its number.
    pub(crate) fn next_root(&self) -> Envelope {
        let first: RootV1 = strict::from_slice(&self.root.payload, 1 << 20).expect("root");
        let next = RootV1 { version: 2, deployment_id: Some(self.id()), ..first };
        seal(&self.people, 2, PayloadType::Root, &next)
    }

    pub(crate) fn id(&self) -> Digest {
        self.root.digest()
    }

    pub(crate) fn write_root(&self, dir: &Path) -> std::path::PathBuf {
        let path = dir.join("root.1.json");
        std::fs::write(&path, self.root.to_json().expect("JSON")).expect("root");
        path
    }

    fn order(&self, number: u64, action: Action, target: Target) -> OrderV1 {
        OrderV1 {
            deployment_id: self.id(),
            order_id: order_id(number),
            root_version: 1,
            stream: action.stream(),
            gen_epoch: 0,
            generation: number,
            issued_at_ms: now(),
            not_after_ms: now().plus(3_600_000),
            incident: "exercise".to_owned(),
            action,
            target,
            heads: Vec::new(),
            reason: "a test".to_owned(),
        }
    }

    /// An order to all that one person signed.
    pub(crate) fn protect(&self, number: u64, action: Action) -> Delivery {
        let order = self.order(number, action, Target::All {});
        Delivery { order: seal(&self.people, 1, PayloadType::Protect, &order), target: None, statement: None }
    }

    /// A cut that leaves these controllers reachable.
    pub(crate) fn cut(&self, number: u64, controllers: &[SocketAddr]) -> Delivery {
        self.protect(number, Action::Contain { policy: cut_policy(controllers), allow_self_cut: false })
    }

    /// A cut of one host that reopens by itself, signed by two people.
    pub(crate) fn drill(
        &self,
        number: u64,
        controllers: &[SocketAddr],
        seconds: u32,
        key: &PublicKey,
        challenge: Challenge,
    ) -> Delivery {
        let on_lost_management = OnLostManagement::ReopenAfter(seconds);
        let policy = Policy { on_lost_management, ..cut_policy(controllers) };
        let leaf = leaf(key, challenge, None);
        let leaves = [strict::to_vec(&leaf).expect("leaf")];
        let target = Target::List { root: merkle::root(&leaves), count: 1 };
        let order = self.order(number, Action::Contain { policy, allow_self_cut: false }, target);
        let [leaf] = leaves;
        let proof = merkle::proofs(std::slice::from_ref(&leaf)).remove(0);
        Delivery {
            order: seal(&self.people, 2, PayloadType::Release, &order),
            target: Some(TargetProof { leaf, proof }),
            statement: None,
        }
    }

    /// The release of one host, with a clean statement, signed by `signers` people.
    pub(crate) fn release(
        &self,
        number: u64,
        key: &PublicKey,
        challenge: Challenge,
        boot_id: &str,
        signers: usize,
    ) -> Delivery {
        let statement = StatementV1 {
            deployment_id: self.id(),
            host_id: host_id(),
            host_key: key.fingerprint(),
            incarnation: 1,
            boot_id: Some(boot_id.to_owned()),
            verdict: Stated::Clean,
            assurance: Some(Assurance::L2),
            observed_at_ms: now(),
            issued_at_ms: now(),
            valid_until_ms: now().plus(3_600_000),
            evidence: Vec::new(),
            reason: "examined".to_owned(),
        };
        let statement = seal(&self.people, 2, PayloadType::Clean, &statement);
        let leaf = leaf(key, challenge, Some(statement.digest()));
        let leaves = [strict::to_vec(&leaf).expect("leaf")];
        let target = Target::List { root: merkle::root(&leaves), count: 1 };
        let order = self.order(number, Action::Release { without_verdict: false }, target);
        assert_eq!(order.action.class(), Class::Release);
        let [leaf] = leaves;
        let proof = merkle::proofs(std::slice::from_ref(&leaf)).remove(0);
        Delivery {
            order: seal(&self.people, signers, PayloadType::Release, &order),
            target: Some(TargetProof { leaf, proof }),
            statement: Some(statement),
        }
    }
}

fn leaf(key: &PublicKey, challenge: Challenge, clean: Option<Digest>) -> LeafV1 {
    LeafV1 { host_id: host_id(), host_key: key.fingerprint(), challenge: Some(challenge), clean }
}

pub(crate) fn order_id(number: u64) -> OrderId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    Nonce::from_bytes(bytes)
}

pub(crate) fn cut_policy(controllers: &[SocketAddr]) -> Policy {
    Policy {
        profile: Profile::Cut,
        controllers: controllers.to_vec(),
        internal: vec!["10.77.0.0/16".parse().expect("network"), "fd77::/64".parse().expect("network")],
        exceptions: Vec::new(),
        on_lost_management: OnLostManagement::Hold,
    }
}

fn seal<T: serde::Serialize>(
    people: &[PrivateKey],
    signers: usize,
    kind: PayloadType,
    value: &T,
) -> Envelope {
    let payload = strict::to_vec(value).expect("JSON");
    let signature = |key: &PrivateKey| sign::sign(key, kind, &payload).expect("signed");
    let signatures = people.iter().take(signers).map(signature).collect();
    Envelope { payload_type: kind, payload, signatures }
}
