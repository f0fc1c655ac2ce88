//! `digue-agent init`: the host key, the pinned trust root, the join secret. Safe to run again.

use std::io;
use std::path::{Path, PathBuf};

use digue_proto::id::{Digest, Nonce};
use digue_proto::trust_chain::Trust;
use serde::Serialize;

use crate::config::Config;
use crate::files::{self, Durable};
use crate::keyfile::{HostKey, KeyFileError};
use crate::roots::{Roots, RootsError};

/// Name of the join secret in the state directory.
const JOIN_SECRET: &str = "join_secret";

/// Why a host could not be initialised.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The host key.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The trust root.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// A file or directory.
    #[error("{operation} {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// What with.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not a join secret.
    #[error("{} does not hold a join secret: 32 hexadecimal digits", .0.display())]
    Secret(PathBuf),
}

/// A root and the digest that it must have.
#[derive(Debug, Clone)]
pub struct FirstRoot {
    /// The file.
    pub file: PathBuf,
    /// SHA-256 of its payload, learned by another way than the file.
    pub sha256: Digest,
}

/// What `init` prints.
#[derive(Debug, Serialize)]
pub struct Initialised {
    /// The host's name.
    pub host_id: String,
    /// Its public key, as one line.
    pub host_key: String,
    /// The key's fingerprint.
    pub fingerprint: String,
}

/// Makes what is missing and leaves alone what is there.
///
/// # Errors
/// [`InitError`]; a key or root that is there but not usable is never replaced.
pub fn init(
    config: &Config,
    root: Option<&FirstRoot>,
    join_secret: Option<&Path>,
) -> Result<(Initialised, Option<Trust>), InitError> {
    let state = &config.state_dir;
    let made = |operation, path: &Path| {
        let path = path.to_owned();
        move |source| InitError::File { operation, path, source }
    };
    files::make_dir(state, true).map_err(made("making", state))?;
    let (key, _) = HostKey::load_or_make(state)?;
    let trust = root.map(|root| Roots::of(state).pin_first(&root.file, root.sha256)).transpose()?;
    if let Some(file) = join_secret {
        let text = std::fs::read_to_string(file).map_err(made("reading", file))?;
        let secret: Nonce = text.trim().parse().map_err(|_| InitError::Secret(file.to_owned()))?;
        let path = state.join(JOIN_SECRET);
        files::replace(&path, format!("{secret}\n").as_bytes(), 0o600, Durable::Yes)
            .map_err(made("writing", &path))?;
    }
    let initialised = Initialised {
        host_id: config.host_id.to_string(),
        host_key: key.public().to_string(),
        fingerprint: key.public().fingerprint().to_string(),
    };
    Ok((initialised, trust))
}

/// The join secret of a state directory, if there is one.
pub fn join_secret(state_dir: &Path) -> Option<[u8; 16]> {
    let text = std::fs::read_to_string(state_dir.join(JOIN_SECRET)).ok()?;
    text.trim().parse::<Nonce>().ok().map(|secret| *secret.as_bytes())
}

/// Forgets the join secret: it serves once.
pub fn forget_join_secret(state_dir: &Path) {
    let path = state_dir.join(JOIN_SECRET);
    if let Err(error) = std::fs::remove_file(&path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "join_secret_not_removed");
    }
}
