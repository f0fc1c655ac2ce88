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
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A listening test controller.
pub(crate) struct Double {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    pub(crate) address: SocketAddr,
    pub(crate) pin: Digest,
}

/// A connection on which the agent has said hello.
pub(crate) struct Session {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) hello: Hello,
}

impl Double {
    /// Listens on `address` with a key of its own.
    pub(crate) async fn listen(dir: &Path, address: SocketAddr) -> Self {
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
        let listener = TcpListener::bind(address).await.expect("listening");
        let address = listener.local_addr().expect("address");
        Self { listener, acceptor: TlsAcceptor::from(Arc::new(config)), address, pin: Digest::of(&spki) }
    }

    pub(crate) fn controller(&self) -> Controller {
        Controller { address: self.address, spki_sha256: self.pin }
    }

    /// The next TCP connection.
    pub(crate) async fn tcp(&self) -> TcpStream {
        self.listener.accept().await.expect("connection").0
    }

    /// The next connection, up to TLS.
    pub(crate) async fn tls(&self) -> std::io::Result<TlsStream<TcpStream>> {
        self.acceptor.accept(self.tcp().await).await
    }

    /// The next connection, up to the agent's hello.
    pub(crate) async fn hello(&self) -> Session {
        let mut stream = self.tls().await.expect("handshake");
        match hear(&mut stream).await {
            Some(FromAgent::Hello(hello)) => Session { stream, hello },
            other => panic!("no hello but {other:?}"),
        }
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
    pub(crate) async fn welcome(&mut self, enrolled: bool) {
        let nonce = Nonce::from_bytes([9; 16]);
        self.say(&FromController::Welcome(Welcome { protocol: PROTOCOL_VERSION, nonce, enrolled })).await;
    }

    pub(crate) async fn say(&mut self, frame: &FromController) {
        let bytes = frame.encode().expect("encoded");
        self.stream.write_all(&bytes).await.expect("written");
        self.stream.flush().await.expect("flushed");
    }

    /// The next frame; `None` when the agent has closed.
    pub(crate) async fn hear(&mut self) -> Option<FromAgent> {
        hear(&mut self.stream).await
    }

    /// The key that the agent showed.
    pub(crate) fn host_key(&self) -> PublicKey {
        let shown = self.stream.get_ref().1.peer_certificates().expect("a key");
        PublicKey::from_ed25519_spki(&shown[0]).expect("Ed25519")
    }
}

async fn hear(stream: &mut TlsStream<TcpStream>) -> Option<FromAgent> {
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
