//! One new connection to an upstream.

use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use http::uri::Scheme;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use super::{
    exchange::Fault,
    heard::Heard,
    kept::Link,
    server::Server,
    shared::{Shared, Streams},
    tls::TlsConfigs,
};
use crate::{
    model::UpstreamScheme,
    proxy::{http2 as towards_clients, limits::Limits, rate::Rate},
};

/// Connects to upstreams.
pub struct Connector {
    /// For https.
    tls: TlsConfigs,
    limit: Duration,
    stall: Duration,
    buffer: usize,
    head: usize,
    window: u32,
    streams: usize,
    ping: Duration,
    failures: Rate,
}

impl Connector {
    /// The connections it makes are bound by `limits`.
    pub fn new(tls: TlsConfigs, limits: &Limits) -> Self {
        Self {
            tls,
            limit: limits.upstream_connect,
            stall: limits.upstream_stall,
            buffer: limits.buffer_bytes,
            head: limits.head_bytes,
            window: limits.stream_window,
            streams: limits.upstream_streams,
            ping: limits.upstream_ping,
            failures: Rate::default(),
        }
    }

    pub(super) async fn connect(&self, server: &Server) -> Result<Link, Fault> {
        self.in_time(server, async {
            match self.open(server).await? {
                Stream::Plain(stream) => self.speak(stream).await,
                Stream::Tls(stream) => self.speak(stream).await,
            }
        })
        .await
    }

    /// To an upstream of HTTP/2.
    pub(super) async fn connect_http2(&self, server: &Server) -> Result<Shared, Fault> {
        self.in_time(server, async {
            match self.open(server).await? {
                Stream::Plain(stream) => self.share(stream, Scheme::HTTP).await,
                Stream::Tls(stream) => self.share(stream, Scheme::HTTPS).await,
            }
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
        let outcome = timeout(self.limit, connected).await.unwrap_or(Err(Fault::ConnectTimeout));
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
            if let Err(error) = connection.with_upgrades().await {
                log::debug!("upstream connection: {error}");
            }
        });
        Ok(Link::new(sender, heard))
    }

    async fn share<S>(&self, stream: S, scheme: Scheme) -> Result<Shared, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (stream, _) = Heard::new(stream, self.stall);
        // Of all streams together as much may wait here as of each: an answer that a client does not take holds up no other.
        let all = u32::try_from(self.streams).unwrap_or(u32::MAX).saturating_mul(self.window);
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(self.window)
            .initial_connection_window_size(all)
            .max_send_buf_size(self.buffer)
            .max_header_list_size(u32::try_from(self.head).unwrap_or(u32::MAX))
            .keep_alive_interval(self.ping)
            .keep_alive_timeout(self.ping)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(Fault::Exchange)?;
        let streams = Streams::new(self.streams);
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

/// A connection on which nothing was said yet.
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

async fn tcp(server: &Server) -> Result<TcpStream, Fault> {
    let stream = TcpStream::connect(server.address).await.map_err(Fault::Connect)?;
    stream.set_nodelay(true).map_err(Fault::Connect)?;
    Ok(stream)
}
