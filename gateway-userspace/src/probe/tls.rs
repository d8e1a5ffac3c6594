//! TLS of a probe.

use std::{net::SocketAddr, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{failure::Failure, http2};
use crate::{
    model::{Probe, ProbeVersion, UpstreamTls},
    trust,
};

/// The client's side of a probe's TLS: each handshake is a whole one.
pub(super) fn config(probe: &Probe) -> Result<Arc<ClientConfig>, Failure> {
    let own = |error: &dyn std::error::Error| Failure::Own(error.to_string());
    let config = match probe.verify {
        true => return config_for(None, probe.version),
        false => {
            let provider = Arc::new(aws_lc_rs::default_provider());
            ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_safe_default_protocol_versions()
                .map_err(|error| own(&error))?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
                .with_no_client_auth()
        }
    };
    Ok(for_probes(config, probe.version))
}

/// The same for an upstream, by what is said of its TLS.
pub(super) fn config_for(
    tls: Option<&UpstreamTls>,
    version: ProbeVersion,
) -> Result<Arc<ClientConfig>, Failure> {
    let config = trust::client_config(tls).map_err(|error| Failure::Own(error.to_string()))?;
    Ok(for_probes(ClientConfig::clone(&config), version))
}

fn for_probes(mut config: ClientConfig, version: ProbeVersion) -> Arc<ClientConfig> {
    config.resumption = Resumption::disabled();
    config.alpn_protocols = match version {
        ProbeVersion::Http11 => vec![b"http/1.1".to_vec()],
        ProbeVersion::Http2 => vec![http2::ALPN.to_vec()],
    };
    Arc::new(config)
}

/// The name asked for: without a host the address, which is never sent (RFC 6066, 3).
pub(super) fn name(host: Option<&str>, address: SocketAddr) -> Result<ServerName<'static>, Failure> {
    match host {
        None => Ok(ServerName::IpAddress(address.ip().into())),
        Some(host) => ServerName::try_from(host.to_owned()).map_err(|error| Failure::Own(error.to_string())),
    }
}

/// Takes every certificate; that the other side has its key is checked all the same.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
