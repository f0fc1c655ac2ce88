//! A small agent: TLS with a raw public key, frames, and signed documents in a chain. It does nothing to
//! any host.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use digue_proto::envelope::{Envelope, PayloadType};
use digue_proto::frame::{ALPN, Delivery, FromAgent, FromController, Hello, Welcome, body_length};
use digue_proto::id::{Digest, HostId};
use digue_proto::limits::MAX_FRAME;
use digue_proto::policy::{BlockList, Policy};
use digue_proto::report::{Check, Clocks, HeartbeatV1, Level, Links, Outcome, Proofs, ReceiptV1, ReportV1};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ResolvesClientCert};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::documents::{BOOT, Key, host_id, host_key, host_signed, now};

/// How long anything may take before a test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Pinned {
    pin: Digest,
    raw: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        key: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if Digest::of(key) == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::General("not the pinned key".to_owned()))
        }
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        key: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        if self.raw {
            let key = SubjectPublicKeyInfoDer::from(key.as_ref());
            verify_tls13_signature_with_raw_key(message, &key, dss, algorithms)
        } else {
            rustls::crypto::verify_tls13_signature(message, key, dss, algorithms)
        }
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
    fn requires_raw_public_keys(&self) -> bool {
        self.raw
    }
}

/// How a client presents itself; every field can be set to what a stranger might do.
pub(crate) struct Dial {
    pub(crate) address: SocketAddr,
    pub(crate) pin: Digest,
    pub(crate) alpn: Vec<Vec<u8>>,
    pub(crate) resolver: Option<Arc<dyn ResolvesClientCert>>,
    pub(crate) raw: bool,
}

impl Dial {
    pub(crate) fn new(address: SocketAddr, pin: Digest, key: &Key) -> Self {
        Self { address, pin, alpn: vec![ALPN.to_vec()], resolver: Some(raw_key(key)), raw: true }
    }

    pub(crate) async fn connect(self) -> std::io::Result<TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Pinned { pin: self.pin, raw: self.raw, provider: Arc::clone(&provider) };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("versions")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match self.resolver {
            Some(resolver) => builder.with_client_cert_resolver(resolver),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.alpn;
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("controller").expect("name");
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }
}

fn raw_key(key: &Key) -> Arc<dyn ResolvesClientCert> {
    const PKCS8: [u8; 16] =
        [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    let der = [&PKCS8[..], &key.seed].concat();
    let signing = rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(der));
    let spki = CertificateDer::from(key.public.ed25519_spki().expect("ed25519"));
    let certified = CertifiedKey::new(vec![spki], signing.expect("key"));
    Arc::new(AlwaysResolvesClientRawPublicKeys::new(Arc::new(certified)))
}

/// What is reported of the links.
pub(crate) fn proofs() -> Proofs {
    let passed = || Check::Passed { detail: "as meant".to_owned(), at_ms: now() };
    Proofs { read_back: passed(), probes: passed(), outside: Check::NotDone {}, management: passed() }
}

/// A connected agent.
pub(crate) struct Agent {
    pub(crate) host: HostId,
    pub(crate) key: Key,
    pub(crate) deployment: Digest,
    pub(crate) welcome: Welcome,
    stream: TlsStream<TcpStream>,
    pub(crate) seq: u64,
    pub(crate) prev: Option<Digest>,
    boottime_ms: u64,
}

impl Agent {
    /// Connects as the host with this index, with the key that the inventories of these tests name.
    pub(crate) async fn connect(address: SocketAddr, pin: Digest, deployment: Digest, index: u32) -> Self {
        let dial = Dial::new(address, pin, &host_key(index));
        Self::over(dial, deployment, host_id(index), host_key(index), hello(index))
            .await
            .expect("connected and welcomed")
    }

    pub(crate) async fn over(
        dial: Dial,
        deployment: Digest,
        host: HostId,
        key: Key,
        hello: Hello,
    ) -> std::io::Result<Self> {
        let mut stream = dial.connect().await?;
        stream.write_all(&FromAgent::Hello(hello).encode().expect("hello")).await?;
        let first = read(&mut stream).await?;
        let FromController::Welcome(welcome) = first else { panic!("no welcome but {first:?}") };
        Ok(Self { host, key, deployment, welcome, stream, seq: 0, prev: None, boottime_ms: 1 })
    }

    /// Goes on with the chain of an earlier connection.
    pub(crate) fn continuing(mut self, before: &Self) -> Self {
        (self.seq, self.prev, self.boottime_ms) = (before.seq, before.prev, before.boottime_ms);
        self
    }

    pub(crate) async fn send(&mut self, frame: &FromAgent) {
        self.send_raw(&frame.encode().expect("frame")).await.expect("sent");
    }

    pub(crate) async fn send_raw(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    pub(crate) async fn next(&mut self) -> std::io::Result<FromController> {
        read(&mut self.stream).await
    }

    /// The next order, whatever else comes first.
    pub(crate) async fn order(&mut self) -> Delivery {
        loop {
            if let FromController::Deliver(delivery) = self.next().await.expect("a frame") {
                return *delivery;
            }
        }
    }

    /// Waits until the controller has closed the connection.
    pub(crate) async fn closed(&mut self) {
        while self.next().await.is_ok() {}
    }

    fn clocks(&mut self) -> Clocks {
        self.boottime_ms += 1;
        Clocks { wall_ms: now(), boottime_ms: self.boottime_ms, boot_id: BOOT.to_owned() }
    }

    fn chained(&mut self, envelope: Envelope) -> Envelope {
        self.seq += 1;
        self.prev = Some(envelope.digest());
        envelope
    }

    /// The next report of the chain.
    pub(crate) fn report(&mut self, links: Links) -> Envelope {
        let report = ReportV1 {
            deployment_id: self.deployment,
            host_id: self.host.clone(),
            seq: self.seq + 1,
            prev: self.prev,
            clocks: self.clocks(),
            agent_version: "test".to_owned(),
            level: Level::L4,
            level_detail: Vec::new(),
            root_version: 1,
            root_digest: self.deployment,
            heads: Vec::new(),
            order_id: None,
            links,
            policy: Policy::open(),
            blocked: BlockList::default(),
            rules_meant: None,
            rules_observed: None,
            drift: Vec::new(),
            proofs: proofs(),
            sessions_cut: 0,
            alarms: Vec::new(),
            challenge: None,
        };
        let envelope = host_signed(PayloadType::Report, &report, &self.key);
        self.chained(envelope)
    }

    /// The next receipt of the chain.
    pub(crate) fn receipt(&mut self, order: Digest, outcome: Outcome) -> Envelope {
        let receipt = ReceiptV1 {
            deployment_id: self.deployment,
            host_id: self.host.clone(),
            seq: self.seq + 1,
            prev: self.prev,
            clocks: self.clocks(),
            order,
            order_id: None,
            outcome,
            remarks: Vec::new(),
            root_version: 1,
            challenge: None,
        };
        let envelope = host_signed(PayloadType::Receipt, &receipt, &self.key);
        self.chained(envelope)
    }

    pub(crate) async fn heartbeat(&mut self, links: Links, rules_hold: bool) {
        let heartbeat = HeartbeatV1 {
            deployment_id: self.deployment,
            host_id: self.host.clone(),
            seq: self.seq,
            head: self.prev,
            clocks: self.clocks(),
            links,
            rules_hold,
            echo: Some(self.welcome.nonce),
        };
        let envelope = host_signed(PayloadType::Heartbeat, &heartbeat, &self.key);
        self.send(&FromAgent::Heartbeat(envelope)).await;
    }

    /// Sends a document and waits until the controller says that it is on disk.
    pub(crate) async fn stored(&mut self, envelope: Envelope) {
        let digest = envelope.digest();
        self.send(&FromAgent::Document(envelope)).await;
        loop {
            if let FromController::Stored(stored) = self.next().await.expect("a frame") {
                assert_eq!(stored, digest);
                return;
            }
        }
    }
}

pub(crate) fn hello(index: u32) -> Hello {
    Hello { protocol: 1, host_id: host_id(index), root_version: 1, probe: false }
}

async fn read(stream: &mut TlsStream<TcpStream>) -> std::io::Result<FromController> {
    let frame = async {
        let mut header = [0; 4];
        stream.read_exact(&mut header).await?;
        let length = body_length(header, MAX_FRAME).map_err(std::io::Error::other)?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        FromController::decode(&body).map_err(std::io::Error::other)
    };
    tokio::time::timeout(PATIENCE, frame).await.expect("the controller neither spoke nor closed")
}
