//! The PROXY protocol: clients as a proxy before us names them.

use std::time::Duration;

use gateway_userspace::proxy::{counters::Outcome, limits::Limits};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_rustls::TlsConnector;

use crate::support::{API, Recorder, Running, Setup, cut, plain, rest, until};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const LAST: &[u8] = b"GET / HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\n\r\n";
const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.5 51000 443\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xc0\0\x02\x08\x0a\0\0\x05\xc7\x38\x01\xbb\x04\0\x01x";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

async fn behind(prefix: &str, limits: Limits) -> (Recorder, Running) {
    let upstream = Recorder::start(OK).await;
    let proxy_protocol_from = vec![prefix.parse().unwrap()];
    let proxy = Setup { proxy_protocol_from, limits, ..Setup::to(upstream.address) }.start().await;
    (upstream, proxy)
}

/// A TLS connection that begins with `header`.
async fn tls(proxy: &Running, header: &[u8]) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut stream = TcpStream::connect(proxy.https).await.unwrap();
    stream.write_all(header).await.unwrap();
    TlsConnector::from(proxy.client()).connect(API.try_into().unwrap(), stream).await
}

#[tokio::test]
async fn upstreams_are_told_of_the_client_that_the_header_names() {
    let (upstream, proxy) = behind("127.0.0.0/8", Limits::default()).await;
    for (header, client) in [(V1, "192.0.2.7"), (V2, "192.0.2.8"), (LOCAL, "127.0.0.1")] {
        let mut stream = tls(&proxy, header).await.unwrap();
        stream.write_all(LAST).await.unwrap();
        assert!(rest(&mut stream).await.ends_with(b"ok"));
        let got = upstream.take();
        assert!(got.contains(&format!("\r\nx-forwarded-for: {client}\r\n")), "{got}");
    }
    let answer = plain(proxy.redirect, &[V1, LAST].concat()).await;
    assert!(answer.starts_with(b"HTTP/1.1 308 "), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn from_listed_sources_it_is_required_and_from_others_never_read() {
    let (_upstream, proxy) = behind("127.0.0.0/8", Limits::default()).await;
    assert!(tls(&proxy, b"").await.is_err());
    let mut wrong = TcpStream::connect(proxy.redirect).await.unwrap();
    wrong.write_all(b"PROXY TCP4 192.0.2.7\r\n\r\n").await.unwrap();
    assert_eq!(cut(&mut wrong).await.0, b"");
    assert_eq!(proxy.worker.counters().get(Outcome::ProxyHeaderRefused), 2);
    // Balancers' probes have none.
    let answer = plain(proxy.probe, b"GET /healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with(b"HTTP/1.1 200 "));

    let (_upstream, proxy) = behind("192.0.2.0/24", Limits::default()).await;
    assert!(tls(&proxy, V1).await.is_err());
    let answer = plain(proxy.redirect, &[V1, LAST].concat()).await;
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    assert!(tls(&proxy, b"").await.is_ok());
}

#[tokio::test]
async fn a_header_that_does_not_come_ends_the_connection() {
    let limits = Limits { proxy_header: Duration::from_millis(200), ..Limits::default() };
    let (_upstream, proxy) = behind("127.0.0.0/8", limits).await;
    for part in [&b""[..], &V1[..20], &V2[..20]] {
        let mut stream = TcpStream::connect(proxy.https).await.unwrap();
        stream.write_all(part).await.unwrap();
        assert_eq!(rest(&mut stream).await, b"");
    }
}

#[tokio::test]
async fn connections_count_for_the_client_and_not_for_the_proxy() {
    let limits = Limits { connections_per_source: 1, ..Limits::default() };
    let (_upstream, proxy) = behind("127.0.0.0/8", limits).await;
    let mut first = tls(&proxy, V1).await.unwrap();
    let _second = tls(&proxy, V2).await.unwrap();
    assert!(tls(&proxy, V1).await.is_err(), "a second of the same client");
    assert_eq!(proxy.worker.counters().get(Outcome::TooManyConnections), 1);
    first.write_all(&LAST[..LAST.len() - 23]).await.unwrap();
    first.write_all(b"\r\n\r\n").await.unwrap();
    until(&mut first, "ok").await;
}
