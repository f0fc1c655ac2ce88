//! The fleet as folded from verified documents: what a view may show, and nothing more.
//!
//! No clock, no store, no network: times are arguments, and whoever calls makes documents durable before
//! they are folded in. A change that people sign is first *offered* (checked, nothing changed) and then
//! *committed*. Deliberately absent: any way to set a host's state other than a document that the host
//! signed.

mod chain;
mod host;
mod orders;
mod project;
mod statements;
mod unsealed;
pub mod view;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::bundle::OrderBundle;
use crate::envelope::Envelope;
use crate::fleet::host::HostState;
use crate::fleet::orders::Orders;
use crate::fleet::statements::Statements;
use crate::id::{Digest, HostId, Nonce, OrderId, UnixMillis};
use crate::key::PublicKey;
use crate::report::{HeartbeatV1, Outcome, ReceiptV1, ReportV1};
use crate::trust::{InventoryHost, InventoryV1};
use crate::trust_chain::Trust;
use crate::verify::Verified;

pub use host::Ignored;
pub use orders::{OrderEntry, OrderOffer, OrderRefused, Parts, action_word};
pub use project::summarise;
pub use statements::{StatementEntry, StatementOffer, StatementRefused};

/// What a document changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Changed {
    /// The host's tile may look different.
    pub host: bool,
    /// The order that the document answers may look different.
    pub order: Option<OrderId>,
}

/// Everything known of a deployment.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    trust: Option<Trust>,
    inventory: Option<Verified<InventoryV1>>,
    hosts: BTreeMap<HostId, HostState>,
    statements: Statements,
    orders: Orders,
}

impl Fleet {
    /// Takes a trust root that was accepted as the first or next one.
    pub fn set_trust(&mut self, trust: Trust) {
        self.statements.judge_again(&trust);
        self.trust = Some(trust);
    }

    /// The trust root in force.
    pub const fn trust(&self) -> Option<&Trust> {
        self.trust.as_ref()
    }

    /// Takes a newer inventory. A host that keeps its key and incarnation keeps its state; a rebuilt one
    /// begins anew; one that is gone is forgotten.
    pub fn set_inventory(&mut self, inventory: Verified<InventoryV1>) {
        let mut before = std::mem::take(&mut self.hosts);
        let carried = inventory.value().hosts.iter().map(|host| {
            let state = HostState::carried_over(before.remove(&host.host_id), host);
            (host.host_id.clone(), state)
        });
        self.hosts = carried.collect();
        self.inventory = Some(inventory);
    }

    /// The inventory in force.
    pub const fn inventory(&self) -> Option<&Verified<InventoryV1>> {
        self.inventory.as_ref()
    }

    fn inventory_host(&self, id: &HostId) -> Option<&InventoryHost> {
        self.inventory.as_ref()?.value().host(id)
    }

    fn host_of(&mut self, id: &HostId, by: &PublicKey) -> Result<&mut HostState, Ignored> {
        let host = self.hosts.get_mut(id).ok_or(Ignored::NotInInventory)?;
        host.check_key(by)?;
        Ok(host)
    }

    /// Folds in a report that verified under `by`, received at `at` by the controller's clock.
    ///
    /// # Errors
    /// [`Ignored`] if it changes nothing, and why.
    pub fn apply_report(
        &mut self,
        report: &Verified<ReportV1>,
        by: &PublicKey,
        at: UnixMillis,
    ) -> Result<Changed, Ignored> {
        self.host_of(&report.value().host_id, by)?.take_report(report, at)?;
        Ok(Changed { host: true, order: None })
    }

    /// Folds in a receipt that verified under `by`.
    ///
    /// A receipt that came late changes no host, but may still be the newest of its order.
    ///
    /// # Errors
    /// [`Ignored`] if it changes nothing, and why.
    pub fn apply_receipt(
        &mut self,
        receipt: &Verified<ReceiptV1>,
        by: &PublicKey,
        at: UnixMillis,
    ) -> Result<Changed, Ignored> {
        let value = receipt.value();
        let host = self.host_of(&value.host_id, by)?;
        let folded = host.take_receipt(receipt, at);
        if let Err(Ignored::Fork(_)) = folded {
            return folded.map(|()| Changed::default());
        }
        let answers = self.orders.take_receipt(by, value, at);
        if let (false, Ok(()), Outcome::Refused { code, detail }) = (answers, &folded, &value.outcome) {
            let order = value.order.short();
            self.remark(
                &value.host_id,
                &format!("order_refused: {code}, order with digest {order} not sent from here: {detail}"),
            );
        }
        let order = self.orders.entry(value.order).filter(|_| answers).map(|e| e.order().order_id);
        match folded {
            Err(ignored) if order.is_none() => Err(ignored),
            Err(_) => Ok(Changed { host: true, order }),
            Ok(()) => Ok(Changed { host: true, order }),
        }
    }

    /// Folds in a heartbeat that verified under `by`; `given` is the nonce of the connection that it
    /// came by, so that an old one is told from a new one.
    ///
    /// # Errors
    /// [`Ignored`] if it changes nothing, and why.
    pub fn apply_heartbeat(
        &mut self,
        heartbeat: &Verified<HeartbeatV1>,
        by: &PublicKey,
        given: Nonce,
        at: UnixMillis,
    ) -> Result<Changed, Ignored> {
        let value = heartbeat.value();
        self.host_of(&value.host_id, by)?.take_heartbeat(heartbeat, given, at)?;
        Ok(Changed { host: true, order: None })
    }

    /// Records something that the controller noticed about a host's connections.
    pub fn remark(&mut self, host: &HostId, text: &str) {
        if let Some(state) = self.hosts.get_mut(host) {
            state.remark(text.to_owned());
        }
    }

    /// The newest report of a host, for showing.
    pub fn report(&self, host: &HostId) -> Option<&Verified<ReportV1>> {
        self.hosts.get(host)?.report()
    }

    /// The latest heartbeat of a host, as long as no newer report came: what the row shows beyond the report.
    pub fn heartbeat(&self, host: &HostId) -> Option<&Verified<HeartbeatV1>> {
        self.hosts.get(host)?.beat()
    }

    /// Checks an order with however many signatures it has.
    ///
    /// # Errors
    /// [`OrderRefused`] with the reason; nothing was changed.
    pub fn offer_order(&self, bundle: &OrderBundle) -> Result<OrderOffer, OrderRefused> {
        self.orders.offer(bundle, self.trust.as_ref().ok_or(OrderRefused::NoRoot)?)
    }

    /// Checks one more signature for an order.
    ///
    /// # Errors
    /// [`OrderRefused`] with the reason; nothing was changed.
    pub fn offer_order_signature(&self, id: OrderId, armour: &str) -> Result<OrderOffer, OrderRefused> {
        self.orders.offer_signature(id, armour, self.trust.as_ref().ok_or(OrderRefused::NoRoot)?)
    }

    /// Takes an order that was offered.
    pub fn commit_order(&mut self, offer: OrderOffer) {
        self.orders.commit(offer, self.inventory.as_ref().map(Verified::value));
    }

    /// Whether an order may be withdrawn, and its digest.
    ///
    /// # Errors
    /// [`OrderRefused`] with the reason.
    pub fn check_cancel(&self, id: OrderId) -> Result<Digest, OrderRefused> {
        self.orders.check_cancel(id)
    }

    /// Withdraws an order that still awaits signatures.
    pub fn cancel_order(&mut self, digest: Digest) {
        self.orders.cancel(digest);
    }

    /// Records that an order was written to a connection, which proves nothing. Says whether it is news.
    pub fn note_sent(&mut self, order: Digest, host: &HostId, at: UnixMillis) -> bool {
        self.orders.note_sent(order, host, at)
    }

    /// Every order, oldest first.
    pub fn orders(&self) -> impl DoubleEndedIterator<Item = (Digest, &OrderEntry)> {
        self.orders.iter()
    }

    /// Sealed orders that a host with this key has not confirmed in any way, oldest first.
    pub fn open_orders(&self, host: &HostId, key: &PublicKey) -> impl Iterator<Item = (Digest, &OrderEntry)> {
        self.orders.open(host, key)
    }

    /// An order by its digest.
    pub fn order(&self, digest: Digest) -> Option<&OrderEntry> {
        self.orders.entry(digest)
    }

    /// An order by its name.
    pub fn order_by_name(&self, id: OrderId) -> Option<&OrderEntry> {
        self.orders.by_name(id)
    }

    /// Checks a statement with however many signatures it has.
    ///
    /// # Errors
    /// [`StatementRefused`] with the reason; nothing was changed.
    pub fn offer_statement(&self, envelope: &Envelope) -> Result<StatementOffer, StatementRefused> {
        self.statements.offer(envelope, self.trust.as_ref().ok_or(StatementRefused::NoRoot)?)
    }

    /// Checks one more signature for a statement.
    ///
    /// # Errors
    /// [`StatementRefused`] with the reason; nothing was changed.
    pub fn offer_statement_signature(
        &self,
        digest: Digest,
        armour: &str,
    ) -> Result<StatementOffer, StatementRefused> {
        let trust = self.trust.as_ref().ok_or(StatementRefused::NoRoot)?;
        self.statements.offer_signature(digest, armour, trust)
    }

    /// Takes a statement that was offered, received at `at`.
    pub fn commit_statement(&mut self, offer: StatementOffer, at: UnixMillis) {
        self.statements.commit(offer, at);
    }

    /// Every statement, oldest first.
    pub fn statements(&self) -> impl Iterator<Item = (Digest, &StatementEntry)> {
        self.statements.entries()
    }

    /// A statement by its digest.
    pub fn statement(&self, digest: Digest) -> Option<&StatementEntry> {
        self.statements.entry(digest)
    }
}
