//! Connections to the API: a Unix socket, or TLS 1.3 to a certificate pinned by its SHA-256.
//!
//! The pin replaces authorities and dates: neither a certificate authority nor a changed clock decides
//! whether the operator can reach the controller.

use std::sync::Arc;

use digue_proto::id::Digest;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};

use super::Sender;
use crate::context::Endpoint;
use crate::message::msg;
use crate::problem::{OrProblem as _, Outcome, Problem};

/// Longest wait for a connection and its handshake.
const CONNECT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Accepts exactly one certificate.
#[derive(Debug)]
struct Pinned {
    certificate: Digest,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if Digest::of(end_entity) == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn tls_config(certificate: Digest) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(Pinned { certificate, provider: Arc::clone(&provider) });
    let builder =
        ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Opens a connection.
pub(super) async fn connect(endpoint: &Endpoint) -> Outcome<Sender> {
    let address = match endpoint {
        Endpoint::Unix(path) => path.display().to_string(),
        Endpoint::Https { authority, .. } => authority.clone(),
    };
    let unreachable = || Problem::new("E0620", msg!("controller-unreachable", address = address.as_str()));
    let attempt = tokio::time::timeout(CONNECT_TIMEOUT, dial(endpoint)).await;
    attempt.or_problem(unreachable)?.map_err(|error| {
        let problem = if error.kind() == std::io::ErrorKind::PermissionDenied {
            Problem::new("E0621", msg!("controller-refuses", address = address.as_str()))
        } else if refused_certificate(&error) {
            Problem::new("E0625", msg!("certificate-wrong", address = address.as_str()))
        } else {
            unreachable()
        };
        problem.because(error)
    })
}

fn refused_certificate(error: &std::io::Error) -> bool {
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::InvalidCertificate(_)))
}

async fn dial(endpoint: &Endpoint) -> std::io::Result<Sender> {
    match endpoint {
        Endpoint::Unix(path) => shake(tokio::net::UnixStream::connect(path).await?).await,
        Endpoint::Https { authority, certificate, .. } => {
            let config = tls_config(*certificate).map_err(std::io::Error::other)?;
            let stream = tokio::net::TcpStream::connect(authority).await?;
            stream.set_nodelay(true)?;
            // The name is never checked: the pin identifies the controller, also when it is reached by
            // address alone.
            let name = ServerName::try_from("controller").map_err(std::io::Error::other)?;
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            shake(connector.connect(name, stream).await?).await
        }
    }
}

async fn shake<S>(stream: S) -> std::io::Result<Sender>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shaken = hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await;
    let (sender, connection) = shaken.map_err(std::io::Error::other)?;
    // The task ends with the connection; its errors reach whoever waits for an answer.
    tokio::spawn(connection);
    Ok(sender)
}
