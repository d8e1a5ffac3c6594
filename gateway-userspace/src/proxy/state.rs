//! What a configuration comes to: built whole, then swapped in, so that no request ever sees half of it.

use std::sync::Arc;

use rustls::server::ProducesTickets;

use super::{
    arrival::Arrivals,
    limits::Limits,
    probe::Asked,
    routes::Routes,
    tls::{CertificateError, Certificates, Served},
    upstream::{Connector, TrustError, Upstreams, client_config},
};
use crate::model::{Model, NoSni, Route};

/// Names, routes, certificates.
pub struct State {
    /// Who is answered and where requests go.
    pub routes: Routes,
    /// What clients are shown.
    pub certificates: Certificates,
    /// What a ClientHello without a name gets.
    pub no_sni: NoSni,
    /// Who connections are from.
    pub arrivals: Arrivals,
    /// What balancers are told.
    pub asked: Asked,
    /// The way to upstreams.
    pub connector: Connector,
    /// What is known of them, for all configurations of the process.
    pub upstreams: Arc<Upstreams>,
}

/// Why a configuration cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Towards clients.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// Towards upstreams.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl State {
    /// Reads the certificates and makes everything else from the configuration.
    ///
    /// # Errors
    /// A certificate that cannot be used.
    pub fn load(
        model: &Model,
        asked: Asked,
        tickets: &Arc<dyn ProducesTickets>,
        limits: &Limits,
        upstreams: &Arc<Upstreams>,
    ) -> Result<Self, StateError> {
        let mut used = model.endpoints.iter().flat_map(|e| &e.routes).flat_map(Route::upstreams);
        let tls = used.any(|u| u.scheme.is_tls()).then(client_config).transpose()?;
        Ok(Self {
            routes: Routes::new(model, upstreams),
            certificates: Served::load(model, tickets)?,
            arrivals: Arrivals::new(model),
            asked,
            no_sni: model.proxy.no_sni,
            connector: Connector::new(tls, limits),
            upstreams: Arc::clone(upstreams),
        })
    }
}
