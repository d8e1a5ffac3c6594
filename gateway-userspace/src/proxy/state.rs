//! What a configuration comes to: built whole, then swapped in, so that no request ever sees half of it.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::{
    arrival::Arrivals,
    decide::Rules,
    guard::Guard,
    limits::Limits,
    observe::{AccessLog, Traffic},
    probe::Asked,
    routes::Routes,
    tls::{CertificateError, Certificates, Served, Tickets},
    upstream::{Connector, TlsConfigs, TrustError, Upstreams},
};
use crate::model::{self, Model, NoSni, Route};

/// Names, routes, certificates.
pub struct State {
    /// Who is answered and where requests go.
    pub routes: Routes,
    /// What clients are shown.
    pub certificates: Certificates,
    /// What a ClientHello without a name gets.
    pub no_sni: NoSni,
    /// Whose names a client is served.
    pub guard: Guard,
    /// Who connections are from.
    pub arrivals: Arrivals,
    /// What balancers are told.
    pub asked: Asked,
    /// The way to upstreams.
    pub connector: Connector,
    /// Where requests are written to, if anywhere.
    pub access_log: Option<Arc<AccessLog>>,
    /// What is known for all configurations of the process.
    pub known: Known,
}

/// What outlives a configuration.
#[derive(Debug, Clone)]
pub struct Known {
    /// Of upstreams.
    pub upstreams: Arc<Upstreams>,
    /// Of names.
    pub traffic: Arc<Traffic>,
    access_log: Arc<Mutex<Weak<AccessLog>>>,
    workers: usize,
}

impl Known {
    /// Nothing yet.
    pub fn nothing(workers: usize, limits: &Limits) -> Self {
        Self {
            upstreams: Upstreams::new(workers, limits),
            traffic: Arc::new(Traffic::new(workers)),
            access_log: Arc::default(),
            workers,
        }
    }

    /// The one that is open, if it is as the configuration has it, else a new one.
    fn access_log(&self, settings: &model::AccessLog) -> Result<Arc<AccessLog>, StateError> {
        let mut open = self.access_log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = open.upgrade().filter(|open| open.is_as(settings)) {
            return Ok(open);
        }
        let failed = |source| StateError::AccessLog { path: settings.path.clone(), source };
        let new = AccessLog::open(settings, self.workers).map_err(failed)?;
        *open = Arc::downgrade(&new);
        Ok(new)
    }
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
    /// The log.
    #[error("cannot open the access log {path}")]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl State {
    /// Reads the certificates and makes everything else from the configuration.
    ///
    /// # Errors
    /// A certificate that cannot be used, an access log that cannot be opened.
    pub fn load(
        model: &Model,
        asked: Asked,
        tickets: &Arc<Tickets>,
        limits: &Limits,
        known: &Known,
    ) -> Result<Self, StateError> {
        let certificates = Served::load(model, tickets)?;
        Self::with(model, certificates, asked, limits, known)
    }

    /// By which clients are answered.
    pub fn rules(&self) -> Rules<'_> {
        let Self { routes, certificates, no_sni, guard, .. } = self;
        Rules { routes, certificates, no_sni: *no_sni, guard }
    }

    /// With certificates that have been read already.
    ///
    /// # Errors
    /// Upstreams could not be verified, an access log cannot be opened.
    pub fn with(
        model: &Model,
        certificates: Certificates,
        asked: Asked,
        limits: &Limits,
        known: &Known,
    ) -> Result<Self, StateError> {
        let used = model.endpoints.iter().flat_map(|e| &e.routes).flat_map(Route::upstreams);
        let tls = TlsConfigs::load(used)?;
        known.upstreams.resolve_by(&model.proxy.resolver);
        Ok(Self {
            routes: Routes::new(model, &known.upstreams, &known.traffic),
            certificates,
            guard: Guard::new(model),
            arrivals: Arrivals::new(model),
            asked,
            no_sni: model.proxy.no_sni,
            connector: Connector::new(tls, limits),
            access_log: model.proxy.access_log.as_ref().map(|log| known.access_log(log)).transpose()?,
            known: known.clone(),
        })
    }
}
