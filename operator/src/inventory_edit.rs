//! Changing the signed inventory: the next version is made here, read by a person, signed, and only then
//! handed to the controller.

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::strict;
use digue_proto::trust::{Class, InventoryV1};
use digue_proto::trust_chain::Trust;
use digue_proto::verify::VerifyError;

use crate::app::{App, Session};
use crate::message::{Message, msg};
use crate::problem::{OrProblem as _, Outcome, Problem};
use crate::time;

/// The version after `current`, with the same hosts.
pub(crate) fn next(current: Option<&InventoryV1>, trust: &Trust) -> InventoryV1 {
    let version = current.map_or(0, |inventory| inventory.version).saturating_add(1);
    InventoryV1 {
        deployment_id: trust.deployment_id(),
        version: version.max(trust.root().inventory_min_version),
        issued_at_ms: time::now(),
        hosts: current.map_or_else(Vec::new, |inventory| inventory.hosts.clone()),
    }
}

/// Confirms, signs and posts an inventory. `changed` is the number that is asked for.
pub(crate) async fn submit(
    app: &App,
    session: &Session,
    mut inventory: InventoryV1,
    signers: &[String],
    question: &Message,
    changed: usize,
) -> Outcome<()> {
    let refused = || Problem::new("E0647", msg!("inventory-refused"));
    inventory.hosts.sort_by(|a, b| a.host_id.cmp(&b.host_id));
    for host in &mut inventory.hosts {
        host.addresses.sort_unstable();
        host.addresses.dedup();
        host.labels.sort_unstable();
        host.labels.dedup();
    }
    inventory.validate().map_err(|rule| refused().because(rule))?;
    let keys = session.keys(app, signers)?;
    app.confirm_count(question, changed)?;
    let payload = strict::to_vec(&inventory).or_problem(refused)?;
    let mut envelope = Envelope { payload_type: PayloadType::Inventory, payload, signatures: Vec::new() };
    app.add_signatures(&mut envelope, &keys, session.trust.root(), |e| {
        session.trust.tally(e, Class::Inventory)
    })
    .await?;
    match session.trust.verify_inventory(&envelope) {
        Ok(_) => {}
        Err(VerifyError::Threshold { have, need, .. }) => {
            return Err(Problem::new("E0633", msg!("signatures-repeat", have = have, need = need)));
        }
        Err(error) => return Err(refused().because(error)),
    }
    session.client.submit("/api/v1/inventory", &envelope).await?;
    app.note(&msg!("inventory-accepted", version = inventory.version, count = inventory.hosts.len()));
    Ok(())
}
