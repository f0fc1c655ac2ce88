//! A deployment of three people and its signed documents.

use digue_proto::bundle::{LeafBytes, OrderBundle};
use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::id::{Digest, HostId, Nonce, PersonId, UnixMillis};
use digue_proto::key::PublicKey;
use digue_proto::merkle;
use digue_proto::order::{Action, LeafV1, OrderV1, Target};
use digue_proto::policy::{Policy, Profile};
use digue_proto::sign::{seal, sign};
use digue_proto::statement::{Assurance, Stated, StatementV1};
use digue_proto::strict;
use digue_proto::trust::{
    Class, ControllerKey, InventoryHost, InventoryV1, Label, Person, PersonKey, Role, RoleAssignment, RootV1,
};
use ssh_key::PrivateKey;
use ssh_key::private::Ed25519Keypair;
use ssh_key::public::KeyData;

/// The boot that test agents report.
pub(crate) const BOOT: &str = "5a3f1c1e-0000-4000-8000-000000000001";

/// A key pair from a number.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) seed: [u8; 32],
    pub(crate) private: PrivateKey,
    pub(crate) public: PublicKey,
}

pub(crate) fn key(number: u32) -> Key {
    let mut seed = [0x5a; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    let pair = Ed25519Keypair::from_seed(&seed);
    let public = PublicKey::from_data(KeyData::Ed25519(pair.public)).expect("public key");
    Key { seed, private: PrivateKey::from(pair), public }
}

pub(crate) fn host_key(index: u32) -> Key {
    key(1000 + index)
}

pub(crate) fn host_id(index: u32) -> HostId {
    format!("srv-{index:03}").parse().expect("host name")
}

pub(crate) fn now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("clock");
    UnixMillis(u64::try_from(since.as_millis()).expect("clock"))
}

/// Alice, Bruno and Carla, who hold every role.
pub(crate) struct Deployment {
    pub(crate) people: Vec<(PersonId, Key)>,
    pub(crate) root: Envelope,
    pub(crate) id: Digest,
}

impl Deployment {
    pub(crate) fn new(pin: Digest) -> Self {
        let people: Vec<(PersonId, Key)> = ["alice", "bruno", "carla"]
            .into_iter()
            .zip(1..)
            .map(|(name, number)| (name.parse().expect("name"), key(number)))
            .collect();
        let root = root(&people, pin, None, 1);
        let payload = strict::to_vec(&root).expect("root");
        let root = signed(PayloadType::Root, payload, &[&people[0].1, &people[1].1]);
        let id = root.digest();
        Self { people, root, id }
    }

    /// The keys of the first `count` people.
    pub(crate) fn signers(&self, count: usize) -> Vec<&Key> {
        self.people.iter().take(count).map(|(_, key)| key).collect()
    }

    /// Version 2 of the root; `without` is no longer among the people.
    pub(crate) fn next_root(&self, pin: Digest, without: &str) -> Envelope {
        let stay: Vec<_> = self.people.iter().filter(|(name, _)| name.as_str() != without).cloned().collect();
        let payload = strict::to_vec(&root(&stay, pin, Some(self.id), 2)).expect("root");
        signed(PayloadType::Root, payload, &[&self.people[0].1, &self.people[1].1])
    }

    pub(crate) fn inventory(&self, version: u64, hosts: &[(u32, Option<&Key>)]) -> Envelope {
        let host = |(index, key): &(u32, Option<&Key>)| InventoryHost {
            host_id: host_id(*index),
            host_key: key.map(|key| key.public.clone()),
            incarnation: 1,
            addresses: Vec::new(),
            labels: vec![Label {
                key: "site".to_owned(),
                value: if index % 2 == 0 { "nord" } else { "sud" }.to_owned(),
            }],
        };
        let inventory = InventoryV1 {
            deployment_id: self.id,
            version,
            issued_at_ms: now(),
            hosts: hosts.iter().map(host).collect(),
        };
        let payload = strict::to_vec(&inventory).expect("inventory");
        signed(PayloadType::Inventory, payload, &self.signers(1))
    }

    /// An order with no signatures yet.
    pub(crate) fn order(&self, number: u8, generation: u64, action: Action, hosts: &[u32]) -> OrderBundle {
        let leaves = hosts.iter().map(|index| leaf(*index, None)).collect();
        self.order_for(number, generation, action, leaves)
    }

    /// A release of the hosts that these statements are about, with no signatures yet.
    pub(crate) fn release(&self, number: u8, generation: u64, statements: &[Envelope]) -> OrderBundle {
        let leaves = (1..).zip(statements).map(|(index, s)| leaf(index, Some(s.digest()))).collect();
        let action = Action::Release { without_verdict: false };
        OrderBundle { statements: statements.to_vec(), ..self.order_for(number, generation, action, leaves) }
    }

    fn order_for(&self, number: u8, generation: u64, action: Action, leaves: Vec<LeafBytes>) -> OrderBundle {
        let order = OrderV1 {
            deployment_id: self.id,
            order_id: Nonce::from_bytes([number; 16]),
            root_version: 1,
            stream: action.stream(),
            gen_epoch: 0,
            generation,
            issued_at_ms: now(),
            not_after_ms: now().plus(3_600_000),
            incident: "exercise".to_owned(),
            target: Target::List { root: merkle::root(&leaves), count: leaves.len() as u64 },
            heads: Vec::new(),
            reason: "exercise".to_owned(),
            action,
        };
        let payload_type = match order.action.class() {
            Class::Release => PayloadType::Release,
            Class::Query => PayloadType::Query,
            Class::Protect | Class::Root | Class::Inventory | Class::Clean | Class::Suspect => {
                PayloadType::Protect
            }
        };
        let payload = strict::to_vec(&order).expect("order");
        OrderBundle {
            order: Envelope { payload_type, payload, signatures: Vec::new() },
            leaves,
            statements: Vec::new(),
        }
    }

    /// A cut signed by Alice.
    pub(crate) fn cut(&self, number: u8, generation: u64, hosts: &[u32]) -> OrderBundle {
        let mut bundle = self.order(number, generation, contain(), hosts);
        add(&mut bundle.order, &self.people[0].1);
        bundle
    }

    pub(crate) fn statement(&self, index: u32, verdict: Stated, signers: usize) -> Envelope {
        let clean = verdict == Stated::Clean;
        let statement = StatementV1 {
            deployment_id: self.id,
            host_id: host_id(index),
            host_key: host_key(index).public.fingerprint(),
            incarnation: 1,
            boot_id: clean.then(|| BOOT.to_owned()),
            verdict,
            assurance: clean.then_some(Assurance::L1),
            observed_at_ms: now(),
            issued_at_ms: now(),
            valid_until_ms: now().plus(3_600_000),
            evidence: Vec::new(),
            reason: "examined".to_owned(),
        };
        let payload_type = if clean { PayloadType::Clean } else { PayloadType::Suspect };
        signed(payload_type, strict::to_vec(&statement).expect("statement"), &self.signers(signers))
    }
}

fn root(people: &[(PersonId, Key)], pin: Digest, deployment: Option<Digest>, version: u64) -> RootV1 {
    let persons = people.iter().map(|(id, key)| Person {
        id: id.clone(),
        keys: vec![PersonKey { key: key.public.clone(), require_touch: false, require_pin: false }],
    });
    let everyone: Vec<PersonId> = people.iter().map(|(id, _)| id.clone()).collect();
    let role = |role: Role| RoleAssignment {
        role,
        persons: everyone.clone(),
        threshold: u32::try_from(role.minimum()).expect("small").max(1),
        disjoint_from: Vec::new(),
    };
    RootV1 {
        deployment_id: deployment,
        version,
        issued_at_ms: now(),
        gen_epoch: 0,
        protocol_min: 1,
        persons: persons.collect(),
        roles: Role::ALL.into_iter().map(role).collect(),
        controllers: vec![ControllerKey { name: "controller".parse().expect("name"), spki_sha256: pin }],
        inventory_min_version: 0,
    }
}

fn leaf(index: u32, clean: Option<Digest>) -> LeafBytes {
    let leaf = LeafV1 {
        host_id: host_id(index),
        host_key: host_key(index).public.fingerprint(),
        challenge: None,
        clean,
    };
    LeafBytes(strict::to_vec(&leaf).expect("leaf"))
}

pub(crate) fn contain() -> Action {
    let policy = Policy {
        profile: Profile::Isolate,
        controllers: vec!["10.77.0.2:7443".parse().expect("address")],
        ..Policy::open()
    };
    Action::Contain { policy, allow_self_cut: false }
}

pub(crate) fn signed(payload_type: PayloadType, payload: Vec<u8>, signers: &[&Key]) -> Envelope {
    let mut envelope = Envelope { payload_type, payload, signatures: Vec::new() };
    signers.iter().for_each(|key| add(&mut envelope, key));
    envelope
}

pub(crate) fn add(envelope: &mut Envelope, key: &Key) {
    envelope.signatures.push(armour(envelope, key));
}

pub(crate) fn armour(envelope: &Envelope, key: &Key) -> String {
    sign(&key.private, envelope.payload_type, &envelope.payload).expect("signature")
}

pub(crate) fn host_signed<T: serde::Serialize>(
    payload_type: PayloadType,
    document: &T,
    key: &Key,
) -> Envelope {
    seal(&key.private, payload_type, strict::to_vec(document).expect("document")).expect("signature")
}
