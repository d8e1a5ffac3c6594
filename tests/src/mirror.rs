//! A host of the internet that tells whoever comes as whom it sees them.
//!
//! | at | answer |
//! |---|---|
//! | TCP, `GET /` | 200, and the client's address and port; the connection stays open |
//! | TCP, `POST /` | the same once the whole body is there |
//! | TCP, anything else | each line comes back with the client's address and port before it |
//! | UDP port 53 | a DNS answer with the client's address, whatever is asked |
//! | UDP, other ports | the client's address and port |

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener as StdListener, TcpStream, UdpSocket as StdSocket},
    thread,
    time::Duration,
};

use anyhow::Context;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, UdpSocket},
    sync::oneshot,
    task::LocalSet,
};

use crate::host::Host;

/// It ends with this.
#[derive(Debug)]
pub struct Mirror {
    _stop: oneshot::Sender<()>,
}

impl Mirror {
    /// Listens on these addresses of `host`, by TCP and UDP.
    ///
    /// # Errors
    /// An address cannot be listened on.
    pub fn start(host: &Host, at: &[SocketAddr]) -> anyhow::Result<Self> {
        let open = |&at: &SocketAddr| -> io::Result<_> {
            let (listener, socket) = (StdListener::bind(at)?, StdSocket::bind(at)?);
            listener.set_nonblocking(true)?;
            socket.set_nonblocking(true)?;
            Ok((listener, socket))
        };
        let opened = host.enter(|| at.iter().map(open).collect::<io::Result<Vec<_>>>());
        let opened = opened.with_context(|| format!("cannot listen on {}", host.name()))?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("mirror".into()).spawn(move || {
            let local = LocalSet::new();
            local.spawn_local(async move {
                for (listener, socket) in opened {
                    // Both are what tokio takes: they do not block.
                    if let (Ok(listener), Ok(socket)) =
                        (TcpListener::from_std(listener), UdpSocket::from_std(socket))
                    {
                        tokio::task::spawn_local(accept(listener));
                        tokio::task::spawn_local(datagrams(socket));
                    }
                }
            });
            // An error: the mirror is dropped.
            let _ = runtime.block_on(local.run_until(stopped));
        })?;
        Ok(Self { _stop: stop })
    }
}

/// Connections from a host, in turn to each of these; a connection that does not come about within `limit` is an error.
pub fn connections(
    from: &Host,
    to: &[SocketAddr],
    count: usize,
    limit: Duration,
) -> Vec<io::Result<TcpStream>> {
    let to = to.iter().cycle().take(count);
    from.enter(|| to.map(|at| TcpStream::connect_timeout(at, limit)).collect())
}

async fn accept(listener: TcpListener) {
    while let Ok((stream, peer)) = listener.accept().await {
        // What goes wrong with it the client sees.
        tokio::task::spawn_local(async move { serve(stream, peer).await.unwrap_or_default() });
    }
}

async fn serve(stream: tokio::net::TcpStream, peer: SocketAddr) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while stream.read_line(&mut line).await? > 0 {
        if line.starts_with("GET ") || line.starts_with("POST ") {
            let mut length = 0;
            let mut field = String::new();
            while stream.read_line(&mut field).await? > 2 {
                if let Some(value) = field.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or_default();
                }
                field.clear();
            }
            tokio::io::copy(&mut (&mut stream).take(length), &mut tokio::io::sink()).await?;
            let body = peer.to_string();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.get_mut().write_all((head + &body).as_bytes()).await?;
        } else {
            stream.get_mut().write_all(format!("{peer} {line}").as_bytes()).await?;
        }
        line.clear();
    }
    Ok(())
}

async fn datagrams(socket: UdpSocket) {
    let is_dns = socket.local_addr().is_ok_and(|at| at.port() == 53);
    let mut buffer = [0; 2048];
    while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
        let answer = if is_dns { dns(&buffer[..length], peer.ip()) } else { peer.to_string().into_bytes() };
        // Whoever asked may be gone.
        let _ = socket.send_to(&answer, peer).await;
    }
}

/// The question again, and one record with the address (RFC 1035, section 4.1).
fn dns(question: &[u8], peer: IpAddr) -> Vec<u8> {
    /// Of the header.
    const FIXED: usize = 12;
    let Some(labels) = question.get(FIXED..) else { return Vec::new() };
    let name = labels.iter().position(|&byte| byte == 0).unwrap_or_default();
    let end = (FIXED + name + 5).min(question.len());
    let (kind, address) = match peer {
        IpAddr::V4(v4) => (1, v4.octets().to_vec()),
        IpAddr::V6(v6) => (28, v6.octets().to_vec()),
    };
    let mut answer = question[..end].to_vec();
    answer[2..FIXED].copy_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
    // The name by a pointer to the question's, class IN, no time to live.
    answer.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 0, 0, address.len() as u8]);
    answer.extend(address);
    answer
}
