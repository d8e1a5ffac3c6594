//! Whose certificates upstreams and verified probes over https may show: the system's trust store.

use std::{env, io, path::PathBuf, sync::Arc};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// Where the common distributions keep the store as one file; OpenSSL's variable goes first.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Why nobody's certificate can be verified.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// Nothing there.
    #[error(
        "an upstream or probe is https, but there is no store of trusted certificates; install ca-certificates, or set SSL_CERT_FILE"
    )]
    NoStore,
    /// Not readable.
    #[error("cannot read the trusted certificates in {path}")]
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
    /// The library refused.
    #[error("TLS of a client cannot be set up")]
    Tls(#[from] rustls::Error),
}

/// A client's side of TLS that trusts what this system trusts.
///
/// # Errors
/// See [`TrustError`].
pub fn client_config() -> Result<Arc<ClientConfig>, TrustError> {
    let path = env::var_os("SSL_CERT_FILE")
        .map(PathBuf::from)
        .or_else(|| BUNDLES.iter().map(PathBuf::from).find(|path| path.exists()))
        .ok_or(TrustError::NoStore)?;
    let pem = std::fs::read(&path).map_err(|source| TrustError::Unreadable { path: path.clone(), source })?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&pem).flatten());
    if roots.is_empty() {
        return Err(TrustError::Empty(path));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
