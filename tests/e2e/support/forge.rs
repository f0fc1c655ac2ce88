//! Orders made without the operator's command: signed by whichever keys a test has, and wrong in one place.

use std::path::Path;

use digue_proto::bundle::{LeafBytes, OrderBundle};
use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::frame::Delivery;
use digue_proto::order::{LeafV1, OrderV1, Target};
use digue_proto::{merkle, sign, strict};
use serde_json::Value;
use ssh_key::PrivateKey;

use super::Scene;

/// An order of a plan file, taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Forged {
    pub(crate) kind: PayloadType,
    pub(crate) order: OrderV1,
    pub(crate) leaves: Vec<LeafV1>,
    pub(crate) statements: Vec<Envelope>,
}

impl Forged {
    /// The order of a plan that `digue plan` wrote.
    pub(crate) fn from_plan(file: &Path) -> Self {
        let bytes = std::fs::read(file).expect("a plan");
        let mut plan: Value = serde_json::from_slice(&bytes).expect("a plan");
        let bundle: OrderBundle = serde_json::from_value(plan["frozen"].take()).expect("an order");
        Self::from_bundle(&bundle)
    }

    /// The order of a bundle.
    pub(crate) fn from_bundle(bundle: &OrderBundle) -> Self {
        let order = bundle.read_unverified().expect("an order");
        let leaves = bundle.targets(&order).expect("targets");
        Self { kind: bundle.order.payload_type, order, leaves, statements: bundle.statements.clone() }
    }

    /// The order with its targets bound anew, signed by the holders of these keys.
    pub(crate) fn bundle(&self, keys: &[&PrivateKey]) -> OrderBundle {
        let bytes = |leaf: &LeafV1| LeafBytes(strict::to_vec(leaf).expect("a leaf"));
        let leaves: Vec<LeafBytes> = self.leaves.iter().map(bytes).collect();
        let mut order = self.order.clone();
        order.target = Target::List { root: merkle::root(&leaves), count: leaves.len() as u64 };
        let payload = strict::to_vec(&order).expect("an order");
        let signatures =
            keys.iter().map(|key| sign::sign(key, self.kind, &payload).expect("signed")).collect();
        let order = Envelope { payload_type: self.kind, payload, signatures };
        OrderBundle { order, leaves, statements: self.statements.clone() }
    }

    /// What one host would be sent of it.
    pub(crate) fn delivery(&self, host: &str, keys: &[&PrivateKey]) -> Delivery {
        delivery(&self.bundle(keys), host)
    }

    /// One host's leaf.
    pub(crate) fn leaf(&mut self, host: &str) -> &mut LeafV1 {
        self.leaves.iter_mut().find(|leaf| leaf.host_id.as_str() == host).expect("a leaf")
    }
}

/// What one host would be sent of a bundle.
pub(crate) fn delivery(bundle: &OrderBundle, host: &str) -> Delivery {
    let order = bundle.read_unverified().expect("an order");
    let all = bundle.deliveries(&order).expect("deliveries");
    all.into_iter().find(|(id, _)| id.as_str() == host).expect("a delivery").1
}

impl Scene {
    /// A person's key.
    pub(crate) fn key(&self, person: &str) -> PrivateKey {
        read_key(&self.in_lab("people").join(person))
    }
}

/// A private key file.
pub(crate) fn read_key(file: &Path) -> PrivateKey {
    PrivateKey::read_openssh_file(file).expect("a private key")
}
