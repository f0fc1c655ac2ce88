//! The controller's own keys: one for the agents' transport, one for HTTPS. No agent obeys either; they
//! only say which machine is talking.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use digue_proto::id::Digest;
use rand_core::{OsRng, RngCore as _};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey};

use crate::config::{Config, Https};

const AGENT_KEY: &str = "tls.key";
const API_KEY: &str = "api.key";
const API_CERTIFICATE: &str = "api.crt";
const LOCK: &str = "lock";

/// Why the keys cannot be used or made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    /// A file or folder.
    #[error("{operation} {path}: {source}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which path.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A private file that others may read.
    #[error("{path} has mode {mode:o}: others could read it; run chmod 600 {path}")]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A key or certificate that is not readable.
    #[error("{path} does not hold a usable key or certificate: {detail}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// A key or certificate that could not be made.
    #[error("making a key or certificate: {0}")]
    Make(#[from] rcgen::Error),
    /// Another controller runs on the same data.
    #[error("another controller uses {0}; two would write into each other")]
    InUse(PathBuf),
    /// A token that is too short to be one.
    #[error("{0} holds no token; it must be one line of at least 32 characters")]
    NoToken(PathBuf),
}

fn file_error(operation: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> IdentityError {
    let path = path.to_owned();
    move |source| IdentityError::File { operation, path, source }
}

/// Keeps other controllers away from the data folder for as long as it lives.
#[derive(Debug)]
pub(crate) struct DataLock(#[expect(dead_code, reason = "held for its lock")] File);

impl DataLock {
    /// Takes the lock.
    ///
    /// # Errors
    /// [`IdentityError::InUse`] if another controller holds it.
    pub(crate) fn take(data_dir: &Path) -> Result<Self, IdentityError> {
        let path = data_dir.join(LOCK);
        let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
        let file = opened.map_err(file_error("opening", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(std::fs::TryLockError::WouldBlock) => Err(IdentityError::InUse(data_dir.to_owned())),
            Err(std::fs::TryLockError::Error(source)) => {
                Err(IdentityError::File { operation: "locking", path, source })
            }
        }
    }
}

/// Makes the data folder and whatever key is not there yet. Doing it again changes nothing.
///
/// # Errors
/// [`IdentityError`] naming the file.
pub(crate) fn init(config: &Config) -> Result<(), IdentityError> {
    let folder = &config.data_dir;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700).create(folder).map_err(file_error("making", folder))?;
    let agent_key = folder.join(AGENT_KEY);
    if !agent_key.exists() {
        write_new(&agent_key, KeyPair::generate_for(&rcgen::PKCS_ED25519)?.serialize_pem().as_bytes())?;
    }
    if let Some(https) = &config.https {
        init_https(folder, https)?;
    }
    Ok(())
}

fn init_https(folder: &Path, https: &Https) -> Result<(), IdentityError> {
    let (key_path, certificate_path) = (folder.join(API_KEY), folder.join(API_CERTIFICATE));
    if !key_path.exists() || !certificate_path.exists() {
        // P-256, because browsers know no Ed25519 certificates.
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let params = CertificateParams::new(vec![https.listen.ip().to_string()])?;
        let certificate = params.self_signed(&key)?;
        replace(&key_path, key.serialize_pem().as_bytes())?;
        replace(&certificate_path, certificate.pem().as_bytes())?;
    }
    if !https.token_file.exists() {
        let mut bytes = [0; 32];
        OsRng.fill_bytes(&mut bytes);
        write_new(&https.token_file, format!("{}\n", Digest::from_bytes(bytes)).as_bytes())?;
    }
    Ok(())
}

/// Writes a private file that must not exist, whole or not at all.
fn write_new(path: &Path, contents: &[u8]) -> Result<(), IdentityError> {
    let temporary = path.with_extension("new");
    write_synced(&temporary, contents)?;
    // A hard link never replaces a file that another `init` made meanwhile.
    let linked = std::fs::hard_link(&temporary, path);
    std::fs::remove_file(&temporary).map_err(file_error("removing", &temporary))?;
    match linked {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map_err(file_error("making", path)),
    }?;
    sync_folder_of(path)
}

fn replace(path: &Path, contents: &[u8]) -> Result<(), IdentityError> {
    let temporary = path.with_extension("new");
    write_synced(&temporary, contents)?;
    std::fs::rename(&temporary, path).map_err(file_error("renaming to", path))?;
    sync_folder_of(path)
}

fn write_synced(path: &Path, contents: &[u8]) -> Result<(), IdentityError> {
    let write = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(contents)?;
        file.sync_all()
    };
    write().map_err(file_error("writing", path))
}

fn sync_folder_of(path: &Path) -> Result<(), IdentityError> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|f| f.sync_all()).map_err(file_error("syncing", folder))
}

fn read_private(path: &Path) -> Result<Vec<u8>, IdentityError> {
    let mut file = File::open(path).map_err(file_error("opening", path))?;
    let mode = file.metadata().map_err(file_error("reading", path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::TooOpen { path: path.to_owned(), mode });
    }
    let mut contents = Vec::new();
    file.read_to_end(&mut contents).map_err(file_error("reading", path))?;
    Ok(contents)
}

fn unusable(path: &Path, detail: impl std::fmt::Display) -> IdentityError {
    IdentityError::Unusable { path: path.to_owned(), detail: detail.to_string() }
}

fn signing_key(path: &Path) -> Result<Arc<dyn SigningKey>, IdentityError> {
    let pem = read_private(path)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|e| unusable(path, e))?;
    rustls::crypto::ring::sign::any_supported_type(&key).map_err(|e| unusable(path, e))
}

/// The raw public key that agents pin, with its private half.
///
/// # Errors
/// [`IdentityError`] naming the file.
pub(crate) fn agent_identity(data_dir: &Path) -> Result<Arc<CertifiedKey>, IdentityError> {
    let path = data_dir.join(AGENT_KEY);
    let key = signing_key(&path)?;
    let spki = key.public_key().ok_or_else(|| unusable(&path, "it has no public half"))?;
    Ok(Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki.to_vec())], key)))
}

/// The certificate of HTTPS with its private key.
///
/// # Errors
/// [`IdentityError`] naming the file.
pub(crate) fn api_identity(data_dir: &Path) -> Result<Arc<CertifiedKey>, IdentityError> {
    let certificate = api_certificate(data_dir)?;
    Ok(Arc::new(CertifiedKey::new(vec![certificate], signing_key(&data_dir.join(API_KEY))?)))
}

fn api_certificate(data_dir: &Path) -> Result<CertificateDer<'static>, IdentityError> {
    let path = data_dir.join(API_CERTIFICATE);
    CertificateDer::from_pem_file(&path).map_err(|e| unusable(&path, e))
}

/// SHA-256 of the SubjectPublicKeyInfo, for the trust root and the agents' configuration.
pub(crate) fn pin(identity: &CertifiedKey) -> Digest {
    Digest::of(identity.cert.first().map_or(&[], |spki| spki.as_ref()))
}

/// SHA-256 of the HTTPS certificate, for clients to pin.
///
/// # Errors
/// [`IdentityError`] naming the file.
pub(crate) fn api_certificate_pin(data_dir: &Path) -> Result<Digest, IdentityError> {
    Ok(Digest::of(&api_certificate(data_dir)?))
}

/// The digest of the bearer token: enough to recognise it, useless to whoever reads the memory.
///
/// # Errors
/// [`IdentityError`] naming the file.
pub(crate) fn token_digest(path: &Path) -> Result<Digest, IdentityError> {
    let contents = read_private(path)?;
    let token = contents.trim_ascii();
    if token.len() < 32 { Err(IdentityError::NoToken(path.to_owned())) } else { Ok(Digest::of(token)) }
}
