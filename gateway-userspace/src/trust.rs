//! Whose certificates upstreams and verified probes over https may show, and what they are shown: the system's trust store, or
//! what the file says.

use std::{
    env, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        WantsClientCert, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, ServerName, UnixTime,
    pem::{self, PemObject},
};

use crate::model::{CertificateFiles, UpstreamTls};

/// Where the common distributions keep the store as one file; OpenSSL's variable goes first.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Why nobody's certificate can be verified, or none can be shown.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Nothing there.
    #[error(
        "an upstream or probe is https, but there is no store of trusted certificates; install ca-certificates, or set SSL_CERT_FILE"
    )]
    NoStore,
    /// Not readable.
    #[error("cannot read {path}, which a client of TLS needs")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No certificate in it.
    #[error("{0} has no usable certificate")]
    Empty(PathBuf),
    /// Not what it should be.
    #[error("{path} is not PEM, or not what upstreams are to be shown")]
    NotPem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// They do not fit.
    #[error("{chain} and {key} cannot be shown to an upstream")]
    Pair {
        /// The certificate.
        chain: PathBuf,
        /// Its key.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The library refused.
    #[error("TLS of a client cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// A client's side of TLS as the file says, or as the system has it.
///
/// # Errors
/// See [`TrustError`].
pub(crate) fn client_config(tls: Option<&UpstreamTls>) -> Result<Arc<ClientConfig>, TrustError> {
    let ca = match tls.and_then(|tls| tls.ca.clone()) {
        Some(ca) => ca,
        None => system()?,
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca)?);
    let config = match tls.and_then(|tls| tls.certificate.as_ref()) {
        Some(files) => with_certificate(builder, files)?,
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// Judges certificates by the system's store.
///
/// # Errors
/// See [`TrustError`].
pub(crate) fn verifier() -> Result<Arc<WebPkiServerVerifier>, TrustError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let roots = Arc::new(roots(system()?)?);
    let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
    verifier.map_err(|error| TrustError::Tls(rustls::Error::General(error.to_string())))
}

/// What a server shows of itself.
pub(crate) struct Shown<'a> {
    pub(crate) leaf: &'a CertificateDer<'a>,
    pub(crate) others: &'a [CertificateDer<'a>],
    pub(crate) name: &'a ServerName<'a>,
    /// Of OCSP.
    pub(crate) response: &'a [u8],
    pub(crate) now: UnixTime,
}

/// A client's side of TLS that takes every certificate, and has `look` see it; that the other side has its key is checked all the
/// same.
///
/// # Errors
/// The library refuses.
pub(crate) fn without_verifying(
    look: impl Fn(&Shown<'_>) + Send + Sync + 'static,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate { provider, look }))
        .with_no_client_auth();
    Ok(config)
}

struct AnyCertificate<L> {
    provider: Arc<CryptoProvider>,
    look: L,
}

impl<L> std::fmt::Debug for AnyCertificate<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnyCertificate").finish_non_exhaustive()
    }
}

impl<L: Fn(&Shown<'_>) + Send + Sync> ServerCertVerifier for AnyCertificate<L> {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        (self.look)(&Shown { leaf, others, name, response, now });
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn system() -> Result<PathBuf, TrustError> {
    env::var_os("SSL_CERT_FILE")
        .map(PathBuf::from)
        .or_else(|| BUNDLES.iter().map(PathBuf::from).find(|path| path.exists()))
        .ok_or(TrustError::NoStore)
}

fn roots(path: PathBuf) -> Result<RootCertStore, TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&read(&path)?).flatten());
    if roots.is_empty() { Err(TrustError::Empty(path)) } else { Ok(roots) }
}

fn with_certificate(
    builder: rustls::ConfigBuilder<ClientConfig, WantsClientCert>,
    files: &CertificateFiles,
) -> Result<ClientConfig, TrustError> {
    let not_pem = |path: &Path| {
        let path = path.to_owned();
        |source| TrustError::NotPem { path, source }
    };
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(&files.chain)?)
        .collect::<Result<_, _>>()
        .map_err(not_pem(&files.chain))?;
    if chain.is_empty() {
        return Err(TrustError::Empty(files.chain.clone()));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(&files.key)?).map_err(not_pem(&files.key))?;
    builder.with_client_auth_cert(chain, key).map_err(|source| TrustError::Pair {
        chain: files.chain.clone(),
        key: files.key.clone(),
        source,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TrustError> {
    std::fs::read(path).map_err(|source| TrustError::Unreadable { path: path.to_owned(), source })
}
