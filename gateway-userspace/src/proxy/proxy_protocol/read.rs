//! Reading a header from a socket, and not a byte more: what follows is for whoever speaks next.

use std::io;

use tokio::{io::AsyncReadExt, net::TcpStream};

use super::{Header, MOST, parse};

/// Reads the header that a connection begins with.
///
/// # Errors
/// There is none, it ends within, or the connection fails.
pub async fn read(stream: &mut TcpStream) -> io::Result<Header> {
    let mut bytes = vec![0; MOST];
    let mut have = 0;
    loop {
        let seen = match stream.peek(&mut bytes[have..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            seen => seen,
        };
        let parsed = parse(&bytes[..have + seen]);
        let parsed = parsed.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        // Without an end in sight all that has been seen is the header's; to leave it there would be to see it again at once.
        let end = parsed.map_or(have + seen, |(_, length)| length);
        stream.read_exact(&mut bytes[have..end]).await?;
        if let Some((header, _)) = parsed {
            return Ok(header);
        }
        have = end;
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;
    use crate::proxy::proxy_protocol::{Ends, v2};

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let client = client.unwrap();
        client.set_nodelay(true).unwrap();
        (client, accepted.unwrap().0)
    }

    #[tokio::test]
    async fn in_two_pieces_anywhere_and_what_follows_stays() {
        let ends =
            Ends { source: "192.0.2.7:51000".parse().unwrap(), destination: "10.0.0.5:443".parse().unwrap() };
        for header in [b"PROXY TCP4 192.0.2.7 10.0.0.5 51000 443\r\n".to_vec(), v2::header(ends)] {
            for split in 1..header.len() {
                let (mut client, mut server) = pair().await;
                client.write_all(&header[..split]).await.unwrap();
                let mut early = [0; 1];
                // The first piece is there before the second is sent.
                server.peek(&mut early).await.unwrap();
                let (read, ()) = tokio::join!(read(&mut server), async {
                    tokio::task::yield_now().await;
                    client.write_all(&header[split..]).await.unwrap();
                    client.write_all(b"next").await.unwrap();
                });
                assert_eq!(read.unwrap(), Header::Of(ends), "{split}");
                let mut next = [0; 4];
                server.read_exact(&mut next).await.unwrap();
                assert_eq!(&next, b"next");
            }
        }
    }

    #[tokio::test]
    async fn a_connection_without_one_is_told_apart_at_once() {
        let (mut client, mut server) = pair().await;
        client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        assert_eq!(read(&mut server).await.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let (client, mut server) = pair().await;
        drop(client);
        assert_eq!(read(&mut server).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
