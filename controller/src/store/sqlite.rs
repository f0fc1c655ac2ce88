//! The store on SQLite: write-ahead log, full synchronisation, one transaction a group.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::id::{Digest, HostId, UnixMillis};
use digue_proto::report::ReceiptV1;
use digue_proto::strict;
use rusqlite::{Connection, Row, Transaction, params};

use super::schema::{APPLICATION_ID, MIGRATIONS};
use super::{Appended, NewEnvelope, PendingEnrolment, Record, Store, StoreError, StoreFault, StoredEnvelope};

/// The database in the data folder.
const FILE: &str = "controller.db";

/// A connection to the database.
#[derive(Debug)]
pub(crate) struct SqliteStore {
    connection: Connection,
    path: PathBuf,
}

impl SqliteStore {
    /// Opens the database of a data folder, makes it if it is not there, and brings it up to date.
    ///
    /// # Errors
    /// [`StoreError`] if the file is not ours, newer than this program, or cannot be used.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let path = data_dir.join(FILE);
        let opened = Connection::open(&path);
        let connection = opened.map_err(|e| fault(&path, "opening the database", StoreFault::Sqlite(e)))?;
        let mut store = Self { connection, path };
        store.settings().map_err(|e| store.sqlite("setting up the database", e))?;
        store.migrate()?;
        Ok(store)
    }

    fn settings(&self) -> rusqlite::Result<()> {
        self.connection.busy_timeout(Duration::from_secs(10))?;
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        self.connection.pragma_update(None, "trusted_schema", false)
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        let operation = "bringing the database up to date";
        let versions = || -> rusqlite::Result<(i32, usize)> {
            let id = self.connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
            let version = self.connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok((id, version))
        };
        let (id, version) = versions().map_err(|e| self.sqlite(operation, e))?;
        if version > MIGRATIONS.len() {
            let text = format!("the database has version {version}, this program knows {}", MIGRATIONS.len());
            return Err(fault(&self.path, operation, StoreFault::Contents(text)));
        }
        if version > 0 && id != APPLICATION_ID {
            let text = "the file is a database of another program".to_owned();
            return Err(fault(&self.path, operation, StoreFault::Contents(text)));
        }
        for (index, migration) in MIGRATIONS.iter().enumerate().skip(version) {
            let run = || -> rusqlite::Result<()> {
                let transaction = self.connection.transaction()?;
                transaction.execute_batch(migration)?;
                transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
                transaction.pragma_update(None, "user_version", index + 1)?;
                transaction.commit()
            };
            let mut run = run;
            run().map_err(|e| fault(&self.path, operation, StoreFault::Sqlite(e)))?;
        }
        Ok(())
    }

    fn sqlite(&self, operation: &'static str, error: rusqlite::Error) -> StoreError {
        fault(&self.path, operation, StoreFault::Sqlite(error))
    }

    fn read<T>(
        &self,
        operation: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        query(&self.connection).map_err(|e| self.sqlite(operation, e))
    }
}

fn fault(path: &Path, operation: &'static str, cause: StoreFault) -> StoreError {
    StoreError { operation, path: path.to_owned(), cause: Arc::new(cause) }
}

/// A text or blob that does not parse as what this program once wrote.
fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

fn number(value: UnixMillis) -> i64 {
    i64::try_from(value.0).unwrap_or(i64::MAX)
}

fn append_envelope(transaction: &Transaction<'_>, new: &NewEnvelope) -> rusqlite::Result<Appended> {
    let host = new.host.as_ref().map(HostId::as_str);
    if new.once {
        let mut find = transaction
            .prepare_cached("SELECT 1 FROM envelopes WHERE digest = ?1 AND host_id IS ?2 AND kind = ?3")?;
        let kind = new.kind.namespace();
        if find.exists(params![new.digest.as_bytes(), host, kind])? {
            return Ok(Appended { new: false });
        }
    }
    let mut insert = transaction.prepare_cached(
        "INSERT INTO envelopes (received_at_ms, kind, digest, host_id, envelope, attachment)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let kind = new.kind.namespace();
    let seq = insert.insert(params![
        number(new.received_at),
        kind,
        new.digest.as_bytes(),
        host,
        new.envelope,
        new.attachment
    ])?;
    if let (Some(host), PayloadType::Receipt | PayloadType::Report) = (host, new.kind) {
        project(transaction, seq, host, kind, new.answers)?;
    }
    Ok(Appended { new: true })
}

fn project(
    transaction: &Transaction<'_>,
    seq: i64,
    host: &str,
    kind: &str,
    answers: Option<Digest>,
) -> rusqlite::Result<()> {
    let mut insert = transaction
        .prepare_cached("INSERT INTO documents (seq, host_id, kind, answers) VALUES (?1, ?2, ?3, ?4)")?;
    insert.execute(params![seq, host, kind, answers.as_ref().map(Digest::as_bytes)])?;
    Ok(())
}

fn append(transaction: &Transaction<'_>, record: &Record) -> rusqlite::Result<Appended> {
    let changed = match record {
        Record::Envelope(new) => return append_envelope(transaction, new),
        Record::Cancelled { order, at } => transaction.execute(
            "INSERT INTO cancelled (order_digest, at_ms) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
            params![order.as_bytes(), number(*at)],
        )?,
        Record::Enrolment(pending) => transaction.execute(
            "INSERT INTO enrolments (fingerprint, received_at_ms, peer, envelope) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (fingerprint) DO UPDATE SET
                received_at_ms = excluded.received_at_ms, peer = excluded.peer, envelope = excluded.envelope",
            params![
                pending.fingerprint.as_str(),
                number(pending.received_at),
                pending.peer,
                pending.envelope
            ],
        )?,
        Record::EnrolmentGone(fingerprint) => {
            transaction.execute("DELETE FROM enrolments WHERE fingerprint = ?1", [fingerprint.as_str()])?
        }
        Record::Probe(at) => transaction.execute(
            "INSERT INTO probe (only, at_ms) VALUES (1, ?1) ON CONFLICT (only) DO UPDATE SET at_ms = ?1",
            [number(*at)],
        )?,
    };
    Ok(Appended { new: changed > 0 })
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredEnvelope> {
    let host: Option<String> = row.get(2)?;
    Ok(StoredEnvelope {
        seq: row.get(0)?,
        received_at: UnixMillis(row.get(1)?),
        host: host.map(|text| text.parse()).transpose().map_err(|e| unreadable(2, e))?,
        envelope: row.get(3)?,
        attachment: row.get(4)?,
    })
}

impl Store for SqliteStore {
    fn append(&mut self, records: &[&Record]) -> Result<Vec<Appended>, StoreError> {
        let mut run = || -> rusqlite::Result<Vec<Appended>> {
            let transaction = self.connection.transaction()?;
            let done = records.iter().map(|record| append(&transaction, record)).collect::<Result<_, _>>()?;
            transaction.commit()?;
            Ok(done)
        };
        run().map_err(|e| fault(&self.path, "writing to the database", StoreFault::Sqlite(e)))
    }

    fn envelopes(
        &mut self,
        after: u64,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<StoredEnvelope>, StoreError> {
        self.read("reading envelopes", |connection| {
            let mut query = connection.prepare_cached(
                "SELECT seq, received_at_ms, host_id, envelope, attachment FROM envelopes
                 WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            )?;
            let mut rows = query.query(params![after, limit])?;
            let (mut found, mut size) = (Vec::new(), 0);
            while size < bytes
                && let Some(row) = rows.next()?
            {
                let envelope = stored(row)?;
                size += envelope.envelope.len() + envelope.attachment.as_ref().map_or(0, Vec::len);
                found.push(envelope);
            }
            Ok(found)
        })
    }

    fn receipts_of(&mut self, order: Digest) -> Result<Vec<StoredEnvelope>, StoreError> {
        self.read("reading receipts", |connection| {
            let mut query = connection.prepare_cached(
                "SELECT e.seq, e.received_at_ms, e.host_id, e.envelope, NULL FROM documents d
                 JOIN envelopes e ON e.seq = d.seq WHERE d.answers = ?1 ORDER BY d.seq",
            )?;
            query.query_map([order.as_bytes()], stored)?.collect()
        })
    }

    fn cancelled(&mut self) -> Result<Vec<Digest>, StoreError> {
        self.read("reading withdrawals", |connection| {
            let mut query = connection.prepare_cached("SELECT order_digest FROM cancelled")?;
            query.query_map([], |row| Ok(Digest::from_bytes(row.get(0)?)))?.collect()
        })
    }

    fn enrolments(&mut self) -> Result<Vec<PendingEnrolment>, StoreError> {
        self.read("reading enrolment requests", |connection| {
            let mut query = connection.prepare_cached(
                "SELECT fingerprint, received_at_ms, peer, envelope FROM enrolments ORDER BY received_at_ms",
            )?;
            let pending = |row: &Row<'_>| -> rusqlite::Result<PendingEnrolment> {
                let fingerprint: String = row.get(0)?;
                Ok(PendingEnrolment {
                    fingerprint: fingerprint.parse().map_err(|e| unreadable(0, e))?,
                    received_at: UnixMillis(row.get(1)?),
                    peer: row.get(2)?,
                    envelope: row.get(3)?,
                })
            };
            query.query_map([], pending)?.collect()
        })
    }

    fn rebuild(&mut self) -> Result<u64, StoreError> {
        let mut run = || -> rusqlite::Result<u64> {
            let transaction = self.connection.transaction()?;
            transaction.execute("DELETE FROM documents", [])?;
            let mut count = 0;
            {
                let mut query = transaction.prepare("SELECT seq, kind, host_id, envelope FROM envelopes")?;
                let mut rows = query.query([])?;
                while let Some(row) = rows.next()? {
                    count += 1;
                    let (kind, host): (String, Option<String>) = (row.get(1)?, row.get(2)?);
                    let Some(host) = host else { continue };
                    let answers = if kind == PayloadType::Receipt.namespace() {
                        Some(answered_order(&row.get::<_, Vec<u8>>(3)?)?)
                    } else if kind == PayloadType::Report.namespace() {
                        None
                    } else {
                        continue;
                    };
                    project(&transaction, row.get(0)?, &host, &kind, answers)?;
                }
            }
            transaction.commit()?;
            Ok(count)
        };
        run().map_err(|e| fault(&self.path, "rebuilding the projections", StoreFault::Sqlite(e)))
    }
}

/// The order that a stored receipt answers; it was verified before it was stored.
fn answered_order(envelope: &[u8]) -> rusqlite::Result<Digest> {
    let envelope = Envelope::from_json(envelope).map_err(|e| unreadable(3, e))?;
    let limit = envelope.payload_type.max_payload();
    let receipt: ReceiptV1 = strict::from_slice(&envelope.payload, limit).map_err(|e| unreadable(3, e))?;
    Ok(receipt.order)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(payload: &[u8], once: bool) -> Record {
        let envelope = Envelope {
            payload_type: PayloadType::Report,
            payload: payload.to_vec(),
            signatures: vec!["signature".to_owned()],
        };
        Record::Envelope(NewEnvelope {
            kind: envelope.payload_type,
            digest: envelope.digest(),
            host: Some("srv-001".parse().expect("name")),
            envelope: envelope.to_json().expect("json"),
            attachment: None,
            received_at: UnixMillis(7),
            once,
            answers: None,
        })
    }

    #[test]
    fn what_is_appended_is_read_back_in_order_and_a_repeat_is_left_out() {
        let folder = tempfile::tempdir().expect("folder");
        let mut store = SqliteStore::open(folder.path()).expect("store");
        let done = store.append(&[&envelope(b"a", true), &envelope(b"b", true), &envelope(b"a", true)]);
        let new: Vec<bool> = done.expect("appended").iter().map(|a| a.new).collect();
        assert_eq!(new, [true, true, false]);
        drop(store);
        let mut store = SqliteStore::open(folder.path()).expect("opened again");
        let found = store.envelopes(0, 10, usize::MAX).expect("read");
        assert_eq!(found.iter().map(|e| e.seq).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(store.envelopes(1, 10, usize::MAX).expect("read").len(), 1);
        assert_eq!(store.envelopes(0, 10, 1).expect("read").len(), 1);
    }

    #[test]
    fn no_statement_changes_or_deletes_an_envelope() {
        let folder = tempfile::tempdir().expect("folder");
        let mut store = SqliteStore::open(folder.path()).expect("store");
        store.append(&[&envelope(b"a", true)]).expect("appended");
        for statement in ["DELETE FROM envelopes", "UPDATE envelopes SET received_at_ms = 0"] {
            let refused = store.connection.execute(statement, []).expect_err("refused").to_string();
            assert!(refused.contains("envelopes are never"), "{refused}");
        }
        assert_eq!(store.envelopes(0, 10, usize::MAX).expect("read").len(), 1);
    }

    #[test]
    fn a_group_with_a_record_that_fails_is_kept_as_a_whole_or_not_at_all() {
        let folder = tempfile::tempdir().expect("folder");
        let mut store = SqliteStore::open(folder.path()).expect("store");
        let broken = "CREATE TRIGGER no_b AFTER INSERT ON envelopes WHEN NEW.seq > 2
                      BEGIN SELECT RAISE(ABORT, 'no more'); END";
        store.append(&[&envelope(b"a", true)]).expect("appended");
        store.connection.execute_batch(broken).expect("trigger");
        store.append(&[&envelope(b"b", true), &envelope(b"c", true)]).expect_err("refused");
        assert_eq!(store.envelopes(0, 10, usize::MAX).expect("read").len(), 1);
    }

    #[test]
    fn a_database_of_another_program_or_of_a_newer_version_is_refused() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join(FILE);
        let other = Connection::open(&path).expect("database");
        other.pragma_update(None, "user_version", 1).expect("version");
        drop(other);
        let refused = SqliteStore::open(folder.path()).expect_err("refused").to_string();
        assert!(refused.contains("another program"), "{refused}");
        let newer = Connection::open(&path).expect("database");
        newer.pragma_update(None, "user_version", 99).expect("version");
        drop(newer);
        let refused = SqliteStore::open(folder.path()).expect_err("refused").to_string();
        assert!(refused.contains("version 99"), "{refused}");
    }
}
