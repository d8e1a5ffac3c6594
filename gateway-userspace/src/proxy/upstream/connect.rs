//! One new connection to an upstream.

use std::{io, sync::Arc, time::Duration};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{exchange::Fault, heard::Heard, kept::Link};
use crate::{
    model::{Upstream, UpstreamScheme},
    proxy::{limits::Limits, rate::Rate},
};

/// Connects to upstreams.
pub struct Connector {
    /// For https; there if the configuration has such an upstream.
    tls: Option<Arc<rustls::ClientConfig>>,
    limit: Duration,
    stall: Duration,
    buffer: usize,
    failures: Rate,
}

impl Connector {
    /// The connections it makes are bound by `limits`.
    pub fn new(tls: Option<Arc<rustls::ClientConfig>>, limits: &Limits) -> Self {
        Self {
            tls,
            limit: limits.upstream_connect,
            stall: limits.upstream_stall,
            buffer: limits.buffer_bytes,
            failures: Rate::default(),
        }
    }

    pub(super) async fn connect(&self, upstream: &Upstream) -> Result<Link, Fault> {
        self.in_time(upstream, self.open(upstream)).await
    }

    /// A bare connection, for what is passed through.
    pub(super) async fn dial(&self, upstream: &Upstream) -> Result<TcpStream, Fault> {
        self.in_time(upstream, tcp(upstream)).await
    }

    async fn in_time<T>(
        &self,
        upstream: &Upstream,
        connected: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let outcome = timeout(self.limit, connected).await.unwrap_or(Err(Fault::ConnectTimeout));
        // An upstream that is down fails every request.
        if let Err(error) = &outcome
            && let Some(suppressed) = self.failures.take()
        {
            log::warn!("upstream {upstream}: {error}{suppressed}");
        }
        outcome
    }

    async fn open(&self, upstream: &Upstream) -> Result<Link, Fault> {
        let stream = tcp(upstream).await?;
        match upstream.scheme {
            UpstreamScheme::Http | UpstreamScheme::Tcp => self.speak(stream).await,
            UpstreamScheme::Https => {
                let config = self.tls.clone().ok_or_else(|| {
                    Fault::Connect(io::Error::other("no trusted certificate authorities were loaded"))
                })?;
                let name = ServerName::IpAddress(upstream.address.ip().into());
                let stream = TlsConnector::from(config).connect(name, stream).await;
                self.speak(stream.map_err(Fault::Connect)?).await
            }
        }
    }

    async fn speak<S>(&self, stream: S) -> Result<Link, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (stream, heard) = Heard::new(stream, self.stall);
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(self.buffer)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Fault::Exchange)?;
        // A connection's end is the concern of the exchange on it, which gets the same error.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!("upstream connection: {error}");
            }
        });
        Ok(Link { sender, heard })
    }
}

async fn tcp(upstream: &Upstream) -> Result<TcpStream, Fault> {
    let stream = TcpStream::connect(upstream.address).await.map_err(Fault::Connect)?;
    stream.set_nodelay(true).map_err(Fault::Connect)?;
    Ok(stream)
}
