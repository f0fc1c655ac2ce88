//! What must survive: every signed document, once, in the order of arrival.
//!
//! The envelopes are the truth and are only ever appended; everything else can be rebuilt from them.
//! Deliberately absent: heartbeats (only the latest counts, in memory) and the state of hosts (folded
//! anew at every start).

mod schema;
mod sqlite;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;

use digue_proto::envelope::PayloadType;
use digue_proto::id::{Digest, HostId, UnixMillis};
use digue_proto::key::Fingerprint;

pub(crate) use sqlite::SqliteStore;
pub(crate) use writer::Writer;

/// Why the store failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{operation} ({path}): {cause}")]
pub(crate) struct StoreError {
    /// What was tried.
    pub(crate) operation: &'static str,
    /// On which file.
    pub(crate) path: PathBuf,
    /// What SQLite said.
    #[source]
    pub(crate) cause: Arc<StoreFault>,
}

/// The cause of a [`StoreError`].
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreFault {
    /// From SQLite.
    #[error("{0}")]
    Sqlite(#[source] rusqlite::Error),
    /// The stored bytes are not what this program wrote.
    #[error("{0}")]
    Contents(String),
    /// The writer has stopped.
    #[error("the writer has stopped")]
    Stopped,
}

impl StoreError {
    /// Whether the disk is full.
    pub(crate) fn disk_full(&self) -> bool {
        match &*self.cause {
            StoreFault::Sqlite(error) => error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull),
            StoreFault::Contents(_) | StoreFault::Stopped => false,
        }
    }
}

/// An envelope to be appended.
#[derive(Debug, Clone)]
pub(crate) struct NewEnvelope {
    /// The type of its payload.
    pub(crate) kind: PayloadType,
    /// SHA-256 of its payload.
    pub(crate) digest: Digest,
    /// The host that signed it; absent for what people signed.
    pub(crate) host: Option<HostId>,
    /// The envelope as JSON.
    pub(crate) envelope: Vec<u8>,
    /// For an order: its leaves and statements, as JSON of an [`Attachment`].
    pub(crate) attachment: Option<Vec<u8>>,
    /// When it arrived.
    pub(crate) received_at: UnixMillis,
    /// Leave it out if the same document of the same host is stored already.
    pub(crate) once: bool,
    /// For the projection of receipts.
    pub(crate) answers: Option<Digest>,
}

/// What belongs to an order without being signed with it.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attachment {
    /// The leaves, in the order of the tree.
    pub(crate) leaves: Vec<digue_proto::bundle::LeafBytes>,
    /// The clean statements that they rely on.
    pub(crate) statements: Vec<digue_proto::envelope::Envelope>,
}

/// A server that asks to enter the inventory.
#[derive(Debug, Clone)]
pub(crate) struct PendingEnrolment {
    /// Of its key.
    pub(crate) fingerprint: Fingerprint,
    /// The signed request, as JSON.
    pub(crate) envelope: Vec<u8>,
    /// When it arrived.
    pub(crate) received_at: UnixMillis,
    /// The address that it came from.
    pub(crate) peer: String,
}

/// One thing to make durable.
#[derive(Debug, Clone)]
pub(crate) enum Record {
    /// A signed document.
    Envelope(NewEnvelope),
    /// An order was withdrawn before it was signed.
    Cancelled {
        /// The order's digest.
        order: Digest,
        /// When.
        at: UnixMillis,
    },
    /// A request to enter the inventory; replaces an earlier one of the same key.
    Enrolment(PendingEnrolment),
    /// A request was settled or dismissed.
    EnrolmentGone(Fingerprint),
    /// Nothing: tries whether the disk takes writes again.
    Probe(UnixMillis),
}

/// What became of a [`Record`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appended {
    /// Whether it was new.
    pub(crate) new: bool,
}

/// An envelope as read back.
#[derive(Debug, Clone)]
pub(crate) struct StoredEnvelope {
    /// Its place, from 1.
    pub(crate) seq: u64,
    /// When it arrived.
    pub(crate) received_at: UnixMillis,
    /// The host that signed it; absent for what people signed.
    pub(crate) host: Option<HostId>,
    /// The envelope as JSON.
    pub(crate) envelope: Vec<u8>,
    /// See [`NewEnvelope::attachment`].
    pub(crate) attachment: Option<Vec<u8>>,
}

/// A place that keeps envelopes. Synchronous: [`Writer`] runs it on a thread of its own.
pub(crate) trait Store: Send {
    /// Makes all records durable, or none.
    ///
    /// # Errors
    /// [`StoreError`] if none was kept.
    fn append(&mut self, records: &[&Record]) -> Result<Vec<Appended>, StoreError>;

    /// Envelopes after `after` in order: at most `limit` of them, and about `bytes` bytes.
    ///
    /// # Errors
    /// [`StoreError`] naming the operation.
    fn envelopes(
        &mut self,
        after: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<StoredEnvelope>, StoreError>;

    /// The receipts that answer an order.
    ///
    /// # Errors
    /// [`StoreError`] naming the operation.
    fn receipts_of(&mut self, order: Digest) -> Result<Vec<StoredEnvelope>, StoreError>;

    /// Digests of withdrawn orders.
    ///
    /// # Errors
    /// [`StoreError`] naming the operation.
    fn cancelled(&mut self) -> Result<Vec<Digest>, StoreError>;

    /// Requests to enter the inventory that wait.
    ///
    /// # Errors
    /// [`StoreError`] naming the operation.
    fn enrolments(&mut self) -> Result<Vec<PendingEnrolment>, StoreError>;

    /// Throws the projections away and makes them anew from the envelopes; says how many it read.
    ///
    /// # Errors
    /// [`StoreError`] naming the operation; the projections are then as before.
    fn rebuild(&mut self) -> Result<u64, StoreError>;
}
