//! One probe: a connection, and what the kind asks on it.

use std::{sync::Arc, time::Instant};

use rustls::ClientConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout_at,
};
use tokio_rustls::TlsConnector;

use super::{Target, failure::Failure, http, http2, tls};
use crate::{
    dataplane::Connections,
    model::{HealthCheck, Probe, ProbeKind, ProbeVersion, Upstream},
};

/// What all probes of a configuration share.
#[derive(Debug)]
pub struct Asker {
    probe: Probe,
    /// Set up with the first probe over https; why it cannot be, otherwise.
    tls: Option<Result<Arc<ClientConfig>, Failure>>,
    /// What is asked for in TLS; None: the address.
    name: Option<String>,
    /// For ways that need it.
    connections: Option<Connections>,
}

impl Asker {
    /// For probes of this kind.
    pub fn new(probe: Probe) -> Self {
        let tls = (probe.kind == ProbeKind::Https).then(|| tls::config(&probe));
        Self { name: probe.host.clone(), probe, tls, connections: None }
    }

    /// For probes of an upstream, which are verified as its requests are.
    pub fn of_upstream(check: &HealthCheck, upstream: &Upstream) -> Self {
        let probe = check.probe(upstream);
        let tls =
            (probe.kind == ProbeKind::Https).then(|| tls::config_for(upstream.tls.as_deref(), probe.version));
        let own = upstream.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
        let name = own.or(check.host.as_deref()).or(upstream.host()).map(str::to_owned);
        Self { probe, tls, name, connections: None }
    }

    /// With the table that ways through the data path need.
    pub(super) fn with(self, connections: Option<Connections>) -> Self {
        Self { connections, ..self }
    }

    /// What it asks.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    pub(super) fn connections(&self) -> &Option<Connections> {
        &self.connections
    }

    /// Probes once, on a connection of its own.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn ask(&self, target: &Target) -> Result<(), Failure> {
        let end = Instant::now() + self.probe.timeout;
        let connected = timeout_at(end.into(), target.connect(self.connections.as_ref())).await;
        // The port is given back after the connection is closed: its last packet goes the way of the others.
        let (stream, _port) = connected.map_err(|_| Failure::Silent(self.probe.timeout))??;
        let answered = async {
            match &self.tls {
                _ if self.probe.kind == ProbeKind::Tcp => {
                    drop(stream);
                    Ok(())
                }
                None => self.converse(stream, target).await,
                Some(config) => {
                    let name = tls::name(self.name.as_deref(), target.address)?;
                    let connector = TlsConnector::from(config.clone()?);
                    let shaken = connector.connect(name, stream).await;
                    self.converse(shaken.map_err(|error| Failure::Tls(error.to_string()))?, target).await
                }
            }
        };
        timeout_at(end.into(), answered).await.map_err(|_| Failure::Slow(self.probe.timeout))?
    }

    /// Reads no further than to the status.
    async fn converse<S>(&self, mut stream: S, target: &Target) -> Result<(), Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        if self.probe.version == ProbeVersion::Http2 {
            return self.judge(http2::ask(stream, &self.probe, target.address).await?);
        }
        let failed = |error| Failure::of_exchange(&error);
        stream.write_all(&http::request(&self.probe, target.address)).await.map_err(failed)?;
        stream.flush().await.map_err(failed)?;
        let mut response = Vec::with_capacity(1024);
        let mut limited = stream.take(http::MOST as u64);
        loop {
            let read = limited.read_buf(&mut response).await.map_err(failed)?;
            match http::status(&response)? {
                Some(status) => return self.judge(status),
                None if read > 0 => {}
                None if limited.limit() == 0 => {
                    return Err(Failure::NotHttp("interim responses without an end".to_owned()));
                }
                None => return Err(Failure::Cut(String::new())),
            }
        }
    }

    fn judge(&self, status: u16) -> Result<(), Failure> {
        if self.probe.status.has(status) { Ok(()) } else { Err(Failure::Status(status)) }
    }
}
