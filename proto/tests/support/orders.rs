//! Orders for tests: each begins right, and the test makes one thing wrong.

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::frame::Delivery;
use digue_proto::id::{Challenge, OrderId, UnixMillis};
use digue_proto::merkle;
use digue_proto::order::{Action, LeafV1, OrderV1, Stream, Target, TargetProof};
use digue_proto::policy::{BlockList, OnLostManagement, Policy};
use digue_proto::strict;
use digue_proto::trust::Class;

use super::people::{key, public, seal_by};
use super::world::{DAY, T0, World, cut_policy, host_id};

/// An order and its signers, before sealing.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) order: OrderV1,
    /// This host's leaf; without one the order is for all.
    pub(crate) leaf: Option<LeafV1>,
    pub(crate) statement: Option<Envelope>,
    pub(crate) kind: PayloadType,
    pub(crate) signers: Vec<String>,
}

impl World {
    /// Any order, signed as its class asks.
    pub(crate) fn order(&self, generation: u64, action: Action) -> Draft {
        let class = action.class();
        let (kind, signers): (_, &[&str]) = match class {
            Class::Query => (PayloadType::Query, &["denis"]),
            Class::Protect => (PayloadType::Protect, &["alice"]),
            Class::Release | Class::Root | Class::Inventory | Class::Clean | Class::Suspect => {
                (PayloadType::Release, &["alice", "bruno"])
            }
        };
        let stream = action.stream();
        let mut id = [0u8; 16];
        id[..8].copy_from_slice(&generation.to_be_bytes());
        id[15] = match stream {
            Stream::Net => 0,
            Stream::Block => 1,
            Stream::Query => 2,
        };
        let order = OrderV1 {
            deployment_id: self.deployment(),
            order_id: OrderId::from_bytes(id),
            root_version: 1,
            stream,
            gen_epoch: 0,
            generation,
            issued_at_ms: UnixMillis(T0),
            not_after_ms: UnixMillis(T0 + DAY),
            incident: "exercise".to_owned(),
            action,
            target: Target::All {},
            heads: Vec::new(),
            reason: "a test".to_owned(),
        };
        let signers = signers.iter().map(|s| (*s).to_owned()).collect();
        Draft { order, leaf: None, statement: None, kind, signers }
    }

    pub(crate) fn contain(&self, generation: u64, policy: Policy) -> Draft {
        self.order(generation, Action::Contain { policy, allow_self_cut: false })
    }

    /// The ordinary cut, signed by alice.
    pub(crate) fn cut(&self, generation: u64) -> Draft {
        self.contain(generation, cut_policy())
    }

    /// A containment of an open host that reopens by itself, signed by two.
    pub(crate) fn drill(&self, generation: u64, seconds: u32, challenge: Challenge) -> Draft {
        let policy = Policy { on_lost_management: OnLostManagement::ReopenAfter(seconds), ..cut_policy() };
        self.contain(generation, policy).challenged(challenge)
    }

    /// A release with its clean statement, signed by two.
    pub(crate) fn release(&self, generation: u64, challenge: Challenge) -> Draft {
        let draft = self.order(generation, Action::Release { without_verdict: false });
        draft.challenged(challenge).vouched(self.clean(&["bruno", "claire"]))
    }

    pub(crate) fn adjust(&self, generation: u64, policy: Policy, challenge: Challenge) -> Draft {
        self.order(generation, Action::Adjust { policy }).challenged(challenge)
    }

    pub(crate) fn block(&self, generation: u64, blocked: BlockList) -> Draft {
        self.order(generation, Action::Block { blocked })
    }

    pub(crate) fn unblock(&self, generation: u64, blocked: BlockList, challenge: Challenge) -> Draft {
        self.order(generation, Action::Unblock { blocked }).challenged(challenge)
    }
}

impl Draft {
    pub(crate) fn by(mut self, names: &[&str]) -> Self {
        self.signers = names.iter().map(|n| (*n).to_owned()).collect();
        self
    }

    pub(crate) fn edit(mut self, change: impl FnOnce(&mut OrderV1)) -> Self {
        change(&mut self.order);
        self
    }

    /// Signs under another type, and so another namespace, than the action's own.
    pub(crate) fn typed(mut self, kind: PayloadType) -> Self {
        self.kind = kind;
        self
    }

    /// Addresses this host by name, with this challenge.
    pub(crate) fn challenged(mut self, challenge: Challenge) -> Self {
        self.leaf = Some(LeafV1 { challenge: Some(challenge), ..self.leaf.unwrap_or_else(own_leaf) });
        self
    }

    pub(crate) fn with_leaf(mut self, change: impl FnOnce(&mut LeafV1)) -> Self {
        let mut leaf = self.leaf.take().unwrap_or_else(own_leaf);
        change(&mut leaf);
        self.leaf = Some(leaf);
        self
    }

    /// Relies on this clean statement.
    pub(crate) fn vouched(mut self, statement: Envelope) -> Self {
        let clean = Some(statement.digest());
        self.leaf = Some(LeafV1 { clean, ..self.leaf.unwrap_or_else(own_leaf) });
        self.statement = Some(statement);
        self
    }

    /// The signed order with this host's part of its target list, between two other hosts' parts.
    pub(crate) fn deliver(&self) -> Delivery {
        let mut order = self.order.clone();
        let target = self.leaf.as_ref().map(|leaf| {
            let other = |name: &str| LeafV1 {
                host_id: name.parse().expect("a host name"),
                host_key: public(&key(name)).fingerprint(),
                ..leaf.clone()
            };
            let leaves: Vec<Vec<u8>> = [other("srv-000"), leaf.clone(), other("srv-002")]
                .iter()
                .map(|leaf| strict::to_vec(leaf).expect("JSON"))
                .collect();
            order.target = Target::List { root: merkle::root(&leaves), count: 3 };
            TargetProof { leaf: leaves[1].clone(), proof: merkle::proofs(&leaves)[1].clone() }
        });
        let payload = strict::to_vec(&order).expect("JSON");
        let names: Vec<&str> = self.signers.iter().map(String::as_str).collect();
        Delivery { order: seal_by(self.kind, payload, &names), target, statement: self.statement.clone() }
    }

    /// The envelope alone.
    pub(crate) fn envelope(&self) -> Envelope {
        self.deliver().order
    }
}

fn own_leaf() -> LeafV1 {
    LeafV1 {
        host_id: host_id(),
        host_key: public(&key("srv-001")).fingerprint(),
        challenge: None,
        clean: None,
    }
}
