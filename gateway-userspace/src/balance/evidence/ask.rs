//! One question to an instance, over a connection of its own.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use axum::body::{self, Body};
use gateway_ebpf::address::{FIVE_TUPLE, SOURCE_ADDRESS, THREE_TUPLE};
use http::{Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpSocket, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::report::{Report, Wrong};
use crate::snat;

/// For the whole exchange: an instance with a million sockets takes a second to list them.
const LIMIT: Duration = Duration::from_secs(10);
/// A flow in each of the 65,537 buckets comes to some 800 KiB.
const LARGEST: usize = 4 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::balance) enum Failure {
    #[error("it cannot be reached at {0}: {1}")]
    Connect(SocketAddr, #[source] io::Error),
    #[error("{0} does not answer within {limit} s", limit = LIMIT.as_secs())]
    Timeout(SocketAddr),
    #[error("the exchange with {0} broke off: {1}")]
    Exchange(SocketAddr, String),
    #[error(
        "{0} answers {1}; it has to run this version of gateway, and its file has to name this host in balancer.address"
    )]
    Refused(SocketAddr, StatusCode),
    #[error("{0}: {1}")]
    Wrong(SocketAddr, #[source] Wrong),
    #[error("{0}: {1}")]
    Ports(SocketAddr, #[source] snat::Wrong),
}

impl Failure {
    /// There is no such path, for us at least.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(_, StatusCode::NOT_FOUND))
    }
}

/// Where an instance answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::balance) struct Place {
    pub(in crate::balance) to: SocketAddr,
    /// This host's address by which the instance knows it.
    pub(in crate::balance) from: Option<IpAddr>,
}

impl Place {
    /// Its living flows, in buckets by this mask.
    pub(super) async fn flows(self, name: &str, affinity: u64) -> Result<Report, Failure> {
        let begun = Instant::now();
        let path = format!("/flows?affinity={}", affinity_name(affinity));
        let answer = self.within(self.exchange(Method::GET, &path, String::new())).await?;
        Report::read(&answer, name, begun, affinity).map_err(|wrong| Failure::Wrong(self.to, wrong))
    }

    /// Has it drain for so long from now on; none: no more.
    pub(super) async fn drain(self, left: Option<Duration>) -> Result<(), Failure> {
        let (method, body) = match left {
            Some(left) => (Method::PUT, format!(r#"{{"seconds":{}}}"#, left.as_secs())),
            None => (Method::DELETE, String::new()),
        };
        self.within(self.exchange(method, "/drain", body)).await.map(drop)
    }

    /// Tells it which SNAT ports it has, and asks what it uses of them.
    pub(in crate::balance) async fn snat(
        self,
        name: &str,
        order: &snat::Order,
    ) -> Result<snat::Report, Failure> {
        let body =
            serde_json::to_string(order).map_err(|error| Failure::Exchange(self.to, error.to_string()))?;
        let answer = self.within(self.exchange(Method::POST, "/snat", body)).await?;
        snat::Report::read(&answer, name).map_err(|wrong| Failure::Ports(self.to, wrong))
    }

    async fn within<T>(self, exchange: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        timeout(LIMIT, exchange).await.unwrap_or(Err(Failure::Timeout(self.to)))
    }

    async fn exchange(self, method: Method, path: &str, body: String) -> Result<Vec<u8>, Failure> {
        let broken = |error: &dyn std::error::Error| Failure::Exchange(self.to, error.to_string());
        let stream = self.connect().await.map_err(|error| Failure::Connect(self.to, error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        // Ends with the exchange, whose error tells.
        let connection =
            AbortOnDropHandle::new(tokio::spawn(async move { connection.await.unwrap_or_default() }));
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.to.to_string())
            .header(header::CONNECTION, "close")
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|error| broken(&error))?;
        let answer: Response<Incoming> =
            sender.send_request(request).await.map_err(|error| broken(&error))?;
        if !answer.status().is_success() {
            return Err(Failure::Refused(self.to, answer.status()));
        }
        let body = body::to_bytes(Body::new(answer.into_body()), LARGEST).await;
        drop(connection);
        Ok(body.map_err(|error| broken(&error))?.to_vec())
    }

    async fn connect(self) -> io::Result<tokio::net::TcpStream> {
        let socket = if self.to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(from) = self.from {
            socket.bind((from, 0).into())?;
        }
        socket.connect(self.to).await
    }
}

/// As the file has it.
const fn affinity_name(mask: u64) -> &'static str {
    match mask {
        THREE_TUPLE => "three-tuple",
        SOURCE_ADDRESS => "source-address",
        _ => "five-tuple",
    }
}

const _: () = assert!(FIVE_TUPLE != THREE_TUPLE && FIVE_TUPLE != SOURCE_ADDRESS);
