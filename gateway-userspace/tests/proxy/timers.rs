//! Every phase ends: with limits made small, slow clients and upstreams are let go.

use std::{io::ErrorKind, time::Duration};

use gateway_userspace::proxy::{counters::Outcome, course::Course, limits::Limits};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};

use crate::support::{API, LONG, Recorder, Running, Setup, cut, rest, until};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n";
const SHORT: Duration = Duration::from_millis(300);

/// One limit is small, all others are so long that only it can end anything.
async fn small(change: impl FnOnce(&mut Limits)) -> (TcpListener, Running) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut setup = Setup::to(listener.local_addr().unwrap());
    let day = Duration::from_secs(86_400);
    setup.limits = Limits {
        first_byte: day,
        tls_handshake: day,
        head: day,
        idle: day,
        body_stall: day,
        write_stall: day,
        upstream_connect: day,
        upstream_answer: day,
        upstream_stall: day,
        upstream_idle: day,
        linger: Duration::from_millis(10),
        shutdown: day,
        ..Limits::default()
    };
    change(&mut setup.limits);
    (listener, setup.start().await)
}

async fn upstream(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
    until(&mut stream, "\r\n\r\n").await;
    stream
}

#[tokio::test]
async fn nothing_at_all() {
    let (_listener, proxy) = small(|limits| limits.first_byte = SHORT).await;
    let mut plain = TcpStream::connect(proxy.redirect).await.unwrap();
    assert_eq!(rest(&mut plain).await, b"");
    let mut tls = proxy.tls(proxy.https, API).await;
    assert_eq!(rest(&mut tls).await, b"");
}

#[tokio::test]
async fn half_a_client_hello() {
    let (_listener, proxy) = small(|limits| limits.tls_handshake = SHORT).await;
    for bytes in [&b""[..], &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc]] {
        let mut client = TcpStream::connect(proxy.https).await.unwrap();
        client.write_all(bytes).await.unwrap();
        assert_eq!(rest(&mut client).await, b"");
    }
    assert_eq!(proxy.worker.counters().get(Outcome::HandshakeFailed), 2);
}

#[tokio::test]
async fn half_a_head_and_a_head_that_trickles() {
    let (_listener, proxy) = small(|limits| limits.head = SHORT).await;
    let mut client = TcpStream::connect(proxy.redirect).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: api").await.unwrap();
    assert_eq!(rest(&mut client).await, b"");

    let mut client = TcpStream::connect(proxy.redirect).await.unwrap();
    let start = Instant::now();
    let mut trickle = tokio::time::interval(SHORT / 10);
    for byte in GET.bytes().cycle() {
        trickle.tick().await;
        let mut buffer = [0];
        let ended = timeout(Duration::ZERO, client.read(&mut buffer)).await;
        if matches!(ended, Ok(Ok(0) | Err(_))) || client.write_all(&[byte]).await.is_err() {
            break;
        }
        assert!(start.elapsed() < LONG, "a byte now and then keeps a head open for ever");
    }
    assert!(start.elapsed() >= SHORT);
}

#[tokio::test]
async fn idle_between_requests() {
    let (listener, proxy) = small(|limits| limits.idle = SHORT).await;
    let mut client = proxy.tls(proxy.https, API).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    let mut awaited = upstream(&listener).await;
    // While an answer is awaited a client is not idle. Another one, idle since later, shows when the limit has passed.
    let mut idle = proxy.tls(proxy.https, API).await;
    idle.write_all(GET.as_bytes()).await.unwrap();
    upstream(&listener).await.write_all(OK).await.unwrap();
    until(&mut idle, "ok").await;
    assert_eq!(rest(&mut idle).await, b"");
    awaited.write_all(OK).await.unwrap();
    until(&mut client, "ok").await;
    assert_eq!(rest(&mut client).await, b"");
}

#[tokio::test]
async fn a_body_that_stalls_is_408() {
    let (listener, proxy) = small(|limits| limits.body_stall = SHORT).await;
    let mut client = proxy.tls(proxy.https, API).await;
    client
        .write_all(format!("POST / HTTP/1.1\r\nHost: {API}\r\nContent-Length: 10\r\n\r\n123").as_bytes())
        .await
        .unwrap();
    let _upstream = upstream(&listener).await;
    let answer = String::from_utf8(rest(&mut client).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn a_client_that_takes_nothing() {
    let (listener, proxy) = small(|limits| limits.write_stall = SHORT).await;
    let mut client = proxy.tls(proxy.https, API).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    let mut upstream = upstream(&listener).await;
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n").await.unwrap();
    let chunk = vec![0; 1 << 20];
    let flood = async { while upstream.write_all(&chunk).await.is_ok() {} };
    timeout(LONG, flood).await.expect("the upstream's connection should have been ended");
}

#[tokio::test]
async fn an_upstream_that_does_not_answer_is_504() {
    let (listener, proxy) = small(|limits| limits.upstream_answer = SHORT).await;
    let mut client = proxy.tls(proxy.https, API).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    let mut upstream = upstream(&listener).await;
    assert_eq!(
        until(&mut client, "\r\n\r\n").await,
        "HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 0\r\n\r\n"
    );
    assert_eq!(rest(&mut upstream).await, b"", "the upstream's connection is ended");
    assert_eq!(proxy.worker.counters().get(Outcome::UpstreamTimeout), 1);
}

#[tokio::test]
async fn an_upload_that_moves_is_no_stall() {
    let (listener, proxy) = small(|limits| limits.upstream_answer = SHORT).await;
    let mut client = proxy.tls(proxy.https, API).await;
    client
        .write_all(format!("POST / HTTP/1.1\r\nHost: {API}\r\nContent-Length: 12\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut upstream = upstream(&listener).await;
    let mut step = tokio::time::interval(SHORT / 3);
    for _ in 0..12 {
        step.tick().await;
        client.write_all(b"x").await.unwrap();
        client.flush().await.unwrap();
    }
    until(&mut upstream, "xxxxxxxxxxxx").await;
    upstream.write_all(OK).await.unwrap();
    assert!(until(&mut client, "ok").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn an_upstream_that_takes_nothing_of_an_upload() {
    // It may have answered already, or not.
    for (answer, status) in [(&b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"[..], "200"), (b"", "504")] {
        let (listener, proxy) = small(|limits| limits.upstream_stall = SHORT).await;
        let client = proxy.tls(proxy.https, API).await;
        let (mut reader, mut writer) = tokio::io::split(client);
        writer
            .write_all(
                format!("POST / HTTP/1.1\r\nHost: {API}\r\nContent-Length: 1000000000\r\n\r\n").as_bytes(),
            )
            .await
            .unwrap();
        let mut upstream = upstream(&listener).await;
        upstream.write_all(answer).await.unwrap();
        let chunk = vec![0; 1 << 20];
        let flood = async { while writer.write_all(&chunk).await.is_ok() {} };
        let (head, ended) = tokio::join!(until(&mut reader, "\r\n\r\n"), timeout(LONG, flood));
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        ended.expect("the client's connection should have been ended");
    }
}

#[tokio::test]
async fn an_answer_that_stalls_is_cut() {
    let (listener, proxy) = small(|limits| limits.upstream_stall = SHORT).await;
    let mut client = proxy.tls(proxy.https, API).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    let mut upstream = upstream(&listener).await;
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await.unwrap();
    let (bytes, end) = cut(&mut client).await;
    assert!(bytes.ends_with(b"\r\n\r\nhalf"));
    assert_eq!(end.unwrap_err().kind(), ErrorKind::UnexpectedEof, "no close_notify: it is known to be cut");
}

#[tokio::test]
async fn a_connect_that_hangs_is_504() {
    // A full backlog takes no further connection: SYNs are dropped.
    let full = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = full.local_addr().unwrap();
    socket2::SockRef::from(&full).listen(0).unwrap();
    let mut fillers = Vec::new();
    while let Ok(Ok(stream)) = timeout(SHORT, TcpStream::connect(address)).await {
        fillers.push(stream);
    }
    let mut setup = Setup::to(address);
    setup.limits.upstream_connect = SHORT;
    let proxy = setup.start().await;
    let mut client = proxy.tls(proxy.https, API).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    assert!(until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 504 Gateway Timeout\r\n"));
}

#[tokio::test]
async fn kept_upstream_connections_grow_old() {
    let (listener, proxy) = small(|limits| limits.upstream_idle = SHORT).await;
    let mut client = proxy.tls(proxy.https, API).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    let mut first = upstream(&listener).await;
    let start = Instant::now();
    first.write_all(OK).await.unwrap();
    until(&mut client, "ok").await;
    assert_eq!(proxy.worker.pool().kept(), 1);
    while proxy.worker.pool().kept() > 0 {
        assert!(start.elapsed() < LONG, "it is kept for ever");
        tokio::task::yield_now().await;
        proxy.worker.pool().sweep();
    }
    assert!(start.elapsed() >= SHORT);
    assert_eq!(rest(&mut first).await, b"");
}

#[tokio::test]
async fn too_many_connections_of_one_source_are_closed() {
    let upstream = Recorder::start(OK).await;
    let mut setup = Setup::to(upstream.address);
    setup.limits.connections_per_source = 2;
    let proxy = setup.start().await;
    let _first = proxy.tls(proxy.https, API).await;
    let second = proxy.tls(proxy.https, API).await;
    let mut third = TcpStream::connect(proxy.https).await.unwrap();
    assert_eq!(rest(&mut third).await, b"");
    assert_eq!(proxy.worker.counters().get(Outcome::TooManyConnections), 1);
    drop(second);
    // Its place is free once the proxy has seen the end.
    let start = Instant::now();
    while proxy.worker.connections() > 1 {
        assert!(start.elapsed() < LONG);
        tokio::task::yield_now().await;
    }
    proxy.tls(proxy.https, API).await;
}

#[tokio::test]
async fn stopping_lets_requests_end_and_idle_connections_go() {
    let (listener, mut proxy) = small(|_| {}).await;
    let mut idle = proxy.tls(proxy.https, API).await;
    let mut fresh = TcpStream::connect(proxy.redirect).await.unwrap();
    let mut busy = proxy.tls(proxy.https, API).await;
    busy.write_all(GET.as_bytes()).await.unwrap();
    let mut upstream = upstream(&listener).await;
    let leaving = Course { accepts: false, closes: true, ending: u64::MAX, ..Course::default() };
    proxy.stop.send_replace(leaving);
    assert_eq!(rest(&mut idle).await, b"");
    assert_eq!(rest(&mut fresh).await, b"");
    upstream.write_all(OK).await.unwrap();
    let answer = String::from_utf8(rest(&mut busy).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("ok"), "{answer}");
    assert_eq!(timeout(LONG, proxy.alive.recv()).await.expect("all connections should be gone"), None);
    assert!(TcpStream::connect(proxy.https).await.is_err(), "no new connections");
}

#[tokio::test]
async fn a_connection_that_rests_between_requests_is_served_again() {
    let upstream = Recorder::start(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let mut setup = Setup::to(upstream.address);
    setup.limits.rest = Duration::from_millis(20);
    let proxy = setup.start().await;
    let mut client = proxy.tls(proxy.https, API).await;
    for pause in [0, 1, 10, 19, 20, 21, 60, 200] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        // One in two pieces, one behind it, and one with a body.
        client.write_all(b"GET /1 HTTP/1.1\r\nHost: api.con").await.unwrap();
        tokio::time::sleep(Duration::from_millis(pause)).await;
        client.write_all(b"toso.com\r\n\r\nGET /2 HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n").await.unwrap();
        until(&mut client, "ok").await;
        until(&mut client, "ok").await;
        client
            .write_all(b"POST /3 HTTP/1.1\r\nHost: api.contoso.com\r\nContent-Length: 4\r\n\r\nbo")
            .await
            .unwrap();
        tokio::time::sleep(Duration::from_millis(pause)).await;
        client.write_all(b"dy").await.unwrap();
        until(&mut client, "ok").await;
    }
    assert_eq!(upstream.requests(), 24);
    assert_eq!(proxy.worker.connections(), 1);
}
