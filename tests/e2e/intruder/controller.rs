//! A controller whose owner is the intruder (position C of the trust design): it has the real controller's
//! key, so agents connect to it, and it says whatever it is told to.
//!
//! It prints what agents say. It never confirms that a document is stored, so agents keep theirs for the
//! real controller.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};
use digue_proto::envelope::Envelope;
use digue_proto::frame::{ALPN, Delivery, FromAgent, FromController, Welcome, body_length};
use digue_proto::id::{HostId, Nonce};
use digue_proto::limits::MAX_FRAME;
use digue_proto::trust::PROTOCOL_VERSION;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::say;

/// What it is told to do.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Told {
    /// Which agent.
    to: HostId,
    /// An order, however wrong.
    deliver: Option<Box<Delivery>>,
    /// Trust roots.
    roots: Option<Vec<Envelope>>,
}

/// What it heard.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Heard {
    /// It listens.
    Listening {},
    /// An agent is connected.
    Hello { host: HostId },
    /// A receipt or report.
    Document { host: HostId, envelope: Envelope },
    /// What it was told could not be said.
    NotSaid { host: HostId },
}

type Writer = WriteHalf<TlsStream<TcpStream>>;
type Agents = Arc<Mutex<BTreeMap<HostId, Arc<tokio::sync::Mutex<Writer>>>>>;

/// Serves agents until standard input ends.
///
/// # Errors
/// The key is no controller's, or the address is taken.
pub(crate) fn run(listen: SocketAddr, key: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(listen, key))
}

async fn serve(listen: SocketAddr, key: &Path) -> Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(tls(key)?));
    let listener = TcpListener::bind(listen).await.with_context(|| format!("listening on {listen}"))?;
    say(&Heard::Listening {})?;
    let agents = Agents::default();
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("waiting for agents")?;
                tokio::spawn(hear(acceptor.clone(), stream, Arc::clone(&agents)));
            }
            line = lines.next_line() => {
                let Some(line) = line.context("hearing what to do")? else { return Ok(()) };
                let told: Told = serde_json::from_str(&line).context("understanding what to do")?;
                obey(told, &agents).await?;
            }
        }
    }
}

async fn obey(told: Told, agents: &Agents) -> Result<()> {
    let writer = agents.lock().unwrap_or_else(PoisonError::into_inner).get(&told.to).cloned();
    let frames = [told.roots.map(FromController::Roots), told.deliver.map(FromController::Deliver)];
    for frame in frames.into_iter().flatten() {
        let said = match &writer {
            Some(writer) => write(&mut *writer.lock().await, &frame).await.is_ok(),
            None => false,
        };
        if !said {
            say(&Heard::NotSaid { host: told.to.clone() })?;
        }
    }
    Ok(())
}

async fn write(writer: &mut Writer, frame: &FromController) -> Result<()> {
    writer.write_all(&frame.encode()?).await?;
    Ok(writer.flush().await?)
}

/// One agent's connection; a probe is answered like any other.
async fn hear(acceptor: TlsAcceptor, stream: TcpStream, agents: Agents) -> Result<()> {
    let stream = acceptor.accept(stream).await?;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let FromAgent::Hello(hello) = next(&mut reader).await? else { anyhow::bail!("no hello") };
    let welcome = Welcome { protocol: PROTOCOL_VERSION, nonce: Nonce::from_bytes([7; 16]), enrolled: true };
    write(&mut writer, &FromController::Welcome(welcome)).await?;
    let host = hello.host_id;
    if !hello.probe {
        let writer = Arc::new(tokio::sync::Mutex::new(writer));
        agents.lock().unwrap_or_else(PoisonError::into_inner).insert(host.clone(), writer);
        say(&Heard::Hello { host: host.clone() })?;
    }
    loop {
        match next(&mut reader).await? {
            FromAgent::Document(envelope) => say(&Heard::Document { host: host.clone(), envelope })?,
            FromAgent::Heartbeat(_) | FromAgent::Hello(_) | FromAgent::Enrol(_) => {}
        }
    }
}

async fn next(reader: &mut (impl tokio::io::AsyncRead + Unpin)) -> Result<FromAgent> {
    let mut header = [0; 4];
    reader.read_exact(&mut header).await?;
    let mut body = vec![0; body_length(header, MAX_FRAME)?];
    reader.read_exact(&mut body).await?;
    Ok(FromAgent::decode(&body)?)
}

fn tls(key: &Path) -> Result<rustls::ServerConfig> {
    let pem = std::fs::read(key).with_context(|| format!("reading {}", key.display()))?;
    let key = PrivateKeyDer::from_pem_slice(&pem).context("the file holds no key")?;
    let PrivateKeyDer::Pkcs8(key) = key else { anyhow::bail!("the key is not in PKCS #8") };
    let key = ring::sign::any_eddsa_type(&key).context("the key is not Ed25519")?;
    let spki = key.public_key().context("the key has no public half")?;
    ensure!(!spki.is_empty(), "the key has no public half");
    let shown = CertifiedKey::new(vec![CertificateDer::from(spki.to_vec())], key);
    let provider: CryptoProvider = ring::default_provider();
    let algorithms = provider.signature_verification_algorithms;
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(AnyKey(algorithms)))
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(shown))));
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// Takes any agent.
#[derive(Debug)]
struct AnyKey(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        _key: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _key: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2".to_owned()))
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(key.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, signature, &self.0)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
