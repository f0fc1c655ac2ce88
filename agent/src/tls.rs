//! TLS 1.3 with raw public keys (RFC 7250): the controller is recognised by the SHA-256 of its key, and
//! the host by its own.
//!
//! Deliberately absent: certificates and their dates (a changed clock must not cut the agent off, 3.7 of
//! the trust design), TLS 1.2, session resumption, and names.

use std::net::SocketAddr;
use std::sync::Arc;

use digue_proto::frame;
use digue_proto::id::Digest;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, ClientConfig, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use crate::keyfile::HostKey;

/// A client configuration that accepts exactly one controller key and shows this host's.
///
/// # Errors
/// If the key cannot be used for TLS.
pub fn client(key: &HostKey, pin: Digest) -> Result<Arc<ClientConfig>, Error> {
    let provider = Arc::new(ring::default_provider());
    let der = PrivatePkcs8KeyDer::from(key.pkcs8());
    let signing = ring::sign::any_eddsa_type(&der)?;
    let spki = key.public().ed25519_spki().ok_or(Error::General("the host key is not Ed25519".to_owned()))?;
    let shown = Arc::new(CertifiedKey::new(vec![CertificateDer::from(spki)], signing));
    let verifier = Arc::new(PinnedKey { pin, algorithms: provider.signature_verification_algorithms });
    let mut config = ClientConfig::builder_with_provider(Arc::<CryptoProvider>::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(shown)));
    config.alpn_protocols = vec![frame::ALPN.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// The name that TLS asks for; with a pinned key it says nothing.
pub fn name(address: SocketAddr) -> ServerName<'static> {
    ServerName::IpAddress(address.ip().into())
}

/// Accepts one key by its digest, and proof that the peer holds its private half.
#[derive(Debug)]
struct PinnedKey {
    pin: Digest,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if intermediates.is_empty() && Digest::of(end_entity) == self.pin {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken here".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(cert.as_ref());
        verify_tls13_signature_with_raw_key(message, &spki, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
