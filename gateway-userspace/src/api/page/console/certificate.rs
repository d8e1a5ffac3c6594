//! The certificate that a VIP shows: taken as it is, and judged beside.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::{extensions::GeneralName, prelude::X509Certificate};

use crate::trust;

/// Lets every certificate pass, and keeps what a client that goes by the system's store would say of it.
#[derive(Debug)]
pub(super) struct Judge {
    provider: Arc<CryptoProvider>,
    verdict: Mutex<Option<Verdict>>,
}

/// What a client would say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) is_trusted: bool,
    pub(super) text: String,
}

impl Judge {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { provider: Arc::new(aws_lc_rs::default_provider()), verdict: Mutex::new(None) })
    }

    /// A client's side of TLS with it.
    pub(super) fn client(self: &Arc<Self>) -> Result<Arc<ClientConfig>, Error> {
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(self) as Arc<dyn ServerCertVerifier>)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// What it came to.
    pub(super) fn verdict(&self) -> Option<Verdict> {
        self.verdict.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = trust::verifier().map_err(|error| format!("not judged: {error}")).and_then(|verifier| {
            let outcome = verifier.verify_server_cert(leaf, others, name, response, now);
            outcome.map_err(|error| format!("not trusted by this host: {error}"))
        });
        let verdict = match judged {
            Ok(_) => Verdict { is_trusted: true, text: "trusted by this host, and for this name".to_owned() },
            Err(text) => Verdict { is_trusted: false, text },
        };
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
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

/// What is in a certificate, for people.
pub(super) fn describe(leaf: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, leaf)) = x509_parser::parse_x509_certificate(leaf) else {
        return vec!["the certificate cannot be understood".to_owned()];
    };
    let until = leaf.validity().not_after;
    let end = until.to_rfc2822().unwrap_or_else(|_| until.timestamp().to_string());
    vec![
        format!("certificate for {}", names(&leaf)),
        format!("issued by {}, good until {end}", leaf.issuer()),
    ]
}

fn names(leaf: &X509Certificate<'_>) -> String {
    let Ok(Some(names)) = leaf.subject_alternative_name() else { return "no name".to_owned() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    };
    names.value.general_names.iter().filter_map(name).collect::<Vec<_>>().join(", ")
}
