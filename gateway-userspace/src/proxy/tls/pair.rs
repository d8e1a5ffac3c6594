//! A certificate with its key, from files: read, checked, and what is to be known of it.

use std::{path::Path, sync::Arc, time::SystemTime};

use rustls::{
    SignatureAlgorithm,
    crypto::CryptoProvider,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use super::CertificateError;
use crate::{
    model::{CERTIFICATE_ENDS_SOON, CertificateFiles, Endpoint, HostPattern, Role},
    proxy::names::Names,
};

/// One of an endpoint's certificates.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) key: Arc<CertifiedKey>,
    /// What it is good for.
    pub(super) covers: Names<()>,
    /// Its last second, since 1970.
    pub(super) not_after: i64,
}

impl Pair {
    /// Reads a pair. What is unwise but works is logged.
    pub(super) fn read(
        endpoint: &Endpoint,
        files: &CertificateFiles,
        provider: &CryptoProvider,
    ) -> Result<Self, CertificateError> {
        let (role, CertificateFiles { chain, key }) = (endpoint.role, files);
        let certificates = certificates(role, chain)?;
        let leaf =
            certificates.first().ok_or_else(|| no_certificate(role, chain, pem::Error::NoItemsFound))?;
        let leaf = leaf.clone();
        let private = PrivateKeyDer::from_pem_slice(&read(role, key)?).map_err(|source| {
            CertificateError::Pem { role, path: key.clone(), what: "private key", source }
        })?;
        let (_, parsed) = X509Certificate::from_der(&leaf)
            .map_err(|_| CertificateError::X509 { role, path: chain.clone() })?;
        let covers = names(&parsed);
        warn(endpoint, chain, &parsed, &covers);
        let not_after = parsed.validity().not_after.timestamp();
        let key = CertifiedKey::from_der(certificates, private, provider).map_err(|source| {
            CertificateError::KeyDoesNotFit { role, chain: chain.clone(), key: key.clone(), source }
        })?;
        Ok(Self { key: Arc::new(key), covers, not_after })
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.key.algorithm()
    }

    /// Whether a client can verify its signature, with a cipher suite for such keys.
    fn suits(&self, hello: &ClientHello<'_>, provider: &CryptoProvider) -> bool {
        let signs = self.key.key.choose_scheme(hello.signature_schemes()).is_some();
        let algorithm = self.algorithm();
        signs
            && provider.cipher_suites.iter().any(|suite| {
                suite.usable_for_signature_algorithm(algorithm)
                    && hello.cipher_suites().contains(&suite.suite())
            })
    }
}

/// The certificates of a PEM file.
pub(super) fn certificates(
    role: Role,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let all = CertificateDer::pem_slice_iter(&read(role, path)?).collect::<Result<_, _>>();
    all.map_err(|source| no_certificate(role, path, source))
}

fn no_certificate(role: Role, path: &Path, source: pem::Error) -> CertificateError {
    CertificateError::Pem { role, path: path.to_owned(), what: "certificate", source }
}

fn read(role: Role, path: &Path) -> Result<Vec<u8>, CertificateError> {
    std::fs::read(path).map_err(|source| CertificateError::Unreadable { role, path: path.to_owned(), source })
}

/// The name was chosen before rustls is asked: whatever the SNI, these are its certificates. Which of them is shown goes by what the
/// client can verify; any other before RSA, whose signatures take ten times as long.
#[derive(Debug)]
pub(super) struct ByKey {
    pairs: Arc<[Pair]>,
    provider: Arc<CryptoProvider>,
}

impl ByKey {
    /// Of at least one.
    pub(super) fn new(pairs: Arc<[Pair]>, provider: Arc<CryptoProvider>) -> Self {
        Self { pairs, provider }
    }
}

impl ResolvesServerCert for ByKey {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_rsa = |pair: &&Pair| pair.algorithm() == SignatureAlgorithm::RSA;
        let suited = || self.pairs.iter().filter(|pair| pair.suits(&hello, &self.provider));
        let shown = match &*self.pairs {
            [only] => Some(only),
            // Where none is, rustls says so to the client.
            all => suited().find(|pair| !is_rsa(pair)).or_else(|| suited().next()).or(all.first()),
        };
        shown.map(|pair| Arc::clone(&pair.key))
    }
}

fn names(certificate: &X509Certificate<'_>) -> Names<()> {
    let extension = certificate.subject_alternative_name().ok().flatten();
    let entries = extension.iter().flat_map(|extension| &extension.value.general_names);
    entries
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        })
        .map(|name| match name.strip_prefix("*.") {
            Some(parent) => (HostPattern::Wildcard(parent.to_owned()), ()),
            None => (HostPattern::Exact(name), ()),
        })
        .collect()
}

fn warn(endpoint: &Endpoint, chain: &Path, certificate: &X509Certificate<'_>, covers: &Names<()>) {
    let path = chain.display();
    let uncovered = endpoint.hosts.iter().filter(|host| match host {
        HostPattern::Exact(name) => covers.get(name).is_none(),
        // Any label will do: a wildcard name is covered by a wildcard only.
        HostPattern::Wildcard(parent) => covers.get(&format!("any-label.{parent}")).is_none(),
    });
    for host in uncovered {
        log::warn!("{path} does not cover {host} of endpoint {}: clients will refuse it", endpoint.role);
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let left = certificate.validity().not_after.timestamp() - i64::try_from(now).unwrap_or(i64::MAX);
    let days = left.div_euclid(24 * 60 * 60);
    if left <= 0 {
        log::warn!("{path} has expired ({}): renew it", certificate.validity().not_after);
    } else if days < CERTIFICATE_ENDS_SOON.into() {
        log::warn!("{path} expires in {days} days ({})", certificate.validity().not_after);
    }
}
