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

/// What a client gets.
#[derive(Debug)]
pub enum Shown<T> {
    /// A certificate.
    Certificate(Arc<Served>),
    /// Somebody else's: TLS does not end here.
    Elsewhere(T),
}

/// How a handshake ended.
#[derive(Debug)]
pub enum Accepted<S, T> {
    /// With a certificate.
    Stream(Box<TlsStream<S>>, Arc<Served>),
    /// Not here: what has come of it goes elsewhere.
    Elsewhere {
        /// The connection, to which nothing was written.
        stream: S,
        /// All that was read from it.
        hello: Vec<u8>,
        /// Where to.
        to: T,
    },
    /// With the alert: there is no such name.
    NameRefused,
    /// It failed, or took too long.
    Failed(io::Error),
}

/// The longest first flight that is read: rustls takes no longer message, and records of a few bytes each may not make more of it.
const LONGEST: usize = 64 * 1024;
/// Most ClientHellos are no longer.
const USUAL: usize = 2048;

/// Shakes hands. `choose` gets what the client asked for and says what it is shown.
pub async fn accept<S, T, F>(mut stream: S, limits: &Limits, choose: F) -> Accepted<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: FnOnce(&Hello<'_>) -> Option<Shown<T>>,
{
    let deadline = Instant::now() + limits.tls_handshake;
    let (hello, bytes) = match timeout_at(deadline, client_hello(&mut stream)).await {
        Ok(Ok(read)) => read,
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
    let (served, hello) = match (chosen, hello) {
        (Some(Shown::Certificate(served)), ClientHello::Right(hello)) => (served, hello),
        (Some(Shown::Elsewhere(to)), _) => return Accepted::Elsewhere { stream, hello: bytes, to },
        (None, _) | (_, ClientHello::NotAName) => {
            refuse(stream, limits.linger).await;
            return Accepted::NameRefused;
        }
    };
    drop(bytes);
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

/// Reads the ClientHello, and all that came with it. tokio-rustls' own acceptor would answer an SNI that is no host name with an
/// alert of its own, which tells it from an unknown name (R41).
async fn client_hello<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
) -> io::Result<(ClientHello, Vec<u8>)> {
    let mut acceptor = Acceptor::default();
    let mut all = Vec::with_capacity(USUAL);
    loop {
        let before = all.len();
        if before >= LONGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the ClientHello has no end"));
        }
        // No more at once than rustls has room for before it is asked.
        let mut some = (&mut *stream).take(USUAL as u64);
        if some.read_buf(&mut all).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = &all[before..];
        while !bytes.is_empty() {
            acceptor.read_tls(&mut bytes)?;
        }
        match acceptor.accept() {
            Ok(Some(hello)) => return Ok((ClientHello::Right(Box::new(hello)), all)),
            Ok(None) => {}
            Err((Error::PeerMisbehaved(PeerMisbehaved::ServerNameMustContainOneHostName), _)) => {
                return Ok((ClientHello::NotAName, all));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello as rustls' own client sends it.
    fn flight() -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = "Git.contoso.com".try_into().unwrap();
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    /// The same message in records of so many bytes.
    fn in_records(flight: &[u8], size: usize) -> Vec<u8> {
        let record = |part: &[u8]| [&flight[..3], &(part.len() as u16).to_be_bytes(), part].concat();
        flight[5..].chunks(size).flat_map(record).collect()
    }

    /// What was read by the time that the name was found.
    async fn read(pieces: &[&[u8]]) -> Option<Vec<u8>> {
        match accepted(pieces).await {
            Accepted::Elsewhere { hello, .. } => Some(hello),
            Accepted::Failed(_) => None,
            Accepted::Stream(..) | Accepted::NameRefused => panic!("the name was read as another one"),
        }
    }

    async fn accepted(pieces: &[&[u8]]) -> Accepted<tokio::io::DuplexStream, ()> {
        let (mut client, server) = tokio::io::duplex(1 << 20);
        let write = async {
            for piece in pieces {
                // It may be given up before all is written.
                if client.write_all(piece).await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        };
        let limits = Limits::default();
        let accept = accept(server, &limits, |hello| match hello {
            Asked::Name(name) if name == "git.contoso.com" => Some(Shown::Elsewhere(())),
            _ => None,
        });
        tokio::join!(accept, write).0
    }

    #[tokio::test]
    async fn a_hello_is_read_whole_in_whatever_pieces_it_comes() {
        let flight = flight();
        for split in 0..=flight.len() {
            let (one, other) = flight.split_at(split);
            assert_eq!(read(&[one, other]).await.as_deref(), Some(&flight[..]), "{split}");
        }
        let bytes: Vec<_> = flight.chunks(1).collect();
        assert_eq!(read(&bytes).await.as_deref(), Some(&flight[..]));
    }

    #[tokio::test]
    async fn a_hello_is_read_whole_in_whatever_records_it_comes() {
        let flight = flight();
        for size in 1..flight.len() - 5 {
            let records = in_records(&flight, size);
            assert_eq!(read(&[&records]).await.as_deref(), Some(&records[..]), "{size}");
        }
        let early = [&flight[..], &[0x17, 3, 3, 0, 4, 1, 2, 3, 4]].concat();
        assert_eq!(read(&[&early]).await.as_deref(), Some(&early[..]), "what comes behind it goes on too");
    }

    #[tokio::test]
    async fn part_of_a_hello_leads_nowhere() {
        let flight = flight();
        for length in 0..flight.len() {
            assert_eq!(read(&[&flight[..length]]).await, None, "{length}");
        }
    }

    #[tokio::test]
    async fn a_hello_with_a_wrong_byte_is_refused_or_goes_on_as_it_is() {
        let flight = flight();
        for place in 0..flight.len() {
            for change in [1, 0x20, 0x80, 0xff] {
                let mut wrong = flight.clone();
                wrong[place] ^= change;
                if let Accepted::Elsewhere { hello, .. } = accepted(&[&wrong]).await {
                    assert_eq!(hello, wrong, "{place} {change}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_hello_without_end_is_given_up() {
        // A message of 16 MB, announced and begun, in records of a byte each.
        let endless = [&[1, 0xff, 0xff, 0xff][..], &[0; 200_000]].concat();
        let flight = [&[0x16, 3, 1, 0, 0][..], &endless].concat();
        assert_eq!(read(&[&in_records(&flight, 1)]).await, None);
        assert_eq!(read(&[&in_records(&flight, 16_000)]).await, None);
    }
}
