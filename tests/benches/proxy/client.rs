//! A TLS client of the bench's own: handshakes, full and resumed, and connections that are only kept.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, ensure};
use rustls::{ClientConfig, RootCertStore, client::Resumption};
use rustls_pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime,
    task::JoinSet,
    time::Instant,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::stage::{Stage, name, other_core};

/// Handshakes under way at once.
const AT_ONCE: usize = 16;

/// Whether a handshake goes on where an earlier one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handshake {
    Full,
    Resumed,
}

/// What connections that are only kept speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Http1,
    Http2,
}

/// New connections with one request each, for so long; has their number.
pub(crate) fn handshakes(
    stage: &Stage,
    kind: Handshake,
    at: SocketAddr,
    time: Duration,
) -> anyhow::Result<u64> {
    run(stage, &[], async |connector| {
        let end = Instant::now() + time;
        let mut tasks = JoinSet::new();
        for _ in 0..AT_ONCE {
            // Each has tickets of its own: one ticket is used once.
            let connector = connector(kind);
            tasks.spawn(async move {
                let mut count = 0_u64;
                if kind == Handshake::Resumed {
                    // For the first ticket.
                    exchange(&connector, at).await?;
                }
                while Instant::now() < end {
                    let resumed = exchange(&connector, at).await?;
                    ensure!(resumed == (kind == Handshake::Resumed), "a handshake was not {kind:?}");
                    count += 1;
                }
                Ok(count)
            });
        }
        let mut sum = 0;
        while let Some(count) = tasks.join_next().await {
            sum += count??;
        }
        Ok(sum)
    })
}

/// Opens so many connections, asks once on each, and calls `measure` while they wait.
pub(crate) fn idle<T: Send>(
    stage: &Stage,
    at: SocketAddr,
    kept: Kept,
    count: usize,
    measure: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let alpn: &[&[u8]] = if kept == Kept::Http2 { &[b"h2"] } else { &[] };
    run(stage, alpn, async |connector| {
        let connector = connector(Handshake::Full);
        let mut all = Vec::with_capacity(count);
        while all.len() < count {
            let some = (count - all.len()).min(AT_ONCE);
            let mut tasks = JoinSet::new();
            for _ in 0..some {
                let connector = connector.clone();
                tasks.spawn(async move {
                    let mut stream = connect(&connector, at).await?;
                    match kept {
                        Kept::Http1 => ask(&mut stream, "keep-alive").await?,
                        Kept::Http2 => ask_http2(&mut stream).await?,
                    }
                    anyhow::Ok(stream)
                });
            }
            while let Some(stream) = tasks.join_next().await {
                all.push(stream??);
            }
        }
        measure()
    })
}

/// On the other core, in the stage's namespace.
fn run<T: Send>(
    stage: &Stage,
    alpn: &[&[u8]],
    work: impl AsyncFnOnce(&dyn Fn(Handshake) -> TlsConnector) -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let root = stage.authority.root();
    stage.host.enter(|| {
        stay(other_core())?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(root)? {
            roots.add(certificate?)?;
        }
        let roots = Arc::new(roots);
        let connector = |kind| {
            let mut config =
                ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                    .with_safe_default_protocol_versions()
                    .expect("the provider has them")
                    .with_root_certificates(Arc::clone(&roots))
                    .with_no_client_auth();
            config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
            config.resumption = match kind {
                Handshake::Full => Resumption::disabled(),
                Handshake::Resumed => Resumption::in_memory_sessions(64),
            };
            TlsConnector::from(Arc::new(config))
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(work(&connector))
    })
}

fn stay(core: usize) -> anyhow::Result<()> {
    let mut cores = nix::sched::CpuSet::new();
    cores.set(core)?;
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &cores).context("cannot stay on one core")
}

async fn connect(connector: &TlsConnector, at: SocketAddr) -> anyhow::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(at).await?;
    stream.set_nodelay(true)?;
    Ok(connector.connect(ServerName::try_from(name())?, stream).await?)
}

/// A connection with one request; whether its handshake was a resumed one.
async fn exchange(connector: &TlsConnector, at: SocketAddr) -> anyhow::Result<bool> {
    let mut stream = connect(connector, at).await?;
    ask(&mut stream, "close").await?;
    let resumed = stream.get_ref().1.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
    // No TIME_WAIT on either side: there are as many connections as there are ports.
    socket2::SockRef::from(stream.get_ref().0).set_linger(Some(Duration::ZERO))?;
    Ok(resumed)
}

/// One request and its whole answer.
async fn ask(stream: &mut TlsStream<TcpStream>, connection: &str) -> anyhow::Result<()> {
    let request = format!("GET /small HTTP/1.1\r\nHost: {}\r\nConnection: {connection}\r\n\r\n", name());
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::with_capacity(4096);
    loop {
        ensure!(stream.read_buf(&mut answer).await? > 0, "the answer is cut short");
        if let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n")
            && answer.len() >= head + 4 + 1024
        {
            ensure!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..head]));
            return Ok(());
        }
    }
}

/// The same over HTTP/2, frame by frame: a connection costs this client no more than over HTTP/1.1.
async fn ask_http2(stream: &mut TlsStream<TcpStream>) -> anyhow::Result<()> {
    const DATA: u8 = 0;
    const HEADERS: u8 = 1;
    const WHOLE: u8 = 0x5;
    const END_STREAM: u8 = 0x1;
    const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    const ACKNOWLEDGED: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";
    let mut fields = Vec::new();
    let name = name();
    for (name, value) in
        [(":method", "GET"), (":scheme", "https"), (":authority", &*name), (":path", "/small")]
    {
        // A literal that is not remembered (RFC 7541, section 6.2.2).
        fields.push(0);
        for text in [name, value] {
            fields.push(u8::try_from(text.len())?);
            fields.extend_from_slice(text.as_bytes());
        }
    }
    let head = [0, 0, u8::try_from(fields.len())?, HEADERS, WHOLE, 0, 0, 0, 1];
    stream.write_all(&[BEGIN, &head, &fields].concat()).await?;
    loop {
        let mut header = [0; 9];
        stream.read_exact(&mut header).await?;
        let [a, b, c, kind, flags, ..] = header;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await?;
        if kind == DATA && flags & END_STREAM != 0 {
            return Ok(stream.write_all(ACKNOWLEDGED).await?);
        }
    }
}
