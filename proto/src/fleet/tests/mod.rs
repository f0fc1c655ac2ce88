//! Tests of the fold, by the name of the attack or promise that they show.

mod orders;
mod properties;
mod verdicts;
mod views;

use ssh_key::PrivateKey;
use ssh_key::private::Ed25519Keypair;
use ssh_key::public::KeyData;

use crate::bundle::{LeafBytes, OrderBundle};
use crate::envelope::{Envelope, PayloadType};
use crate::fleet::view::HostView;
use crate::fleet::{Changed, Fleet, Ignored};
use crate::id::{Digest, HostId, Nonce, PersonId, UnixMillis};
use crate::key::PublicKey;
use crate::merkle;
use crate::order::{Action, Head, LeafV1, OrderV1, Target};
use crate::policy::{BlockList, OnLostManagement, Policy, Profile};
use crate::report::{Check, Clocks, HeartbeatV1, Level, Links, Outcome, Proofs, ReceiptV1, ReportV1};
use crate::sign::seal;
use crate::statement::{Assurance, Stated, StatementV1};
use crate::strict;
use crate::trust::{Class, InventoryHost, InventoryV1, Person, PersonKey, Role, RoleAssignment, RootV1};
use crate::trust_chain::Trust;
use crate::verify::verify_host;

/// The controller's clock when the tests begin.
const START: UnixMillis = UnixMillis(1_800_000_000_000);
const NONCE: Nonce = Nonce::from_bytes([7; 16]);
const BOOT: &str = "boot-1";

struct Key {
    private: PrivateKey,
    public: PublicKey,
}

fn key(number: u8) -> Key {
    let pair = Ed25519Keypair::from_seed(&[number; 32]);
    let public = PublicKey::from_data(KeyData::Ed25519(pair.public)).expect("key");
    Key { private: PrivateKey::from(pair), public }
}

fn host_key(index: u8) -> Key {
    key(100 + index)
}

fn id(index: u8) -> HostId {
    format!("srv-{index:03}").parse().expect("name")
}

fn people() -> Vec<(PersonId, Key)> {
    ["alice", "bruno", "carla"]
        .into_iter()
        .zip(1..)
        .map(|(n, k)| (n.parse().expect("name"), key(k)))
        .collect()
}

fn root(deployment_id: Option<Digest>, version: u64, without: &str) -> RootV1 {
    let people: Vec<_> = people().into_iter().filter(|(name, _)| name.as_str() != without).collect();
    let persons = people.iter().map(|(id, key)| Person {
        id: id.clone(),
        keys: vec![PersonKey { key: key.public.clone(), require_touch: false, require_pin: false }],
    });
    let assign = |role: Role| RoleAssignment {
        role,
        // Alice is no forensic analyst.
        persons: people
            .iter()
            .map(|(id, _)| id.clone())
            .filter(|id| role != Role::Forensic || id.as_str() != "alice")
            .collect(),
        threshold: u32::try_from(role.minimum().max(1)).expect("small"),
        disjoint_from: Vec::new(),
    };
    RootV1 {
        deployment_id,
        version,
        issued_at_ms: START,
        gen_epoch: 0,
        protocol_min: 1,
        persons: persons.collect(),
        roles: Role::ALL.into_iter().map(assign).collect(),
        controllers: Vec::new(),
        inventory_min_version: 0,
    }
}

fn signed<T: serde::Serialize>(payload_type: PayloadType, document: &T, signers: &[&Key]) -> Envelope {
    let payload = strict::to_vec(document).expect("json");
    let mut envelope = Envelope { payload_type, payload, signatures: Vec::new() };
    for key in signers {
        let one = seal(&key.private, payload_type, envelope.payload.clone()).expect("signed");
        envelope.signatures.extend(one.signatures);
    }
    envelope
}

fn clocks(boot: &str, boottime_ms: u64) -> Clocks {
    Clocks { wall_ms: START, boottime_ms, boot_id: boot.to_owned() }
}

fn proven() -> Proofs {
    let passed = || Check::Passed { detail: "as meant".to_owned(), at_ms: START };
    Proofs { read_back: passed(), probes: passed(), outside: Check::NotDone {}, management: passed() }
}

fn contain() -> Action {
    let policy = Policy {
        profile: Profile::Isolate,
        controllers: vec!["10.77.0.2:7443".parse().expect("address")],
        on_lost_management: OnLostManagement::Hold,
        ..Policy::open()
    };
    Action::Contain { policy, allow_self_cut: false }
}

/// A fleet and the hosts that speak to it.
struct World {
    fleet: Fleet,
    deployment: Digest,
    now: UnixMillis,
    chains: std::collections::BTreeMap<u8, Chain>,
}

#[derive(Clone)]
struct Chain {
    seq: u64,
    prev: Option<Digest>,
    boottime_ms: u64,
    boot: String,
}

impl World {
    /// A fleet of `hosts` enrolled hosts and one server without an agent, `srv-200`.
    fn new(hosts: u8) -> Self {
        let people = people();
        let root = signed(PayloadType::Root, &root(None, 1, ""), &[&people[0].1, &people[1].1]);
        let trust = Trust::initial(&root, &root.digest()).expect("root");
        let deployment = trust.deployment_id();
        let mut fleet = Fleet::default();
        fleet.set_trust(trust);
        let chains = std::collections::BTreeMap::new();
        let mut world = Self { fleet, deployment, now: START, chains };
        world.inventory(1, &(1..=hosts).collect::<Vec<_>>(), 1);
        world
    }

    fn inventory(&mut self, version: u64, hosts: &[u8], incarnation: u64) {
        let host = |index: u8, key: Option<Key>| InventoryHost {
            host_id: id(index),
            host_key: key.map(|key| key.public),
            incarnation,
            addresses: Vec::new(),
            labels: Vec::new(),
        };
        let mut listed: Vec<_> = hosts.iter().map(|index| host(*index, Some(host_key(*index)))).collect();
        listed.push(host(200, None));
        let inventory =
            InventoryV1 { deployment_id: self.deployment, version, issued_at_ms: START, hosts: listed };
        let envelope = signed(PayloadType::Inventory, &inventory, &[&people()[0].1]);
        let trust = self.fleet.trust().expect("root");
        let verified = trust.verify_inventory(&envelope).expect("inventory");
        self.fleet.set_inventory(verified);
    }

    fn chain(&mut self, index: u8) -> &mut Chain {
        let boot = BOOT.to_owned();
        self.chains.entry(index).or_insert(Chain { seq: 0, prev: None, boottime_ms: 0, boot })
    }

    /// The next report of a host, not yet heard.
    fn report(&mut self, index: u8, change: impl FnOnce(&mut ReportV1)) -> Envelope {
        let deployment_id = self.deployment;
        let chain = self.chain(index);
        chain.seq += 1;
        chain.boottime_ms += 10;
        let mut report = ReportV1 {
            deployment_id,
            host_id: id(index),
            seq: chain.seq,
            prev: chain.prev,
            clocks: clocks(&chain.boot, chain.boottime_ms),
            agent_version: "test".to_owned(),
            level: Level::L4,
            level_detail: Vec::new(),
            root_version: 1,
            root_digest: deployment_id,
            heads: Vec::new(),
            order_id: None,
            links: Links::Open,
            policy: Policy::open(),
            blocked: BlockList::default(),
            rules_meant: None,
            rules_observed: None,
            drift: Vec::new(),
            proofs: proven(),
            sessions_cut: 0,
            alarms: Vec::new(),
            challenge: None,
        };
        change(&mut report);
        let envelope = signed(PayloadType::Report, &report, &[&host_key(index)]);
        self.chain(index).prev = Some(envelope.digest());
        envelope
    }

    fn receipt(&mut self, index: u8, order: Digest, outcome: Outcome) -> Envelope {
        let deployment_id = self.deployment;
        let chain = self.chain(index);
        chain.seq += 1;
        chain.boottime_ms += 10;
        let receipt = ReceiptV1 {
            deployment_id,
            host_id: id(index),
            seq: chain.seq,
            prev: chain.prev,
            clocks: clocks(&chain.boot, chain.boottime_ms),
            order,
            order_id: None,
            outcome,
            remarks: Vec::new(),
            root_version: 1,
            challenge: None,
        };
        let envelope = signed(PayloadType::Receipt, &receipt, &[&host_key(index)]);
        self.chain(index).prev = Some(envelope.digest());
        envelope
    }

    fn heartbeat(&mut self, index: u8, links: Links, rules_hold: bool, echo: Nonce) -> HeartbeatV1 {
        let deployment_id = self.deployment;
        let chain = self.chain(index);
        chain.boottime_ms += 10;
        HeartbeatV1 {
            deployment_id,
            host_id: id(index),
            seq: chain.seq,
            head: chain.prev,
            clocks: clocks(&chain.boot, chain.boottime_ms),
            links,
            rules_hold,
            echo: Some(echo),
        }
    }

    /// A report or receipt arrives, signed by the host with this index.
    fn hear(&mut self, index: u8, envelope: &Envelope) -> Result<Changed, Ignored> {
        let key = host_key(index).public;
        if envelope.payload_type == PayloadType::Report {
            let report = verify_host::<ReportV1>(envelope, &key, self.deployment).expect("report");
            self.fleet.apply_report(&report, &key, self.now)
        } else {
            let receipt = verify_host::<ReceiptV1>(envelope, &key, self.deployment).expect("receipt");
            self.fleet.apply_receipt(&receipt, &key, self.now)
        }
    }

    fn hear_heartbeat(&mut self, index: u8, heartbeat: &HeartbeatV1) -> Result<Changed, Ignored> {
        let key = host_key(index);
        let envelope = signed(PayloadType::Heartbeat, heartbeat, &[&key]);
        let heartbeat = verify_host::<HeartbeatV1>(&envelope, &key.public, self.deployment).expect("beat");
        self.fleet.apply_heartbeat(&heartbeat, &key.public, NONCE, self.now)
    }

    /// A host reports its links and is heard.
    fn reports(&mut self, index: u8, links: Links) {
        let report = self.report(index, |report| report.links = links);
        self.hear(index, &report).expect("a newer report");
    }

    /// A host sends a sign of life and is heard.
    fn beats(&mut self, index: u8, links: Links, rules_hold: bool) {
        let heartbeat = self.heartbeat(index, links, rules_hold, NONCE);
        self.hear_heartbeat(index, &heartbeat).expect("a newer heartbeat");
    }

    fn host(&self, index: u8) -> HostView {
        self.fleet.host_view(&id(index), self.now).expect("in the inventory")
    }

    fn order(&self, number: u8, generation: u64, action: Action, hosts: &[u8]) -> OrderBundle {
        let leaf = |index: &u8| LeafV1 {
            host_id: id(*index),
            host_key: host_key(*index).public.fingerprint(),
            challenge: None,
            clean: None,
        };
        let leaves: Vec<LeafBytes> =
            hosts.iter().map(|index| LeafBytes(strict::to_vec(&leaf(index)).expect("leaf"))).collect();
        let order = OrderV1 {
            deployment_id: self.deployment,
            order_id: Nonce::from_bytes([number; 16]),
            root_version: 1,
            stream: action.stream(),
            gen_epoch: 0,
            generation,
            issued_at_ms: START,
            not_after_ms: START.plus(3_600_000),
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
        OrderBundle { order: signed(payload_type, &order, &[]), leaves, statements: Vec::new() }
    }

    /// A cut that Alice signed, sealed.
    fn cut(&mut self, number: u8, generation: u64, hosts: &[u8]) -> Digest {
        let mut bundle = self.order(number, generation, contain(), hosts);
        sign(&mut bundle.order, &people()[0].1);
        let offer = self.fleet.offer_order(&bundle).expect("acceptable");
        assert!(offer.seals());
        let digest = offer.digest();
        self.fleet.commit_order(offer);
        digest
    }

    fn statement(&self, index: u8, verdict: Stated, change: impl FnOnce(&mut StatementV1)) -> StatementV1 {
        let clean = verdict == Stated::Clean;
        let mut statement = StatementV1 {
            deployment_id: self.deployment,
            host_id: id(index),
            host_key: host_key(index).public.fingerprint(),
            incarnation: 1,
            boot_id: clean.then(|| BOOT.to_owned()),
            verdict,
            assurance: clean.then_some(Assurance::L2),
            observed_at_ms: self.now,
            issued_at_ms: self.now,
            valid_until_ms: self.now.plus(86_400_000),
            evidence: Vec::new(),
            reason: "examined".to_owned(),
        };
        change(&mut statement);
        statement
    }

    /// Takes a statement signed by these people (0 is Alice); says whether it is in force.
    fn state(&mut self, statement: &StatementV1, signers: &[usize]) -> bool {
        let payload_type =
            if statement.verdict == Stated::Clean { PayloadType::Clean } else { PayloadType::Suspect };
        let people = people();
        let keys: Vec<&Key> = signers.iter().map(|at| &people[*at].1).collect();
        let envelope = signed(payload_type, statement, &keys);
        let offer = self.fleet.offer_statement(&envelope).expect("acceptable");
        let digest = offer.digest();
        self.fleet.commit_statement(offer, self.now);
        self.fleet.statement(digest).expect("known").accepted
    }

    fn states(&mut self, index: u8, verdict: Stated) {
        let statement = self.statement(index, verdict, |_| {});
        assert!(self.state(&statement, &[0, 1]));
    }
}

fn sign(envelope: &mut Envelope, key: &Key) {
    let one = seal(&key.private, envelope.payload_type, envelope.payload.clone()).expect("signed");
    envelope.signatures.extend(one.signatures);
}

fn net_head(generation: u64) -> Head {
    Head { stream: crate::order::Stream::Net, gen_epoch: 0, generation }
}
