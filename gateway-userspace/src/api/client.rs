//! The other end: what the command line's verbs ask by the Unix socket.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use hyper::{Method, Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, time::timeout};
use tokio_util::task::AbortOnDropHandle;

use super::wire::Failure;

/// An apply may claim addresses.
const PATIENCE: Duration = Duration::from_secs(150);

/// Of an answer.
const LARGEST: usize = 64 * 1024 * 1024;

/// Why there is no answer, or none that was hoped for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody listens.
    #[error("no balancer listens on {}", socket.display())]
    Absent {
        /// Where.
        socket: PathBuf,
    },
    /// The file's mode keeps us out.
    #[error("{} is not ours to use; run it as root, or as the user of the balancer", socket.display())]
    Permission {
        /// Which.
        socket: PathBuf,
    },
    /// It broke.
    #[error("the balancer at {} did not answer: {source}", socket.display())]
    Broken {
        /// Which.
        socket: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It answered, and refused.
    #[error("{}", failure.error)]
    Refused {
        /// HTTP's.
        status: u16,
        /// What it says.
        failure: Failure,
    },
    /// It answered what this version does not understand.
    #[error("the balancer at {} answers what this version of gateway does not understand ({source}); is it of another version?", socket.display())]
    Strange {
        /// Which.
        socket: PathBuf,
        /// What.
        source: serde_json::Error,
    },
}

/// Asks one balancer.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
}

impl Client {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// No event loop.
    pub fn new(socket: PathBuf) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { socket, runtime })
    }

    /// Where it asks.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Looks.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        self.ask(Method::GET, path, Bytes::new())
    }

    /// Asks for what needs a body.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<T, Error> {
        let strange = |source| Error::Strange { socket: self.socket.clone(), source };
        let broken = |source| Error::Broken { socket: self.socket.clone(), source };
        let exchange = async {
            timeout(PATIENCE, self.exchange(method, path, body.into()))
                .await
                .unwrap_or_else(|_| Err(broken(io::ErrorKind::TimedOut.into())))
        };
        let (status, body) = self.runtime.block_on(exchange)?;
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(strange);
        }
        let failure = serde_json::from_slice(&body).map_err(strange)?;
        Err(Error::Refused { status: status.as_u16(), failure })
    }

    async fn exchange(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), Error> {
        let socket = || self.socket.clone();
        let stream = UnixStream::connect(&self.socket).await.map_err(|source| match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::Absent { socket: socket() },
            io::ErrorKind::PermissionDenied => Error::Permission { socket: socket() },
            _ => Error::Broken { socket: socket(), source },
        })?;
        let broken =
            |error: hyper::Error| Error::Broken { socket: socket(), source: io::Error::other(error) };
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONNECTION, "close")
            .body(Body::from(body))
            .map_err(|error| Error::Broken { socket: socket(), source: io::Error::other(error) })?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = to_bytes(Body::new(response.into_body()), LARGEST).await;
        let body =
            body.map_err(|error| Error::Broken { socket: socket(), source: io::Error::other(error) })?;
        Ok((status, body))
    }
}
