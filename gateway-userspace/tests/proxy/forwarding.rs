//! Requests and answers on their way through.

use std::{io::ErrorKind, sync::Arc, time::Duration};

use gateway_userspace::{model::UpstreamScheme, proxy::counters::Outcome};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

use crate::support::{API, LONG, Recorder, Setup, find, played, request, rest, until, without_ids};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n";
const LAST: &str = "GET / HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\n\r\n";

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn fields_are_set_replaced_and_dropped_on_the_wire() {
    let upstream = Recorder::start(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-hop\r\nx-hop: 1\r\nKeep-Alive: 3\r\nServer: theirs\r\nx-kept: 1\r\n\r\nok").await;
    let proxy = Setup::to(upstream.address).start().await;
    let answer = text(
        proxy
            .ask(b"GET /a HTTP/1.1\r\nHost: api.contoso.com:8443\r\nConnection: close, x-secret\r\nX-Secret: 1\r\nX-Forwarded-For: 6.6.6.6\r\nX_Forwarded_Proto: http\r\nForwarded: for=6.6.6.6\r\nTE: trailers\r\nUpgrade: websocket\r\nCookie: a=b\r\n\r\n")
            .await,
    );
    assert_eq!(
        without_ids(&answer),
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nserver: theirs\r\nx-kept: 1\r\nconnection: close\r\n\r\nok"
    );
    let mut lines: Vec<_> = without_ids(&upstream.take()).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "",
            "GET /a HTTP/1.1",
            "connection: te",
            "cookie: a=b",
            "host: api.contoso.com:8443",
            "te: trailers",
            "via: 1.1 gw-1",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: api.contoso.com:8443",
            "x-forwarded-proto: https"
        ]
    );
}

#[tokio::test]
async fn one_upstream_connection_serves_many_requests_of_many_clients() {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    for _ in 0..3 {
        let mut client = proxy.tls(proxy.https, API).await;
        for _ in 0..3 {
            client.write_all(GET.as_bytes()).await.unwrap();
            until(&mut client, "\r\n\r\nok").await;
        }
    }
    assert_eq!(upstream.connections().len(), 1);
    assert_eq!(proxy.worker.pool().kept(), 1);
    assert_eq!(proxy.worker.counters().get(Outcome::Forwarded), 9);
}

#[tokio::test]
async fn bodies_stream_both_ways_before_they_are_whole() {
    let (listener, setup) = played().await;
    let proxy = setup.start().await;
    let mut client = proxy.tls(proxy.https, API).await;
    client
        .write_all(
            b"POST / HTTP/1.1\r\nHost: api.contoso.com\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n",
        )
        .await
        .unwrap();
    let (mut upstream, _) = request(&listener).await;
    until(&mut upstream, "3\r\none\r\n").await;
    upstream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await.unwrap();
    until(&mut client, "5\r\nfirst\r\n").await;
    client.write_all(b"3\r\ntwo\r\n0\r\n\r\n").await.unwrap();
    until(&mut upstream, "3\r\ntwo\r\n0\r\n\r\n").await;
    upstream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
    until(&mut client, "6\r\nsecond\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_the_upstream_back() {
    let (listener, setup) = played().await;
    let proxy = setup.start().await;
    let mut client = proxy.tls(proxy.https, API).await;
    client.write_all(LAST.as_bytes()).await.unwrap();
    let (mut upstream, _) = request(&listener).await;
    const SIZE: usize = 64 << 20;
    upstream
        .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let chunk = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while let Ok(written) = timeout(Duration::from_millis(500), upstream.write(&chunk)).await {
        sent += written.unwrap();
        assert!(sent < SIZE / 2, "the proxy took {sent} bytes that nobody read");
    }
    // The client reads, and all of it comes.
    let send = async {
        while sent < SIZE {
            sent += upstream.write(&chunk[..chunk.len().min(SIZE - sent)]).await.unwrap();
        }
    };
    let receive = async {
        until(&mut client, "\r\n\r\n").await;
        let mut received = 0;
        let mut buffer = vec![0; 1 << 16];
        while received < SIZE {
            received += client.read(&mut buffer).await.unwrap();
        }
        received
    };
    let (received, ()) = tokio::join!(receive, send);
    assert_eq!(received, SIZE);
}

#[tokio::test]
async fn expect_100_continue_asks_for_the_body_once_the_upstream_is_there() {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    let mut client = proxy.tls(proxy.https, API).await;
    client
        .write_all(
            b"POST / HTTP/1.1\r\nHost: api.contoso.com\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
        )
        .await
        .unwrap();
    until(&mut client, "HTTP/1.1 100 Continue\r\n\r\n").await;
    client.write_all(b"abc").await.unwrap();
    until(&mut client, "\r\n\r\nok").await;
    let got = upstream.take();
    assert!(got.ends_with("\r\n\r\nabc") && !got.contains("expect"), "{got:?}");
    // And a name that is not here never gets to send it.
    let answer = text(
        proxy.ask(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n").await,
    );
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
}

#[tokio::test]
async fn an_answer_shorter_than_announced_is_never_whole() {
    for head in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let (listener, setup) = played().await;
        let proxy = setup.start().await;
        let mut client = proxy.tls(proxy.https, API).await;
        client.write_all(GET.as_bytes()).await.unwrap();
        let (mut upstream, _) = request(&listener).await;
        upstream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nfirst").as_bytes()).await.unwrap();
        drop(upstream);
        let mut bytes = Vec::new();
        let end = timeout(LONG, client.read_to_end(&mut bytes)).await.unwrap();
        assert_eq!(
            end.unwrap_err().kind(),
            ErrorKind::UnexpectedEof,
            "no close_notify: the answer is known to be cut"
        );
        let body = &bytes[find(&bytes, b"\r\n\r\n").unwrap() + 4..];
        assert!(find(body, b"0\r\n\r\n").is_none());
        assert_eq!(proxy.worker.pool().kept(), 0);
    }
}

#[tokio::test]
async fn a_request_shorter_than_announced_is_never_whole() {
    for body in ["Content-Length: 10\r\n\r\n12345", "Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"] {
        let (listener, setup) = played().await;
        let proxy = setup.start().await;
        let mut client = proxy.tls(proxy.https, API).await;
        client.write_all(format!("POST / HTTP/1.1\r\nHost: {API}\r\n{body}").as_bytes()).await.unwrap();
        let (mut upstream, _) = request(&listener).await;
        client.shutdown().await.unwrap();
        let mut got = Vec::new();
        // Cut or reset, but not ended.
        let _end = timeout(LONG, upstream.read_to_end(&mut got)).await.unwrap();
        assert!(find(&got, b"12345").is_some_and(|at| find(&got[at..], b"0\r\n\r\n").is_none()), "{got:?}");
        assert_eq!(proxy.worker.pool().kept(), 0);
        // The client has ended its side only, and is told.
        assert!(text(rest(&mut client).await).starts_with("HTTP/1.1 400 Bad Request\r\n"));
        assert_eq!(proxy.worker.counters().get(Outcome::Refused), 1);
        assert_eq!(proxy.worker.counters().get(Outcome::UpstreamFailed), 0);
    }
}

#[tokio::test]
async fn http_1_0_gets_a_body_that_ends_with_the_connection() {
    let upstream =
        Recorder::start(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n").await;
    let proxy = Setup::to(upstream.address).start().await;
    let answer = text(proxy.ask(b"GET / HTTP/1.0\r\nHost: api.contoso.com\r\n\r\n").await);
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer:?}");
    assert!(!answer.contains("chunked"), "{answer:?}");
}

#[tokio::test]
async fn answers_without_a_body_keep_their_place() {
    let length = "content-length: 7\r\n";
    for (method, status, fields) in
        [("HEAD", "200 OK", length), ("GET", "304 Not Modified", length), ("GET", "204 No Content", "")]
    {
        let (listener, setup) = played().await;
        let proxy = setup.start().await;
        let mut client = proxy.tls(proxy.https, API).await;
        let request_text = format!("{method} / HTTP/1.1\r\nHost: {API}\r\n\r\n");
        client.write_all(request_text.as_bytes()).await.unwrap();
        let (mut upstream, _) = request(&listener).await;
        for _ in 0..2 {
            upstream
                .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 7\r\n\r\n").as_bytes())
                .await
                .unwrap();
            let answer = without_ids(&until(&mut client, "\r\n\r\n").await);
            assert_eq!(answer, format!("HTTP/1.1 {status}\r\n{fields}\r\n"));
            client.write_all(request_text.as_bytes()).await.unwrap();
            until(&mut upstream, "\r\n\r\n").await;
        }
    }
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced_for_what_may_be_repeated() {
    for (method, repeated) in [("GET", true), ("POST", false)] {
        let (listener, setup) = played().await;
        let proxy = setup.start().await;
        let mut client = proxy.tls(proxy.https, API).await;
        client.write_all(GET.as_bytes()).await.unwrap();
        let (mut upstream, _) = request(&listener).await;
        upstream.write_all(OK).await.unwrap();
        until(&mut client, "\r\n\r\nok").await;
        // The second request is read and not answered.
        client
            .write_all(format!("{method} /2 HTTP/1.1\r\nHost: {API}\r\nConnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        until(&mut upstream, "\r\n\r\n").await;
        drop(upstream);
        if repeated {
            let (mut upstream, head) = request(&listener).await;
            assert!(head.starts_with("GET /2 "));
            upstream.write_all(OK).await.unwrap();
            until(&mut client, "\r\n\r\nok").await;
        } else {
            assert_eq!(
                until(&mut client, "\r\n\r\n").await,
                "HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            );
        }
    }
}

#[tokio::test]
async fn a_request_is_not_repeated_once_something_of_an_answer_came() {
    let (listener, setup) = played().await;
    let proxy = setup.start().await;
    let mut client = proxy.tls(proxy.https, API).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    let (mut upstream, _) = request(&listener).await;
    upstream.write_all(OK).await.unwrap();
    until(&mut client, "\r\n\r\nok").await;
    client.write_all(GET.as_bytes()).await.unwrap();
    until(&mut upstream, "\r\n\r\n").await;
    upstream.write_all(b"HTTP/1.1 2").await.unwrap();
    drop(upstream);
    assert!(until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 502 "));
}

#[tokio::test]
async fn answers_that_are_no_http_become_502_and_tell_nothing() {
    for answer in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        "",
    ] {
        let (listener, setup) = played().await;
        let proxy = setup.start().await;
        let mut client = proxy.tls(proxy.https, API).await;
        client.write_all(GET.as_bytes()).await.unwrap();
        let (mut upstream, _) = request(&listener).await;
        upstream.write_all(answer.as_bytes()).await.unwrap();
        drop(upstream);
        let got = until(&mut client, "\r\n\r\n").await;
        assert_eq!(got, "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", "{answer:?}");
        assert_eq!(proxy.worker.pool().kept(), 0);
    }
}

#[tokio::test]
async fn the_next_upstream_of_a_route_serves_when_the_first_refuses() {
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let upstream = Recorder::start(OK).await;
    let mut setup = Setup::to(upstream.address);
    setup.routes = vec![("/", vec![vec![refusing], vec![upstream.address]]), ("/gone", vec![vec![refusing]])];
    let proxy = setup.start().await;
    assert!(text(proxy.ask(LAST.as_bytes()).await).starts_with("HTTP/1.1 200 OK\r\n"));
    let gone = LAST.replace("GET /", "GET /gone");
    assert!(text(proxy.ask(gone.as_bytes()).await).starts_with("HTTP/1.1 502 Bad Gateway\r\n"));
    assert_eq!(proxy.worker.counters().get(Outcome::UpstreamFailed), 1);
}

#[tokio::test]
async fn a_path_without_a_route_is_404() {
    let upstream = Recorder::start(OK).await;
    let mut setup = Setup::to(upstream.address);
    setup.routes = vec![("/orders", vec![vec![upstream.address]])];
    let proxy = setup.start().await;
    assert!(text(proxy.ask(LAST.as_bytes()).await).starts_with("HTTP/1.1 404 Not Found\r\n"));
    assert!(
        text(proxy.ask(LAST.replace("GET /", "GET /orders").as_bytes()).await)
            .starts_with("HTTP/1.1 200 OK\r\n")
    );
}

#[tokio::test]
async fn an_early_answer_to_an_unfinished_body_does_not_return_its_connection() {
    let (listener, setup) = played().await;
    let proxy = setup.start().await;
    let mut client = proxy.tls(proxy.https, API).await;
    client
        .write_all(format!("POST / HTTP/1.1\r\nHost: {API}\r\nContent-Length: 10\r\n\r\n123").as_bytes())
        .await
        .unwrap();
    let (mut upstream, _) = request(&listener).await;
    upstream.write_all(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    assert!(until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 413 "));
    assert_eq!(proxy.worker.pool().kept(), 0);
}

#[tokio::test]
async fn a_client_that_ends_its_side_still_gets_its_answer() {
    let (listener, setup) = played().await;
    let proxy = setup.start().await;
    let mut client = proxy.tls(proxy.https, API).await;
    client.write_all(GET.as_bytes()).await.unwrap();
    client.shutdown().await.unwrap();
    let (mut upstream, _) = request(&listener).await;
    upstream.write_all(OK).await.unwrap();
    until(&mut client, "\r\n\r\nok").await;
}

#[tokio::test]
async fn an_https_upstream_has_to_show_a_certificate_for_its_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut setup = Setup::to(listener.local_addr().unwrap());
    setup.upstream_scheme = UpstreamScheme::Https;
    let proxy = setup.start().await;
    let acceptor = |names: &[&str]| tokio_rustls::TlsAcceptor::from(Arc::new(proxy.server_config(names)));
    for (names, status) in [
        (["127.0.0.1"], "200 OK"),
        (["api.contoso.com"], "502 Bad Gateway"),
        (["127.0.0.2"], "502 Bad Gateway"),
    ] {
        let mut client = proxy.tls(proxy.https, API).await;
        client.write_all(GET.as_bytes()).await.unwrap();
        let (stream, _) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
        if let Ok(mut upstream) = acceptor(&names).accept(stream).await {
            // A client that distrusts the certificate may say so only now (TLS 1.3), and then no request comes.
            let mut first = [0; 4];
            if upstream.read_exact(&mut first).await.is_ok() {
                assert_eq!(&first, b"GET ");
                until(&mut upstream, "\r\n\r\n").await;
                upstream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .await
                    .unwrap();
            }
        }
        let answer = until(&mut client, "\r\n\r\n").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{names:?}: {answer}");
    }
}
