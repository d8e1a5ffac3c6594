//! One handshake: look at the ClientHello, show the name's certificate, or an alert before anything of ours is seen.

use std::{io, sync::Arc, time::Duration};

use rustls::{Error, PeerMisbehaved, server::Acceptor};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout_at},
};
use tokio_rustls::{StartHandshake, server::TlsStream};

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
pub async fn accept<S, F>(mut stream: S, limits: &Limits, choose: F) -> Accepted<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: FnOnce(&Hello<'_>) -> Option<Arc<Served>>,
{
    let deadline = Instant::now() + limits.tls_handshake;
    let hello = match timeout_at(deadline, client_hello(&mut stream)).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(error)) => return Accepted::Failed(error),
        Err(_) => return Accepted::Failed(io::ErrorKind::TimedOut.into()),
    };
    let chosen = match &hello {
        // rustls takes an IP address in SNI, which RFC 6066 forbids, for no SNI.
        ClientHello::Right(hello) => match hello.client_hello().server_name() {
            Some(name) => choose(&host::normalise(name)),
            None => choose(&Asked::Nothing),
        },
        ClientHello::NotAName => choose(&Asked::Address),
    };
    let (Some(served), ClientHello::Right(hello)) = (chosen, hello) else {
        refuse(stream, limits.linger).await;
        return Accepted::NameRefused;
    };
    let start = StartHandshake::from_parts(*hello, stream);
    match timeout_at(deadline, start.into_stream(Arc::clone(&served.config))).await {
        Ok(Ok(stream)) => Accepted::Stream(Box::new(stream), served),
        Ok(Err(error)) => Accepted::Failed(error),
        Err(_) => Accepted::Failed(io::ErrorKind::TimedOut.into()),
    }
}

/// A first flight that could be read.
enum ClientHello {
    Right(Box<rustls::server::Accepted>),
    /// Right but for an SNI that is no host name: an address in hexadecimal, for one (RFC 6066 allows DNS names only).
    NotAName,
}

/// Reads the ClientHello. tokio-rustls' own acceptor would answer an SNI that is no host name with an alert of its own, which
/// tells it from an unknown name (R41).
async fn client_hello<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> io::Result<ClientHello> {
    let mut acceptor = Acceptor::default();
    let mut buffer = [0; 2048];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = &buffer[..count];
        while !bytes.is_empty() {
            acceptor.read_tls(&mut bytes)?;
        }
        match acceptor.accept() {
            Ok(Some(hello)) => return Ok(ClientHello::Right(Box::new(hello))),
            Ok(None) => {}
            Err((Error::PeerMisbehaved(PeerMisbehaved::ServerNameMustContainOneHostName), _)) => {
                return Ok(ClientHello::NotAName);
            }
            Err((error, mut alert)) => {
                let mut record = Vec::new();
                alert.write_all(&mut record)?;
                stream.write_all(&record).await?;
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }
}

/// A client that is gone already needs no alert, so errors end it.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, patience: Duration) {
    if stream.write_all(&UNRECOGNIZED_NAME).await.is_ok() && stream.shutdown().await.is_ok() {
        linger(stream, patience).await;
    }
}
