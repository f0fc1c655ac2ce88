//! The tables. A change is a new migration; the ones below are never edited.

/// `PRAGMA application_id`: "Digu".
pub(super) const APPLICATION_ID: i32 = 0x4469_6775;

/// Each entry brings the database from version `index` to `index + 1` (`PRAGMA user_version`).
pub(super) const MIGRATIONS: [&str; 1] = [
    // 1. `envelopes` and `cancelled` are the truth; `documents` is a projection; `enrolments` is a
    // waiting room that settles itself when the signed inventory names the key.
    "
    CREATE TABLE envelopes (
        seq            INTEGER PRIMARY KEY AUTOINCREMENT,
        received_at_ms INTEGER NOT NULL,
        kind           TEXT    NOT NULL,
        digest         BLOB    NOT NULL,
        host_id        TEXT,
        envelope       BLOB    NOT NULL,
        attachment     BLOB
    ) STRICT;
    CREATE INDEX envelopes_by_digest ON envelopes (digest);
    CREATE TRIGGER envelopes_keep BEFORE DELETE ON envelopes
        BEGIN SELECT RAISE(ABORT, 'envelopes are never deleted'); END;
    CREATE TRIGGER envelopes_stay BEFORE UPDATE ON envelopes
        BEGIN SELECT RAISE(ABORT, 'envelopes are never changed'); END;

    CREATE TABLE cancelled (
        order_digest BLOB PRIMARY KEY,
        at_ms        INTEGER NOT NULL
    ) STRICT;
    CREATE TRIGGER cancelled_keep BEFORE DELETE ON cancelled
        BEGIN SELECT RAISE(ABORT, 'withdrawals are never deleted'); END;
    CREATE TRIGGER cancelled_stay BEFORE UPDATE ON cancelled
        BEGIN SELECT RAISE(ABORT, 'withdrawals are never changed'); END;

    CREATE TABLE enrolments (
        fingerprint    TEXT PRIMARY KEY,
        received_at_ms INTEGER NOT NULL,
        peer           TEXT    NOT NULL,
        envelope       BLOB    NOT NULL
    ) STRICT;

    CREATE TABLE documents (
        seq     INTEGER PRIMARY KEY,
        host_id TEXT NOT NULL,
        kind    TEXT NOT NULL,
        answers BLOB
    ) STRICT;
    CREATE INDEX documents_by_order ON documents (answers) WHERE answers IS NOT NULL;

    CREATE TABLE probe (
        only  INTEGER PRIMARY KEY CHECK (only = 1),
        at_ms INTEGER NOT NULL
    ) STRICT;
    ",
];
