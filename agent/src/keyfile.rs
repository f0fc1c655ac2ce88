//! The host's own key: Ed25519, in OpenSSH's private key format, readable by root alone.
//!
//! `init` makes it once; it never leaves the host and is never replaced silently, because a new key is a
//! new machine (3.8 of the trust design).

use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use digue_proto::key::{KeyError, PublicKey};
use rand_core::OsRng;
use ssh_key::{Algorithm, LineEnding, PrivateKey};

use crate::files;

/// Name of the key file in the state directory.
pub const KEY_FILE: &str = "host_key";

/// Why the host key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// There is none.
    #[error("no host key at {}; run: digue-agent init", .0.display())]
    Absent(PathBuf),
    /// The file cannot be read or written.
    #[error("{operation} the host key {}", path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others may read it.
    #[error("the host key {} can be read by others (mode {mode:03o}); run: chmod 600", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not an OpenSSH private key.
    #[error("the host key {} is not an unencrypted OpenSSH private key", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: ssh_key::Error,
    },
    /// Not Ed25519.
    #[error("the host key {} is {algorithm}; it must be ssh-ed25519", path.display())]
    Algorithm {
        /// The file.
        path: PathBuf,
        /// What it is.
        algorithm: String,
    },
    /// A public half that cannot be trusted.
    #[error("the host key is not acceptable")]
    Public(#[source] KeyError),
}

/// The host's key pair.
#[derive(Clone)]
pub struct HostKey {
    private: PrivateKey,
    public: PublicKey,
}

impl std::fmt::Debug for HostKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("HostKey").field(&self.public).finish()
    }
}

impl HostKey {
    /// Reads the key of a state directory.
    ///
    /// # Errors
    /// [`KeyFileError`]; a key that others may read is refused.
    pub fn load(state_dir: &Path) -> Result<Self, KeyFileError> {
        let path = state_dir.join(KEY_FILE);
        let file = |source: std::io::Error| {
            if source.kind() == std::io::ErrorKind::NotFound {
                return KeyFileError::Absent(path.clone());
            }
            KeyFileError::File { operation: "reading", path: path.clone(), source }
        };
        let mode = std::fs::metadata(&path).map_err(file)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Exposed { path, mode });
        }
        let text = std::fs::read_to_string(&path).map_err(file)?;
        let format = |source| KeyFileError::Format { path: path.clone(), source };
        let private = PrivateKey::from_openssh(&text).map_err(format)?;
        if private.is_encrypted() {
            return Err(format(ssh_key::Error::Encrypted));
        }
        if private.algorithm() != Algorithm::Ed25519 {
            return Err(KeyFileError::Algorithm { path, algorithm: private.algorithm().to_string() });
        }
        Self::new(private)
    }

    /// Reads the key of a state directory, or makes it. The second value tells whether it is new.
    ///
    /// # Errors
    /// [`KeyFileError`]; a key that is there but unusable is never replaced.
    pub fn load_or_make(state_dir: &Path) -> Result<(Self, bool), KeyFileError> {
        match Self::load(state_dir) {
            Err(KeyFileError::Absent(_)) => {}
            other => return other.map(|key| (key, false)),
        }
        let path = state_dir.join(KEY_FILE);
        let format = |source| KeyFileError::Format { path: path.clone(), source };
        let private = PrivateKey::random(&mut OsRng, Algorithm::Ed25519).map_err(format)?;
        let text = private.to_openssh(LineEnding::LF).map_err(format)?;
        write_new(&path, text.as_bytes()).map_err(|source| KeyFileError::File {
            operation: "writing",
            path: path.clone(),
            source,
        })?;
        // Read back: what serves from now on is what a restart will find.
        Self::load(state_dir).map(|key| (key, true))
    }

    fn new(private: PrivateKey) -> Result<Self, KeyFileError> {
        let public =
            PublicKey::from_data(private.public_key().key_data().clone()).map_err(KeyFileError::Public)?;
        Ok(Self { private, public })
    }

    /// The private half, for signing documents.
    pub const fn private(&self) -> &PrivateKey {
        &self.private
    }

    /// The public half.
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The private half as PKCS #8 version 1 (RFC 8410, section 7), which TLS takes.
    pub fn pkcs8(&self) -> Vec<u8> {
        const PREFIX: [u8; 16] =
            [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
        let seed = self.private.key_data().ed25519().map(|pair| pair.private.to_bytes());
        PREFIX.into_iter().chain(seed.into_iter().flatten()).collect()
    }
}

/// Writes a file that must not be there yet; a crash leaves either no file or the whole file.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = files::temporary(path);
    let _ = std::fs::remove_file(&temporary);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::hard_link(&temporary, path)?;
    std::fs::remove_file(&temporary)?;
    files::sync_parent(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_private_to_root_and_readable_by_ssh_keygen_format() {
        let dir = tempfile::tempdir().expect("directory");
        let (made, new) = HostKey::load_or_make(dir.path()).expect("made");
        assert!(new);
        let (again, new) = HostKey::load_or_make(dir.path()).expect("read");
        assert!(!new);
        assert_eq!(made.public(), again.public());
        let path = dir.path().join(KEY_FILE);
        assert_eq!(std::fs::metadata(&path).expect("file").permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).expect("text");
        assert!(text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
        assert_eq!(std::fs::read_dir(dir.path()).expect("listing").count(), 1, "a temporary file is left");
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_damaged_is_refused_and_kept() {
        let dir = tempfile::tempdir().expect("directory");
        assert!(matches!(HostKey::load(dir.path()), Err(KeyFileError::Absent(_))));
        HostKey::load_or_make(dir.path()).expect("made");
        let path = dir.path().join(KEY_FILE);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("chmod");
        assert!(matches!(HostKey::load_or_make(dir.path()), Err(KeyFileError::Exposed { mode: 0o640, .. })));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
        std::fs::write(&path, "damaged").expect("write");
        assert!(matches!(HostKey::load_or_make(dir.path()), Err(KeyFileError::Format { .. })));
        assert_eq!(std::fs::read(&path).expect("read"), b"damaged", "a damaged key was replaced");
    }

    #[test]
    fn tls_accepts_the_key_and_sees_the_same_public_half() {
        let dir = tempfile::tempdir().expect("directory");
        let (key, _) = HostKey::load_or_make(dir.path()).expect("made");
        let der = rustls::pki_types::PrivatePkcs8KeyDer::from(key.pkcs8());
        let signing = rustls::crypto::ring::sign::any_eddsa_type(&der).expect("accepted");
        let spki = signing.public_key().expect("a public half");
        assert_eq!(Some(spki.as_ref().to_vec()), key.public().ed25519_spki());
    }
}
