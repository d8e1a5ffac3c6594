//! What clients of each role's names are shown, and which certificates they have to show.

use std::{collections::BTreeMap, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::NoServerSessionStorage,
};

use super::{
    CertificateError, Tickets,
    client::{self, Policy},
    pair::{ByKey, Pair},
};
use crate::{
    model::{Endpoint, Model, Role},
    proxy::http2,
};

/// What is shown to clients of one role's names.
#[derive(Debug)]
pub struct Served {
    /// For the handshake.
    pub config: Arc<ServerConfig>,
    /// What clients have to show.
    pub policy: Policy,
    pairs: Arc<[Pair]>,
}

/// The certificates of every role that has an endpoint.
pub type Certificates = BTreeMap<Role, Arc<Served>>;

impl Served {
    /// Whether all its certificates are good for `name`: then a request for it may come on this connection (RFC 9113, section 9.1.1).
    pub fn covers(&self, name: &str) -> bool {
        self.pairs.iter().all(|pair| pair.covers.get(name).is_some())
    }

    /// When the first of its certificates is good no more, in seconds since 1970.
    pub fn expires_at(&self) -> i64 {
        self.pairs.iter().map(|pair| pair.not_after).min().unwrap_or(i64::MAX)
    }

    /// Reads the certificates of all endpoints. What is unwise but works is logged.
    ///
    /// # Errors
    /// The first that cannot be used.
    pub fn load(model: &Model, tickets: &Arc<Tickets>) -> Result<Certificates, CertificateError> {
        let load = |endpoint: &Endpoint| Ok((endpoint.role, Arc::new(Self::of(endpoint, tickets)?)));
        model.endpoints.iter().map(load).collect()
    }

    /// Reads them again. Where one cannot be used, which is logged, what was shown before stays.
    pub fn renew(model: &Model, tickets: &Arc<Tickets>, before: &Certificates) -> Certificates {
        let renew = |endpoint: &Endpoint| match Self::of(endpoint, tickets) {
            Ok(served) => Some((endpoint.role, Arc::new(served))),
            Err(error) => {
                log::error!("the certificate in use stays: {:#}", anyhow::Error::from(error));
                before.get(&endpoint.role).map(|served| (endpoint.role, Arc::clone(served)))
            }
        };
        model.endpoints.iter().filter_map(renew).collect()
    }

    fn of(endpoint: &Endpoint, tickets: &Arc<Tickets>) -> Result<Self, CertificateError> {
        let provider: Arc<CryptoProvider> = Arc::new(aws_lc_rs::default_provider());
        let pairs = endpoint.certificates.iter().map(|files| Pair::read(endpoint, files, &provider));
        let pairs: Arc<[Pair]> = pairs.collect::<Result<Vec<_>, _>>()?.into();
        let (verifier, policy) = client::verifier(endpoint, &provider)?;
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(ByKey::new(Arc::clone(&pairs), provider)));
        config.alpn_protocols = vec![http2::ALPN.to_vec(), b"http/1.1".to_vec()];
        config.ticketer = Arc::new(tickets.bound_to(policy));
        // Its sessions would be lost with each reload; tickets are not.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), policy, pairs })
    }
}
