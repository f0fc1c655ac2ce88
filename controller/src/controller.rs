//! The controller's state and what may change it.
//!
//! Everything goes the same way: verify, make durable, fold in, tell whoever waits. Deliberately absent:
//! any key that an agent obeys, and any way to change a host's state from here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use digue_proto::envelope::Envelope;
use digue_proto::fleet::{Fleet, action_word};
use digue_proto::id::{Digest, HostId, Nonce, UnixMillis};
use digue_proto::key::PublicKey;
use digue_proto::report::{EnrolV1, HeartbeatV1};
use digue_proto::verify::{VerifyError, verify_host};
use tokio::sync::watch;

use crate::changes::Changes;
use crate::clock;
use crate::documents::HostDocument;
use crate::enrolment::{Enrolments, NotTaken, Pending};
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::replay::{self, Replayed};
use crate::store::{NewEnvelope, PendingEnrolment, Record, Store, StoreError, Writer};

/// What the signed documents amount to.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The fold.
    pub(crate) fleet: Fleet,
    /// The chain of trust roots from version 1.
    pub(crate) roots: Vec<Envelope>,
    /// Host keys of the inventory.
    pub(crate) keys: HashMap<PublicKey, HostId>,
}

/// Why a frame of an agent is not taken. The connection is closed, except after a storage failure.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotHeard {
    /// Not signed by the key of the connection, or not what it says.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A host that speaks for another (D5).
    #[error("the document is signed as {claimed}, the connection's key belongs to {host}")]
    OtherHost {
        /// The host that the document names.
        claimed: HostId,
        /// The host that the inventory names for the key.
        host: HostId,
    },
    /// An enrolment for another key than the connection's.
    #[error("the enrolment request is for another key than the connection's")]
    OtherKey,
    /// No trust root is known yet.
    #[error("no trust root is known yet")]
    NoRoot,
    /// Too many enrolment requests.
    #[error(transparent)]
    Enrolment(#[from] NotTaken),
    /// It could not be stored: it is not acknowledged, and the agent keeps it.
    #[error("not stored: {0}")]
    Store(#[from] StoreError),
}

/// The controller.
pub(crate) struct Controller {
    state: RwLock<State>,
    /// Held while a root, inventory, order or statement is checked, stored and folded in, so that the
    /// store holds them in the order in which they were judged.
    pub(crate) authority: tokio::sync::Mutex<()>,
    /// The way to the disk.
    pub(crate) writer: Writer,
    reader: Mutex<Box<dyn Store>>,
    enrolments: Mutex<Enrolments>,
    /// Connected agents.
    pub(crate) hub: Hub,
    /// What watchers are told.
    pub(crate) changes: Changes,
    /// Counters.
    pub(crate) metrics: Metrics,
    /// The version of the inventory, for connections whose key comes or goes with it.
    pub(crate) inventory_version: watch::Sender<u64>,
    /// Becomes true when the process is to end.
    pub(crate) stopping: watch::Sender<bool>,
    /// The pin of the controller's own key.
    pub(crate) pin: Digest,
}

impl Controller {
    /// A controller from what was stored.
    ///
    /// # Errors
    /// [`StoreError`] if the waiting enrolments cannot be read.
    pub(crate) fn new(
        replayed: Replayed,
        writer: Writer,
        mut reader: Box<dyn Store>,
        pin: Digest,
    ) -> Result<Self, StoreError> {
        let Replayed { fleet, roots, .. } = replayed;
        let mut enrolments = Enrolments::default();
        for stored in reader.enrolments()? {
            if let Some(pending) = read_pending(&stored, &fleet) {
                enrolments.insert(pending);
            }
        }
        let keys = replay::keys_of(&fleet);
        let version = fleet.inventory().map_or(0, |inventory| inventory.value().version);
        Ok(Self {
            state: RwLock::new(State { fleet, roots, keys }),
            authority: tokio::sync::Mutex::new(()),
            writer,
            reader: Mutex::new(reader),
            enrolments: Mutex::new(enrolments),
            hub: Hub::default(),
            changes: Changes::new(clock::now()),
            metrics: Metrics::default(),
            inventory_version: watch::Sender::new(version),
            stopping: watch::Sender::new(false),
            pin,
        })
    }

    /// The state, to read. Never held across an await.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, to fold something durable in. Never held across an await.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The waiting room.
    pub(crate) fn enrolments(&self) -> MutexGuard<'_, Enrolments> {
        self.enrolments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads from the store, off the threads that serve connections.
    ///
    /// # Errors
    /// [`StoreError`] of the query.
    pub(crate) async fn query<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&mut dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let this = Arc::clone(self);
        let run = move || {
            let mut reader = this.reader.lock().unwrap_or_else(PoisonError::into_inner);
            query(reader.as_mut())
        };
        match tokio::task::spawn_blocking(run).await {
            Ok(result) => result,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }

    /// The host that a key belongs to, by the signed inventory alone.
    pub(crate) fn host_of(&self, key: &PublicKey) -> Option<HostId> {
        self.read().keys.get(key).cloned()
    }

    fn deployment(&self) -> Result<Digest, NotHeard> {
        let state = self.read();
        state.fleet.trust().map(digue_proto::trust_chain::Trust::deployment_id).ok_or(NotHeard::NoRoot)
    }

    /// A receipt or report: verified, stored, folded in. When this returns it may be acknowledged.
    ///
    /// # Errors
    /// [`NotHeard`]; nothing was acknowledged.
    pub(crate) async fn hear_document(
        &self,
        host: &HostId,
        key: &PublicKey,
        envelope: &Envelope,
    ) -> Result<Digest, NotHeard> {
        let document = HostDocument::verify(envelope, key, self.deployment()?)?;
        same_host(document.host(), host)?;
        let (digest, received_at) = (document.digest(), clock::now());
        let record = Record::Envelope(NewEnvelope {
            kind: envelope.payload_type,
            digest,
            host: Some(host.clone()),
            envelope: envelope.to_json().map_err(VerifyError::Bounds)?,
            attachment: None,
            received_at,
            once: true,
            answers: document.answers(),
        });
        self.writer.append(vec![record]).await?;
        self.fold(&document, host, key, received_at);
        Ok(digest)
    }

    /// Folds a durable document in and notes what it changed.
    pub(crate) fn fold(&self, document: &HostDocument, host: &HostId, key: &PublicKey, at: UnixMillis) {
        let (folded, action) = {
            let mut state = self.write();
            let folded = document.fold(&mut state.fleet, key, at);
            let answered = document.answers().and_then(|order| state.fleet.order(order));
            (folded, answered.map(|entry| action_word(&entry.order().action)))
        };
        match folded {
            Ok(changed) => {
                self.metrics.heard(document, action);
                self.changes.host(host);
                if changed.order.is_some() {
                    document.answers().into_iter().for_each(|order| self.changes.order(order));
                }
            }
            Err(ignored) => {
                tracing::info!(%host, %ignored, "a document changes nothing in the view");
                self.changes.host(host);
            }
        }
    }

    /// A heartbeat: verified and folded in. It is not stored.
    ///
    /// # Errors
    /// [`NotHeard`] if the connection has to be closed.
    pub(crate) fn hear_heartbeat(
        &self,
        host: &HostId,
        key: &PublicKey,
        given: Nonce,
        envelope: &Envelope,
    ) -> Result<(), NotHeard> {
        let heartbeat = verify_host::<HeartbeatV1>(envelope, key, self.deployment()?)?;
        same_host(&heartbeat.value().host_id, host)?;
        let folded = self.write().fleet.apply_heartbeat(&heartbeat, key, given, clock::now());
        if let Err(ignored) = folded {
            tracing::warn!(%host, %ignored, "a heartbeat changes nothing in the view");
        }
        self.changes.host(host);
        Ok(())
    }

    /// A request to enter the inventory, from someone whose key is not in it.
    ///
    /// # Errors
    /// [`NotHeard`] if it is not taken.
    pub(crate) async fn hear_enrolment(
        &self,
        key: &PublicKey,
        peer: IpAddr,
        envelope: &Envelope,
    ) -> Result<(), NotHeard> {
        let fingerprint = key.fingerprint();
        self.enrolments().admit(&fingerprint, peer, Instant::now())?;
        let request = verify_host::<EnrolV1>(envelope, key, self.deployment()?)?;
        if request.value().host_key != *key {
            return Err(NotHeard::OtherKey);
        }
        // An agent asks again with every connection; only what is new takes a write.
        if self.enrolments().knows(&fingerprint, &request.value().host_id, &request.value().mac) {
            return Ok(());
        }
        let stored = PendingEnrolment {
            fingerprint,
            envelope: envelope.to_json().map_err(VerifyError::Bounds)?,
            received_at: clock::now(),
            peer: peer.to_string(),
        };
        let pending = Pending {
            envelope: envelope.clone(),
            host_id: request.value().host_id.clone(),
            host_key: key.clone(),
            mac: request.value().mac,
            received_at: stored.received_at,
            peer: stored.peer.clone(),
        };
        self.writer.append(vec![Record::Enrolment(stored)]).await?;
        tracing::info!(host = %pending.host_id, %peer, "a server asks to enter the inventory");
        self.enrolments().insert(pending);
        Ok(())
    }
}

fn same_host(claimed: &HostId, host: &HostId) -> Result<(), NotHeard> {
    if claimed == host {
        Ok(())
    } else {
        Err(NotHeard::OtherHost { claimed: claimed.clone(), host: host.clone() })
    }
}

fn read_pending(stored: &PendingEnrolment, fleet: &Fleet) -> Option<Pending> {
    let envelope = Envelope::from_json(&stored.envelope).ok()?;
    let request: EnrolV1 =
        digue_proto::strict::from_slice(&envelope.payload, envelope.payload_type.max_payload()).ok()?;
    let settled = replay::fingerprints_of(fleet).contains(&stored.fingerprint);
    let mine = request.host_key.fingerprint() == stored.fingerprint;
    (mine && !settled).then(|| Pending {
        host_id: request.host_id,
        host_key: request.host_key,
        mac: request.mac,
        envelope,
        received_at: stored.received_at,
        peer: stored.peer.clone(),
    })
}
