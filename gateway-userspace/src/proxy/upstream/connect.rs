//! One new connection to an upstream.

use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
};

use super::{
    exchange::Fault,
    http1::{Link, Stream},
    server::Server,
    shared::{Shared, Streams},
    stalling::Stalling,
    tls::TlsConfigs,
};
use crate::{
    model::UpstreamScheme,
    proxy::{http2 as towards_clients, limits::Limits, rate::Rate},
};
use http::uri::Scheme;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::timeout};

/// Connects to upstreams.
pub struct Connector {
    /// For https.
    tls: TlsConfigs,
    limits: Arc<Limits>,
    failures: Rate,
}

impl Connector {
    /// The connections it makes are bound by `limits`.
    pub fn new(tls: TlsConfigs, limits: &Limits) -> Self {
        Self { tls, limits: Arc::new(limits.clone()), failures: Rate::default() }
    }

    pub(super) async fn connect(&self, server: &Server) -> Result<Link, Fault> {
        self.in_time(server, async { Ok(Link::new(self.open(server).await?, Arc::clone(&self.limits))) })
            .await
    }

    /// To an upstream of HTTP/2.
    pub(super) async fn connect_http2(&self, server: &Server) -> Result<Shared, Fault> {
        self.in_time(server, async {
            let stream = self.open(server).await?;
            let scheme = if matches!(stream, Stream::Tls(_)) { Scheme::HTTPS } else { Scheme::HTTP };
            self.share(stream, scheme).await
        })
        .await
    }

    /// A bare connection, for what is passed through.
    pub(super) async fn dial(&self, server: &Server) -> Result<TcpStream, Fault> {
        self.in_time(server, tcp(server)).await
    }

    async fn in_time<T>(
        &self,
        server: &Server,
        connected: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let outcome =
            timeout(self.limits.upstream_connect, connected).await.unwrap_or(Err(Fault::ConnectTimeout));
        // An upstream that is down fails every request.
        if let Err(error) = &outcome
            && let Some(suppressed) = self.failures.take()
        {
            log::warn!("upstream {server}: {error}{suppressed}");
        }
        outcome
    }

    async fn open(&self, server: &Server) -> Result<Stream, Fault> {
        let stream = tcp(server).await?;
        if !server.upstream.scheme.is_tls() {
            return Ok(Stream::Plain(stream));
        }
        let stream = match server.upstream.scheme {
            UpstreamScheme::H2 => {
                let alpn = vec![towards_clients::ALPN.to_vec()];
                self.tls.connect(server, stream, Some(alpn)).await.and_then(|stream| {
                    match stream.get_ref().1.alpn_protocol() {
                        Some(towards_clients::ALPN) => Ok(stream),
                        _ => Err(io::Error::other("it does not speak HTTP/2 over TLS: no h2 by ALPN")),
                    }
                })
            }
            _ => self.tls.connect(server, stream, None).await,
        };
        stream.map(|stream| Stream::Tls(Box::new(stream))).map_err(Fault::Connect)
    }

    async fn share(&self, stream: Stream, scheme: Scheme) -> Result<Shared, Fault> {
        let limits = &self.limits;
        let stream = Stalling::new(stream, limits.upstream_stall);
        // Of all streams together as much may wait here as of each: an answer that a client does not take holds up no other.
        let all =
            u32::try_from(limits.upstream_streams).unwrap_or(u32::MAX).saturating_mul(limits.stream_window);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(limits.stream_window)
            .initial_connection_window_size(all)
            .max_send_buf_size(limits.buffer_bytes)
            .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
            .keep_alive_interval(limits.upstream_ping)
            .keep_alive_timeout(limits.upstream_ping)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Fault::Exchange)?;
        let streams = Streams::new(limits.upstream_streams);
        let allowed = Arc::clone(&streams);
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            let ended = std::future::poll_fn(|cx| {
                let outcome = Pin::new(&mut connection).poll(cx);
                allowed.allow(connection.current_max_send_streams());
                outcome
            });
            if let Err(error) = ended.await {
                log::debug!("upstream connection: {error}");
            }
        });
        Ok(Shared { sender, streams, scheme })
    }
}

async fn tcp(server: &Server) -> Result<TcpStream, Fault> {
    let stream = TcpStream::connect(server.address).await.map_err(Fault::Connect)?;
    stream.set_nodelay(true).map_err(Fault::Connect)?;
    Ok(stream)
}
