//! The state at start: every stored envelope, verified and folded in again, in the order of arrival.
//!
//! Nothing is taken from the store on trust. A root or inventory that no longer verifies stops the start;
//! anything else that does not is counted and left out.

use std::collections::BTreeSet;

use digue_proto::bundle::OrderBundle;
use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::fleet::Fleet;
use digue_proto::id::UnixMillis;
use digue_proto::key::PublicKey;
use digue_proto::trust_chain::Trust;

use crate::documents::HostDocument;
use crate::store::{Attachment, Store, StoreError, StoredEnvelope};

/// Envelopes read at once.
const BATCH: usize = 4096;
/// Bytes read at once.
const BATCH_BYTES: usize = 64 * 1024 * 1024;
/// A run of documents shorter than this is verified by one thread.
const WORTH_THREADS: usize = 128;

/// Why the stored state cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored root or inventory that is not acceptable any more.
    #[error(
        "stored envelope {seq} ({kind}) is not acceptable: {reason}; restore the data folder from a copy"
    )]
    NotAcceptable {
        /// Its place.
        seq: u64,
        /// What it is.
        kind: PayloadType,
        /// Why.
        reason: String,
    },
}

/// What was read back.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    /// The fleet.
    pub(crate) fleet: Fleet,
    /// The chain of trust roots.
    pub(crate) roots: Vec<Envelope>,
    /// How many envelopes were read.
    pub(crate) envelopes: u64,
    /// How many of them no longer count (a host that was rebuilt, a key that was revoked).
    pub(crate) left_out: u64,
}

/// Folds everything in.
///
/// # Errors
/// [`ReplayError`] if the store cannot be read or its authority documents do not hold.
pub(crate) fn replay(store: &mut dyn Store) -> Result<Replayed, ReplayError> {
    let mut state = Replayed::default();
    let mut after = 0;
    loop {
        let batch = store.envelopes(after, BATCH, BATCH_BYTES)?;
        let Some(last) = batch.last() else { break };
        after = last.seq;
        state.envelopes += batch.len() as u64;
        state.take(batch)?;
    }
    for digest in store.cancelled()? {
        state.fleet.cancel_order(digest);
    }
    Ok(state)
}

struct Row {
    stored: StoredEnvelope,
    envelope: Envelope,
}

impl Replayed {
    fn take(&mut self, batch: Vec<StoredEnvelope>) -> Result<(), ReplayError> {
        let mut run: Vec<Row> = Vec::new();
        for stored in batch {
            let Ok(envelope) = Envelope::from_json(&stored.envelope) else {
                tracing::warn!(seq = stored.seq, "a stored envelope is not readable");
                self.left_out += 1;
                continue;
            };
            let of_host = matches!(envelope.payload_type, PayloadType::Receipt | PayloadType::Report);
            if !of_host {
                self.fold_run(&mut run);
            }
            let row = Row { stored, envelope };
            if of_host { run.push(row) } else { self.take_authority(row)? }
        }
        self.fold_run(&mut run);
        Ok(())
    }

    fn fold_run(&mut self, run: &mut Vec<Row>) {
        let verified = verify_all(run, &self.fleet);
        for (row, verified) in run.drain(..).zip(verified) {
            let Some((document, key)) = verified else {
                self.left_out += 1;
                continue;
            };
            // What it does not change is the same now as when it arrived.
            let _ignored = document.fold(&mut self.fleet, &key, row.stored.received_at);
        }
    }

    fn take_authority(&mut self, row: Row) -> Result<(), ReplayError> {
        let Row { stored, envelope } = row;
        let seq = stored.seq;
        let at = stored.received_at;
        let kind = envelope.payload_type;
        let not_acceptable = |reason: String| ReplayError::NotAcceptable { seq, kind, reason };
        match kind {
            PayloadType::Root => {
                let trust = match self.fleet.trust() {
                    None => Trust::initial(&envelope, &envelope.digest()),
                    Some(trust) => trust.next(&envelope),
                };
                self.fleet.set_trust(trust.map_err(|e| not_acceptable(e.to_string()))?);
                self.roots.push(envelope);
            }
            PayloadType::Inventory => {
                let trust =
                    self.fleet.trust().ok_or_else(|| not_acceptable("no root before it".to_owned()))?;
                let verified = trust.verify_inventory(&envelope);
                self.fleet.set_inventory(verified.map_err(|e| not_acceptable(e.to_string()))?);
            }
            PayloadType::Query | PayloadType::Protect | PayloadType::Release => {
                self.take_order(&stored, envelope);
            }
            PayloadType::Clean | PayloadType::Suspect => self.take_statement(&envelope, seq, at),
            PayloadType::Receipt | PayloadType::Report | PayloadType::Heartbeat | PayloadType::Enrol => {
                tracing::warn!(seq, %kind, "not an envelope that is stored");
                self.left_out += 1;
            }
        }
        Ok(())
    }

    fn take_order(&mut self, stored: &StoredEnvelope, order: Envelope) {
        let known = self.fleet.order(order.digest()).map(|entry| entry.bundle.clone());
        let attachment = stored.attachment.as_deref().map(serde_json::from_slice::<Attachment>);
        let bundle = match (known, attachment) {
            (Some(known), _) => OrderBundle { order, ..known },
            (None, Some(Ok(Attachment { leaves, statements }))) => OrderBundle { order, leaves, statements },
            (None, Some(Err(_)) | None) => OrderBundle { order, leaves: Vec::new(), statements: Vec::new() },
        };
        match self.fleet.offer_order(&bundle) {
            Ok(offer) => self.fleet.commit_order(offer),
            Err(error) => {
                tracing::warn!(seq = stored.seq, %error, "a stored order no longer counts");
                self.left_out += 1;
            }
        }
    }

    fn take_statement(&mut self, envelope: &Envelope, seq: u64, at: UnixMillis) {
        match self.fleet.offer_statement(envelope) {
            Ok(offer) => self.fleet.commit_statement(offer, at),
            Err(error) => {
                tracing::warn!(seq, %error, "a stored statement no longer counts");
                self.left_out += 1;
            }
        }
    }
}

/// Verifies a run of documents under the keys that the inventory names now, on all cores.
fn verify_all(run: &[Row], fleet: &Fleet) -> Vec<Option<(HostDocument, PublicKey)>> {
    let (Some(trust), Some(inventory)) = (fleet.trust(), fleet.inventory()) else {
        return run.iter().map(|_| None).collect();
    };
    let deployment = trust.deployment_id();
    let verify = |row: &Row| {
        let key = inventory.value().host(row.stored.host.as_ref()?)?.host_key.clone()?;
        let document = HostDocument::verify(&row.envelope, &key, deployment).ok()?;
        (Some(document.host()) == row.stored.host.as_ref()).then_some((document, key))
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if run.len() < WORTH_THREADS || threads == 1 {
        return run.iter().map(verify).collect();
    }
    let share = run.len().div_ceil(threads);
    std::thread::scope(|scope| {
        let parts: Vec<_> = run
            .chunks(share)
            .map(|part| (part, scope.spawn(move || part.iter().map(verify).collect::<Vec<_>>())))
            .collect();
        let join = |(part, thread): (&[Row], std::thread::ScopedJoinHandle<'_, Vec<_>>)| {
            thread.join().unwrap_or_else(|_| part.iter().map(|_| None).collect())
        };
        parts.into_iter().flat_map(join).collect()
    })
}

/// The hosts whose keys are in the inventory, for the connections.
pub(crate) fn keys_of(fleet: &Fleet) -> std::collections::HashMap<PublicKey, digue_proto::id::HostId> {
    let hosts = fleet.inventory().map_or(&[][..], |inventory| &inventory.value().hosts);
    hosts.iter().filter_map(|host| Some((host.host_key.clone()?, host.host_id.clone()))).collect()
}

/// The keys that are in the inventory.
pub(crate) fn fingerprints_of(fleet: &Fleet) -> BTreeSet<digue_proto::key::Fingerprint> {
    let hosts = fleet.inventory().map_or(&[][..], |inventory| &inventory.value().hosts);
    hosts.iter().filter_map(digue_proto::trust::InventoryHost::fingerprint).collect()
}
