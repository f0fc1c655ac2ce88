//! What people sign: roots, inventories, orders, statements. Checked, stored, folded in, sent on.
//!
//! One at a time, so that the store holds them in the order in which they were judged.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use digue_proto::bundle::OrderBundle;
use digue_proto::envelope::Envelope;
use digue_proto::fleet::view::OrderView;
use digue_proto::fleet::{OrderOffer, OrderRefused, StatementEntry, StatementOffer, StatementRefused};
use digue_proto::frame::FrameError;
use digue_proto::id::{Digest, OrderId};
use digue_proto::key::Fingerprint;
use digue_proto::limits::MAX_GENERATION_JUMP;
use digue_proto::strict::StrictError;
use digue_proto::trust_chain::{Trust, TrustError};
use digue_proto::verify::{Verified, VerifyError};

use crate::clock;
use crate::controller::Controller;
use crate::dispatch::{Deliveries, root_frames};
use crate::documents::HostDocument;
use crate::hub::Outgoing;
use crate::replay::{fingerprints_of, keys_of};
use crate::store::{Attachment, NewEnvelope, Record, StoreError};

/// Why a signed document is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAccepted {
    /// A trust root.
    #[error(transparent)]
    Root(#[from] TrustError),
    /// An inventory.
    #[error(transparent)]
    Inventory(#[from] VerifyError),
    /// An inventory that is not newer.
    #[error("inventory version {found} does not follow {held}: it is not newer, or jumps too far ahead")]
    InventoryNotNewer {
        /// Offered.
        found: u64,
        /// In force.
        held: u64,
    },
    /// No trust root is known yet.
    #[error("no trust root is known yet")]
    NoRoot,
    /// An order.
    #[error(transparent)]
    Order(#[from] OrderRefused),
    /// A statement.
    #[error(transparent)]
    Statement(#[from] StatementRefused),
    /// Something that cannot be written down or sent.
    #[error(transparent)]
    Form(#[from] StrictError),
    /// A frame that would be too long.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A document that was taken, and whether it was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Its version.
    pub(crate) version: u64,
    /// Its digest.
    pub(crate) digest: Digest,
    /// Whether it was new.
    pub(crate) new: bool,
}

/// An envelope that people signed, as a record.
pub(crate) fn record(envelope: &Envelope, attachment: Option<Vec<u8>>) -> Result<Record, StrictError> {
    Ok(Record::Envelope(NewEnvelope {
        kind: envelope.payload_type,
        digest: envelope.digest(),
        host: None,
        envelope: envelope.to_json()?,
        attachment,
        received_at: clock::now(),
        once: false,
        answers: None,
    }))
}

impl Controller {
    /// Takes a trust root: the first one as it comes, later ones by the chain. The controller obeys
    /// nobody, so it needs no pin to start with; agents pin for themselves.
    ///
    /// # Errors
    /// [`NotAccepted`] with the reason.
    pub(crate) async fn accept_root(&self, root: Envelope) -> Result<Accepted, NotAccepted> {
        let _order = self.authority.lock().await;
        let digest = root.digest();
        let trust = {
            let state = self.read();
            if let Some(at) = state.roots.iter().position(|known| known.digest() == digest) {
                return Ok(Accepted { version: at as u64 + 1, digest, new: false });
            }
            match state.fleet.trust() {
                None => Trust::initial(&root, &digest)?,
                Some(trust) => trust.next(&root)?,
            }
        };
        let frames = root_frames(std::slice::from_ref(&root))?;
        self.writer.append(vec![record(&root, None)?]).await?;
        let version = trust.version();
        if !trust.root().controllers.iter().any(|c| c.spki_sha256 == self.pin) {
            tracing::warn!(pin = %self.pin, "the trust root does not name this controller's key");
        }
        {
            let mut state = self.write();
            state.fleet.set_trust(trust);
            state.roots.push(root);
        }
        frames.iter().for_each(|frame| self.hub.broadcast(frame));
        tracing::info!(version, %digest, "a trust root was accepted");
        Ok(Accepted { version, digest, new: true })
    }

    /// Takes a newer inventory.
    ///
    /// # Errors
    /// [`NotAccepted`] with the reason.
    pub(crate) async fn accept_inventory(&self, inventory: &Envelope) -> Result<Accepted, NotAccepted> {
        let _order = self.authority.lock().await;
        let verified = {
            let state = self.read();
            let verified = state.fleet.trust().ok_or(NotAccepted::NoRoot)?.verify_inventory(inventory)?;
            let (version, digest) = (verified.value().version, verified.digest());
            match state.fleet.inventory() {
                Some(held) if held.digest() == digest => return Ok(Accepted { version, digest, new: false }),
                // One key must not be able to use up the numbers: a jump is bounded as for orders (A5).
                held => {
                    let held = held.map_or(0, |held| held.value().version);
                    if version <= held || version - held > MAX_GENERATION_JUMP {
                        return Err(NotAccepted::InventoryNotNewer { found: version, held });
                    }
                    verified
                }
            }
        };
        self.writer.append(vec![record(inventory, None)?]).await?;
        let accepted = Accepted { version: verified.value().version, digest: verified.digest(), new: true };
        self.put_in_force(verified).await;
        tracing::info!(version = accepted.version, digest = %accepted.digest, "an inventory was accepted");
        Ok(accepted)
    }

    async fn put_in_force(&self, inventory: Verified<digue_proto::trust::InventoryV1>) {
        let version = inventory.value().version;
        let settled: Vec<Fingerprint> = {
            let mut state = self.write();
            state.fleet.set_inventory(inventory);
            state.keys = keys_of(&state.fleet);
            fingerprints_of(&state.fleet).into_iter().collect()
        };
        let keys = self.read().keys.clone();
        self.hub.keep_only(|host, key| keys.get(key) == Some(host));
        self.inventory_version.send_replace(version);
        self.changes.inventory(version);
        let gone: Vec<Record> = {
            let mut room = self.enrolments();
            settled.into_iter().filter(|key| room.remove(key)).map(Record::EnrolmentGone).collect()
        };
        if !gone.is_empty()
            && let Err(error) = self.writer.append(gone).await
        {
            // They are dropped at the next start, because the inventory names them.
            tracing::warn!(%error, "settled enrolment requests stay in the database");
        }
    }

    /// Takes an order with however many signatures it has; sends it on when they suffice.
    ///
    /// # Errors
    /// [`NotAccepted`] with the reason.
    pub(crate) async fn accept_order(
        self: &Arc<Self>,
        bundle: &OrderBundle,
    ) -> Result<(OrderView, bool), NotAccepted> {
        let order = self.authority.lock().await;
        let offer = self.read().fleet.offer_order(bundle)?;
        let new = offer.new;
        let view = self.take_order(offer).await?;
        drop(order);
        Ok((view, new))
    }

    /// Adds a signature to an order.
    ///
    /// # Errors
    /// [`NotAccepted`] with the reason.
    pub(crate) async fn sign_order(
        self: &Arc<Self>,
        id: OrderId,
        armour: &str,
    ) -> Result<OrderView, NotAccepted> {
        let _order = self.authority.lock().await;
        let offer = self.read().fleet.offer_order_signature(id, armour)?;
        self.take_order(offer).await
    }

    async fn take_order(self: &Arc<Self>, offer: OrderOffer) -> Result<OrderView, NotAccepted> {
        let (digest, id, seals) = (offer.digest(), offer.order_id(), offer.seals());
        if offer.changes {
            let bundle = offer.bundle();
            let attachment = if offer.new {
                let attachment =
                    Attachment { leaves: bundle.leaves.clone(), statements: bundle.statements.clone() };
                Some(digue_proto::strict::to_vec(&attachment)?)
            } else {
                None
            };
            self.writer.append(vec![record(&bundle.order, attachment)?]).await?;
            self.write().fleet.commit_order(offer);
            self.changes.order(digest);
        }
        if seals {
            let began = Instant::now();
            self.metrics.sealed(digest, began);
            let queued = self.dispatch(digest)?;
            tracing::info!(%id, %digest, queued, took = ?began.elapsed(), "an order is signed and on its way");
            self.fold_earlier_receipts(digest).await?;
        }
        let unknown = NotAccepted::Order(OrderRefused::Unknown(id));
        let view = self.read().fleet.order_view(digest);
        view.ok_or(unknown)
    }

    /// Queues an order for every connected host that it is for and that has not confirmed it.
    ///
    /// # Errors
    /// [`NotAccepted::Frame`] if a delivery would be too long.
    pub(crate) fn dispatch(&self, digest: Digest) -> Result<usize, NotAccepted> {
        let now = Instant::now();
        let state = self.read();
        let Some(entry) = state.fleet.order(digest) else { return Ok(0) };
        let deliveries = Deliveries::of(entry)?;
        let mut queued = 0;
        for (host, key) in self.hub.connected() {
            if entry.awaits(&host, &key)
                && self.hub.wants(&host, digest, now)
                && let Some(frame) = deliveries.frame(&host)?
                && self.hub.offer(&host, Outgoing { frame, order: Some(digest) }, now)
            {
                queued += 1;
            }
        }
        Ok(queued)
    }

    /// Sends again what was sent and not answered, and what found a full queue.
    pub(crate) fn dispatch_again(&self) {
        let connected = self.hub.connected();
        let open: BTreeSet<Digest> = {
            let state = self.read();
            let open_of = |(host, key)| state.fleet.open_orders(host, key).map(|(digest, _)| digest);
            connected.iter().map(|(host, key)| (host, key)).flat_map(open_of).collect()
        };
        for digest in open {
            if let Err(error) = self.dispatch(digest) {
                tracing::error!(%digest, %error, "an order cannot be sent");
            }
        }
    }

    /// Receipts for an order can be here before it (a courier carried it); they count.
    async fn fold_earlier_receipts(self: &Arc<Self>, order: Digest) -> Result<(), StoreError> {
        let stored = self.query(move |store| store.receipts_of(order)).await?;
        for receipt in stored {
            let found = {
                let state = self.read();
                let host = receipt.host.as_ref().and_then(|h| state.fleet.inventory()?.value().host(h));
                let key = host.and_then(|h| Some((h.host_id.clone(), h.host_key.clone()?)));
                key.zip(state.fleet.trust().map(Trust::deployment_id))
            };
            let envelope = Envelope::from_json(&receipt.envelope);
            if let (Some(((host, key), deployment)), Ok(envelope)) = (found, envelope)
                && let Ok(document) = HostDocument::verify(&envelope, &key, deployment)
            {
                self.fold(&document, &host, &key, receipt.received_at);
            }
        }
        Ok(())
    }

    /// Withdraws an order that still awaits signatures.
    ///
    /// # Errors
    /// [`NotAccepted`] with the reason.
    pub(crate) async fn cancel_order(&self, id: OrderId) -> Result<OrderView, NotAccepted> {
        let _order = self.authority.lock().await;
        let digest = self.read().fleet.check_cancel(id)?;
        self.writer.append(vec![Record::Cancelled { order: digest, at: clock::now() }]).await?;
        self.write().fleet.cancel_order(digest);
        self.changes.order(digest);
        tracing::info!(%id, "an order was cancelled");
        let view = self.read().fleet.order_view(digest);
        view.ok_or(NotAccepted::Order(OrderRefused::Unknown(id)))
    }

    /// Takes a statement with however many signatures it has.
    ///
    /// # Errors
    /// [`NotAccepted`] with the reason.
    pub(crate) async fn accept_statement(
        &self,
        statement: &Envelope,
    ) -> Result<(Digest, StatementEntry), NotAccepted> {
        let _order = self.authority.lock().await;
        let offer = self.read().fleet.offer_statement(statement)?;
        self.take_statement(offer).await
    }

    /// Adds a signature to a statement.
    ///
    /// # Errors
    /// [`NotAccepted`] with the reason.
    pub(crate) async fn sign_statement(
        &self,
        digest: Digest,
        armour: &str,
    ) -> Result<(Digest, StatementEntry), NotAccepted> {
        let _order = self.authority.lock().await;
        let offer = self.read().fleet.offer_statement_signature(digest, armour)?;
        self.take_statement(offer).await
    }

    async fn take_statement(&self, offer: StatementOffer) -> Result<(Digest, StatementEntry), NotAccepted> {
        let (digest, host) = (offer.digest(), offer.host().clone());
        if offer.changes {
            self.writer.append(vec![record(offer.envelope(), None)?]).await?;
            self.write().fleet.commit_statement(offer, clock::now());
            self.changes.host(&host);
            tracing::info!(%host, %digest, "a statement was taken");
        }
        let entry = self.read().fleet.statement(digest).cloned();
        entry.map(|entry| (digest, entry)).ok_or(StatementRefused::Unknown(digest).into())
    }

    /// Drops a waiting request to enter the inventory.
    ///
    /// # Errors
    /// [`StoreError`] if it could not be made durable.
    pub(crate) async fn dismiss_enrolment(&self, key: &Fingerprint) -> Result<(), StoreError> {
        self.writer.append(vec![Record::EnrolmentGone(key.clone())]).await?;
        self.enrolments().remove(key);
        Ok(())
    }
}
