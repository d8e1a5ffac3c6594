//! One handshake: look at the ClientHello, show the name's certificate, or an alert before anything of ours is seen.

use std::{io, sync::Arc, time::Duration};

use rustls::server::Acceptor;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout_at},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use super::Served;
use crate::proxy::{
    host::{self, Asked},
    limits::Limits,
    linger::linger,
};

/// The record of a fatal alert unrecognized_name (RFC 6066, section 3), as a server that knows no name at all would send it.
const UNRECOGNIZED_NAME: [u8; 7] = [0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70];

/// Whom the ClientHello asks for.
pub type Hello<'a> = Asked<'a>;

/// How a handshake ended.
#[derive(Debug)]
pub enum Accepted<S> {
    /// With a certificate.
    Stream(Box<TlsStream<S>>, Arc<Served>),
    /// With the alert: there is no such name.
    NameRefused,
    /// It failed, or took too long.
    Failed(io::Error),
}

/// Shakes hands. `choose` gets what the client asked for and says what it is shown.
pub async fn accept<S, F>(stream: S, limits: &Limits, choose: F) -> Accepted<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: FnOnce(&Hello<'_>) -> Option<Arc<Served>>,
{
    let deadline = Instant::now() + limits.tls_handshake;
    let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), stream);
    let start = match timeout_at(deadline, &mut acceptor).await {
        Ok(Ok(start)) => start,
        Ok(Err(error)) => return Accepted::Failed(error),
        Err(_) => return Accepted::Failed(io::ErrorKind::TimedOut.into()),
    };
    // rustls takes an IP address in SNI, which RFC 6066 forbids, for no SNI.
    let chosen = match start.client_hello().server_name() {
        Some(name) => choose(&host::normalise(name)),
        None => choose(&Asked::Nothing),
    };
    let Some(served) = chosen else {
        refuse(start.io, limits.linger).await;
        return Accepted::NameRefused;
    };
    match timeout_at(deadline, start.into_stream(Arc::clone(&served.config))).await {
        Ok(Ok(stream)) => Accepted::Stream(Box::new(stream), served),
        Ok(Err(error)) => Accepted::Failed(error),
        Err(_) => Accepted::Failed(io::ErrorKind::TimedOut.into()),
    }
}

/// A client that is gone already needs no alert, so errors end it.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, patience: Duration) {
    if stream.write_all(&UNRECOGNIZED_NAME).await.is_ok() && stream.shutdown().await.is_ok() {
        linger(stream, patience).await;
    }
}
