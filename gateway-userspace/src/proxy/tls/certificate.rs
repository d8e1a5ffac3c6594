//! Certificates and keys from files, each checked, and the TLS configuration that shows them.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc, time::SystemTime};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert},
    sign::CertifiedKey,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject};
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer, X509Certificate},
};

use crate::{
    model::{CertificateFiles, Endpoint, HostPattern, Model, Role},
    proxy::{http2, names::Names},
};

/// Below this many days the operator is warned.
const WARNING_DAYS: i64 = 14;

/// What is shown to clients of one role's names.
#[derive(Debug)]
pub struct Served {
    /// For the handshake.
    pub config: Arc<ServerConfig>,
    covers: Names<()>,
    expires_at: i64,
}

/// The certificate of every role that has an endpoint.
pub type Certificates = BTreeMap<Role, Arc<Served>>;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Missing, or not ours to read.
    #[error("endpoint {role}: cannot read {path}")]
    Unreadable {
        /// Whose.
        role: Role,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not PEM, or nothing fitting in it.
    #[error("endpoint {role}: {path} has no {what} in PEM form")]
    Pem {
        /// Whose.
        role: Role,
        /// The file.
        path: PathBuf,
        /// What was looked for.
        what: &'static str,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// Not X.509.
    #[error("endpoint {role}: the first certificate in {path} is not valid X.509")]
    X509 {
        /// Whose.
        role: Role,
        /// The file.
        path: PathBuf,
    },
    /// The two files do not belong together, or the key is of an unknown kind.
    #[error("endpoint {role}: the key in {key} does not fit the first certificate in {chain}")]
    KeyDoesNotFit {
        /// Whose.
        role: Role,
        /// The chain.
        chain: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The library refused.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

impl Served {
    /// Unix seconds.
    pub fn expires_at(&self) -> i64 {
        self.expires_at
    }

    /// Whether the certificate is good for `name`: then a request for it may come on this connection (RFC 9113, section 9.1.1).
    pub fn covers(&self, name: &str) -> bool {
        self.covers.get(name).is_some()
    }

    /// Reads the certificates of all endpoints. What is unwise but works is logged.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn load(model: &Model, tickets: &Arc<dyn ProducesTickets>) -> Result<Certificates, CertificateError> {
        let load = |endpoint: &Endpoint| Ok((endpoint.role, Arc::new(Self::of(endpoint, tickets)?)));
        model.endpoints.iter().map(load).collect()
    }

    fn of(endpoint: &Endpoint, tickets: &Arc<dyn ProducesTickets>) -> Result<Self, CertificateError> {
        let Endpoint { role, certificate: CertificateFiles { chain, key }, .. } = endpoint;
        let role = *role;
        let read = |path: &PathBuf| {
            std::fs::read(path).map_err(|source| CertificateError::Unreadable {
                role,
                path: path.clone(),
                source,
            })
        };
        let pem = |path: &PathBuf, what| {
            let path = path.clone();
            move |source| CertificateError::Pem { role, path, what, source }
        };
        let certificates = CertificateDer::pem_slice_iter(&read(chain)?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(pem(chain, "certificate"))?;
        let leaf = certificates.first().ok_or(pem::Error::NoItemsFound).map_err(pem(chain, "certificate"))?;
        let leaf = leaf.clone();
        let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(pem(key, "private key"))?;

        let (_, parsed) = X509Certificate::from_der(&leaf)
            .map_err(|_| CertificateError::X509 { role, path: chain.clone() })?;
        let covers = names(&parsed);
        warn(endpoint, &parsed, &covers);
        let expires_at = parsed.validity().not_after.timestamp();

        let provider = Arc::new(aws_lc_rs::default_provider());
        let certified = CertifiedKey::from_der(certificates, private, &provider).map_err(|source| {
            CertificateError::KeyDoesNotFit { role, chain: chain.clone(), key: key.clone(), source }
        })?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Single(Arc::new(certified))));
        config.alpn_protocols = vec![http2::ALPN.to_vec(), b"http/1.1".to_vec()];
        config.ticketer = Arc::clone(tickets);
        // Its sessions would be lost with each reload; tickets are not.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), covers, expires_at })
    }
}

/// The name was chosen before rustls is asked: whatever the SNI, this is the certificate.
#[derive(Debug)]
struct Single(Arc<CertifiedKey>);

impl ResolvesServerCert for Single {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
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

fn warn(endpoint: &Endpoint, certificate: &X509Certificate<'_>, covers: &Names<()>) {
    let path = endpoint.certificate.chain.display();
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
        log::warn!("{path} has expired ({}): renew it and send SIGHUP", certificate.validity().not_after);
    } else if days < WARNING_DAYS {
        log::warn!("{path} expires in {days} days ({})", certificate.validity().not_after);
    }
}
