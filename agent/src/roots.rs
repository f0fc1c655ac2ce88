//! The trust roots on disk: one file a version, and the digest of the first, pinned at installation.
//!
//! Only `init` pins; a root that arrives later is written, synced and renamed before it is used (TUF 5.3).
//! Deliberately absent: removal of old roots, since the chain is replayed from the first at every start.

use std::io;
use std::path::{Path, PathBuf};

use digue_proto::envelope::Envelope;
use digue_proto::id::Digest;
use digue_proto::limits::{MAX_PAYLOAD, MAX_ROOT_STEPS};
use digue_proto::strict;
use digue_proto::trust::RootV1;
use digue_proto::trust_chain::{Trust, TrustError};

use crate::files::{self, Durable};

const PIN: &str = "root.sha256";

/// Why there is no trust root to judge orders by.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// None was pinned.
    #[error("no trust root is pinned; run: digue-agent init --root ROOT.json --root-sha256 HEX")]
    NotPinned,
    /// Another one is pinned.
    #[error("{found} is pinned already, not {wanted}; a host changes deployment only by a new installation")]
    OtherPin {
        /// What is pinned.
        found: Digest,
        /// What was asked for.
        wanted: Digest,
    },
    /// A file cannot be read or written.
    #[error("{operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The root is not acceptable.
    #[error("trust root {} refused ({})", path.display(), source.code())]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: TrustError,
    },
}

/// The roots of a state directory.
#[derive(Debug, Clone)]
pub struct Roots {
    state_dir: PathBuf,
}

impl Roots {
    /// Those of `state_dir`.
    pub fn of(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned() }
    }

    fn file(&self, version: u64) -> PathBuf {
        self.state_dir.join("roots").join(format!("{version}.json"))
    }

    /// The pinned digest of root version 1.
    ///
    /// # Errors
    /// [`RootsError`] if there is none, or the file is damaged.
    pub fn pin(&self) -> Result<Digest, RootsError> {
        let path = self.state_dir.join(PIN);
        match std::fs::read_to_string(&path) {
            Ok(text) => text.trim().parse().map_err(|e| RootsError::Damaged { path, why: format!("{e}") }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(RootsError::NotPinned),
            Err(source) => Err(RootsError::File { operation: "reading", path, source }),
        }
    }

    /// Pins the first root. Doing it again with the same root is no error.
    ///
    /// # Errors
    /// [`RootsError`] if the root is not the one that `pinned` names, or another one is pinned.
    pub fn pin_first(&self, source_file: &Path, pinned: Digest) -> Result<Trust, RootsError> {
        let envelope = read_envelope(source_file)?;
        let trust = Trust::initial(&envelope, &pinned)
            .map_err(|source| RootsError::Refused { path: source_file.to_owned(), source })?;
        match self.pin() {
            Ok(found) if found != pinned => return Err(RootsError::OtherPin { found, wanted: pinned }),
            Ok(_) | Err(RootsError::NotPinned) => {}
            Err(other) => return Err(other),
        }
        self.write(&envelope)?;
        let path = self.state_dir.join(PIN);
        files::replace(&path, format!("{pinned}\n").as_bytes(), 0o600, Durable::Yes)
            .map_err(|source| RootsError::File { operation: "writing", path, source })?;
        Ok(trust)
    }

    /// Replays the chain from the pinned root as far as it holds; the second value says why it ended
    /// early, if it did.
    ///
    /// # Errors
    /// [`RootsError`] if not even the first root can be used.
    pub fn load(&self) -> Result<(Trust, Option<RootsError>), RootsError> {
        let pinned = self.pin()?;
        let path = self.file(1);
        let first = read_envelope(&path)?;
        let mut trust =
            Trust::initial(&first, &pinned).map_err(|source| RootsError::Refused { path, source })?;
        for _ in 0..MAX_ROOT_STEPS {
            let path = self.file(trust.version().saturating_add(1));
            match path.try_exists() {
                Ok(false) => return Ok((trust, None)),
                Ok(true) => {}
                Err(source) => {
                    return Ok((trust, Some(RootsError::File { operation: "finding", path, source })));
                }
            }
            let next = read_envelope(&path)
                .and_then(|e| trust.next(&e).map_err(|source| RootsError::Refused { path, source }));
            match next {
                Ok(next) => trust = next,
                Err(why) => return Ok((trust, Some(why))),
            }
        }
        Ok((trust, None))
    }

    /// Writes a root that was accepted, and syncs it.
    ///
    /// # Errors
    /// [`RootsError`] if it is not on disk.
    pub fn write(&self, envelope: &Envelope) -> Result<(), RootsError> {
        let dir = self.state_dir.join("roots");
        let damaged =
            |why: strict::StrictError| RootsError::Damaged { path: dir.clone(), why: why.to_string() };
        let root: RootV1 = strict::from_slice(&envelope.payload, MAX_PAYLOAD).map_err(damaged)?;
        let bytes = envelope.to_json().map_err(damaged)?;
        let path = self.file(root.version);
        let write = || {
            files::make_dir(&dir, true)?;
            files::sync_parent(&dir)?;
            files::replace(&path, &bytes, 0o600, Durable::Yes)
        };
        write().map_err(|source| RootsError::File { operation: "writing", path: path.clone(), source })
    }
}

fn read_envelope(path: &Path) -> Result<Envelope, RootsError> {
    let read = |source| RootsError::File { operation: "reading", path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(read)?;
    let damaged = |e: strict::StrictError| RootsError::Damaged { path: path.to_owned(), why: e.to_string() };
    Envelope::from_json(&bytes).map_err(damaged)
}
