//! One deployment: its people, its trust root, its host `srv-001` and its clean statements.

use std::net::SocketAddr;

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::host::Identity;
use digue_proto::id::{Digest, HostId, UnixMillis};
use digue_proto::policy::{BlockList, OnLostManagement, Policy, Profile};
use digue_proto::report::Level;
use digue_proto::statement::{Assurance, Stated, StatementV1};
use digue_proto::strict;
use digue_proto::trust::{PROTOCOL_VERSION, Role, RoleAssignment, RootV1};
use digue_proto::trust_chain::Trust;
use ssh_key::PrivateKey;

use super::people::{key, person, public, seal_by};

/// Midnight of 2027-01-15, when every test begins.
pub(crate) const T0: u64 = 1_800_000_000_000;
/// A day in milliseconds.
pub(crate) const DAY: u64 = 86_400_000;
/// The boot in which every test begins.
pub(crate) const BOOT: &str = "0f6a7f5e-0000-4000-8000-000000000001";

/// A deployment with alice, bruno, claire (forensic) and denis.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) trust: Trust,
    pub(crate) first: Envelope,
    pub(crate) host: PrivateKey,
    pub(crate) identity: Identity,
}

fn role(role: Role, persons: &[&str], threshold: u32) -> RoleAssignment {
    let persons = persons.iter().map(|p| p.parse().expect("a person")).collect();
    RoleAssignment { role, persons, threshold, disjoint_from: Vec::new() }
}

/// The root of every test; alice and bruno also hold spare keys.
pub(crate) fn root_v1() -> RootV1 {
    let everyone = &["alice", "bruno", "claire", "denis"];
    RootV1 {
        deployment_id: None,
        version: 1,
        issued_at_ms: UnixMillis(T0 - 30 * DAY),
        gen_epoch: 0,
        protocol_min: PROTOCOL_VERSION,
        persons: vec![
            person("alice", &["alice", "alice-spare"]),
            person("bruno", &["bruno"]),
            person("claire", &["claire", "claire-spare"]),
            person("denis", &["denis"]),
        ],
        roles: vec![
            role(Role::Root, &["alice", "bruno", "claire"], 2),
            role(Role::Inventory, &["alice", "bruno"], 1),
            role(Role::Query, everyone, 1),
            role(Role::Protect, everyone, 1),
            role(Role::Release, &["alice", "bruno", "denis"], 2),
            role(Role::Clean, &["bruno", "claire", "denis"], 2),
            role(Role::Suspect, everyone, 1),
            role(Role::Forensic, &["claire"], 1),
        ],
        controllers: Vec::new(),
        inventory_min_version: 1,
    }
}

/// Any root in an envelope signed by these keys.
pub(crate) fn seal_root(root: &RootV1, names: &[&str]) -> Envelope {
    seal_by(PayloadType::Root, strict::to_vec(root).expect("JSON"), names)
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_root(&root_v1())
    }

    /// A deployment that begins with another root, signed by alice and bruno.
    pub(crate) fn with_root(root: &RootV1) -> Self {
        let first = seal_root(root, &["alice", "bruno"]);
        let trust = Trust::initial(&first, &first.digest()).expect("the first root");
        let host = key("srv-001");
        let identity = Identity {
            host_id: host_id(),
            host_key: public(&host),
            controllers: vec![controller()],
            agent_version: "0.1.0".to_owned(),
            level: Level::L4,
            level_detail: Vec::new(),
            built_at_ms: UnixMillis(T0 - 60 * DAY),
        };
        Self { trust, first, host, identity }
    }

    pub(crate) fn deployment(&self) -> Digest {
        self.trust.deployment_id()
    }

    /// The next root after the first, changed by the test, and signed by these keys.
    pub(crate) fn next_root(&self, names: &[&str], change: impl FnOnce(&mut RootV1)) -> Envelope {
        let mut root = self.trust.root().clone();
        root.version += 1;
        root.deployment_id = Some(self.deployment());
        root.issued_at_ms = UnixMillis(T0 - DAY);
        change(&mut root);
        seal_root(&root, names)
    }

    /// A clean statement about `srv-001` in the boot where tests begin.
    pub(crate) fn statement(&self) -> StatementV1 {
        StatementV1 {
            deployment_id: self.deployment(),
            host_id: host_id(),
            host_key: public(&self.host).fingerprint(),
            incarnation: 1,
            boot_id: Some(BOOT.to_owned()),
            verdict: Stated::Clean,
            assurance: Some(Assurance::L2),
            observed_at_ms: UnixMillis(T0 - 2_000),
            issued_at_ms: UnixMillis(T0 - 1_000),
            valid_until_ms: UnixMillis(T0 + DAY),
            evidence: Vec::new(),
            reason: "examined from a trusted medium".to_owned(),
        }
    }

    /// The clean statement signed by these keys.
    pub(crate) fn clean(&self, names: &[&str]) -> Envelope {
        self.clean_with(names, |_| {})
    }

    pub(crate) fn clean_with(&self, names: &[&str], change: impl FnOnce(&mut StatementV1)) -> Envelope {
        let mut statement = self.statement();
        change(&mut statement);
        seal_by(PayloadType::Clean, strict::to_vec(&statement).expect("JSON"), names)
    }
}

pub(crate) fn host_id() -> HostId {
    "srv-001".parse().expect("a host name")
}

pub(crate) fn controller() -> SocketAddr {
    "10.77.0.2:7443".parse().expect("an address")
}

/// The ordinary cut: controllers and internal networks stay open.
pub(crate) fn cut_policy() -> Policy {
    Policy {
        profile: Profile::Cut,
        controllers: vec![controller()],
        internal: vec!["10.77.0.0/16".parse().expect("a network")],
        exceptions: Vec::new(),
        on_lost_management: OnLostManagement::Hold,
    }
}

/// The cut that closes the internal networks too.
pub(crate) fn isolate_policy() -> Policy {
    Policy { profile: Profile::Isolate, internal: Vec::new(), ..cut_policy() }
}

pub(crate) fn block_list(networks: &[&str]) -> BlockList {
    BlockList { networks: networks.iter().map(|n| n.parse().expect("a network")).collect() }
}
