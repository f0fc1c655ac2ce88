//! A controller for tests: real TLS and real frames, and whatever behaviour a test asks for.
#![allow(dead_code, clippy::allow_attributes, reason = "each test program uses a part of it")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use digue_agent::config::Controller;
use digue_agent::keyfile::HostKey;
use digue_proto::frame::{ALPN, FromAgent, FromController, Hello, Welcome, body_length};
use digue_proto::id::{Digest, Nonce};
use digue_proto::key::PublicKey;
use digue_proto::limits::MAX_FRAME;
use digue_proto::trust::PROTOCOL_VERSION;
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A listening test controller.
pub(crate) struct Double {
    connections: Mutex<mpsc::Receiver<std::io::Result<TlsStream<TcpStream>>>>,
    accepting: AbortHandle,
    pub(crate) address: SocketAddr,
    pub(crate) pin: Digest,
}

/// A connection on which the agent has said hello.
pub(crate) struct Session {
    writer: WriteHalf<TlsStream<TcpStream>>,
    frames: mpsc::Receiver<FromAgent>,
    reading: AbortHandle,
    host_key: PublicKey,
    pub(crate) hello: Hello,
}

impl Drop for Double {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Both halves go, so the connection is closed.
        self.reading.abort();
    }
}

impl Double {
    /// Listens on `address` with a key of its own.
    pub(crate) async fn listen(dir: &Path, address: SocketAddr) -> Self {
        Self::on(dir, TcpListener::bind(address).await.expect("listening"))
    }

    /// Serves a socket that is listening already, with a key kept in `dir`.
    pub(crate) fn on(dir: &Path, listener: TcpListener) -> Self {
        std::fs::create_dir_all(dir).expect("directory");
        let (key, _) = HostKey::load_or_make(dir).expect("key");
        let spki = key.public().ed25519_spki().expect("Ed25519");
        let der = PrivatePkcs8KeyDer::from(key.pkcs8());
        let signing = ring::sign::any_eddsa_type(&der).expect("signing key");
        let shown = CertifiedKey::new(vec![CertificateDer::from(spki.clone())], signing);
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_client_cert_verifier(Arc::new(AnyRawKey(algorithms)))
            .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(Arc::new(shown))));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.send_tls13_tickets = 0;
        let address = listener.local_addr().expect("address");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (made, connections) = mpsc::channel(64);
        let accepting = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, made) = (acceptor.clone(), made.clone());
                tokio::spawn(async move { made.send(acceptor.accept(tcp).await).await });
            }
        });
        let (accepting, pin) = (accepting.abort_handle(), Digest::of(&spki));
        Self { connections: Mutex::new(connections), accepting, address, pin }
    }

    pub(crate) fn controller(&self) -> Controller {
        Controller { address: self.address, spki_sha256: self.pin }
    }

    /// The next connection, up to TLS.
    pub(crate) async fn tls(&self) -> std::io::Result<TlsStream<TcpStream>> {
        self.connections.lock().await.recv().await.expect("a listener")
    }

    /// The next connection, up to the agent's hello.
    pub(crate) async fn hello(&self) -> Session {
        let stream = self.tls().await.expect("handshake");
        Session::begin(stream).await.expect("hello")
    }

    /// The next connection that is no probe, welcomed; probes before it are answered.
    pub(crate) async fn welcomed(&self) -> Session {
        loop {
            let mut session = self.hello().await;
            session.welcome(true).await;
            if !session.hello.probe {
                return session;
            }
        }
    }
}

impl Session {
    /// Waits for the hello; `None` if the agent went away.
    pub(crate) async fn begin(mut stream: TlsStream<TcpStream>) -> Option<Self> {
        let FromAgent::Hello(hello) = hear(&mut stream).await? else { panic!("no hello") };
        let shown = stream.get_ref().1.peer_certificates().expect("a key");
        let host_key = PublicKey::from_ed25519_spki(&shown[0]).expect("Ed25519");
        let (mut reader, writer) = tokio::io::split(stream);
        let (heard, frames) = mpsc::channel(1_024);
        let reading = tokio::spawn(async move {
            while let Some(frame) = hear(&mut reader).await {
                if heard.send(frame).await.is_err() {
                    return;
                }
            }
        });
        let reading = reading.abort_handle();
        Some(Self { writer, frames, reading, host_key, hello })
    }

    pub(crate) async fn welcome(&mut self, enrolled: bool) {
        self.try_welcome(enrolled).await.expect("written");
    }

    pub(crate) async fn try_welcome(&mut self, enrolled: bool) -> std::io::Result<()> {
        let nonce = Nonce::from_bytes([9; 16]);
        self.try_say(&FromController::Welcome(Welcome { protocol: PROTOCOL_VERSION, nonce, enrolled })).await
    }

    pub(crate) async fn say(&mut self, frame: &FromController) {
        self.try_say(frame).await.expect("written");
    }

    pub(crate) async fn try_say(&mut self, frame: &FromController) -> std::io::Result<()> {
        self.try_say_raw(&frame.encode().expect("encoded")).await
    }

    /// Bytes that need not be a frame.
    pub(crate) async fn try_say_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.writer.write_all(bytes).await?;
        self.writer.flush().await
    }

    /// The next frame; `None` when the agent has closed.
    pub(crate) async fn hear(&mut self) -> Option<FromAgent> {
        self.frames.recv().await
    }

    /// The key that the agent showed.
    pub(crate) const fn host_key(&self) -> &PublicKey {
        &self.host_key
    }
}

async fn hear<R: AsyncRead + Unpin>(stream: &mut R) -> Option<FromAgent> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await.ok()?;
    let mut body = vec![0; body_length(header, MAX_FRAME).expect("length")];
    stream.read_exact(&mut body).await.ok()?;
    Some(FromAgent::decode(&body).expect("a frame of an agent"))
}

#[derive(Debug)]
struct AnyRawKey(WebPkiSupportedAlgorithms);

impl ClientCertVerifier for AnyRawKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }
    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2".to_owned()))
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(
            message,
            &SubjectPublicKeyInfoDer::from(cert.as_ref()),
            dss,
            &self.0,
        )
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
