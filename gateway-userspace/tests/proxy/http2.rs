//! HTTP/2 with clients: the same answers as over HTTP/1.1, many at once, and none of them can be held for ever.

use std::time::Duration;

use gateway_userspace::proxy::{counters::Outcome, course::Course};
use h2::Reason;
use http::{Request, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use crate::{
    client::{Client, get, post, whole},
    support::{API, LONG, MANAGEMENT, Recorder, Setup, cut, played, request, rest, until, without_ids},
};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const URI: &str = "https://api.contoso.com/";

#[tokio::test]
async fn upstreams_see_what_they_see_of_http_1_1() {
    let upstream = Recorder::start(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-hop\r\nx-hop: 1\r\nKeep-Alive: 3\r\nServer: theirs\r\n\r\nok").await;
    let proxy = Setup::to(upstream.address).start().await;
    let mut client = Client::connect(&proxy, API).await;
    let request = Request::get("https://api.contoso.com:8443/a?b=c")
        .header("cookie", "a=b")
        .header("cookie", "c=d")
        .header("te", "trailers")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x_forwarded_proto", "http");
    let response = client.get(request.body(()).unwrap()).await;
    let mut fields: Vec<_> =
        response.headers().iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
    fields.retain(|field| !without_ids(field).is_empty());
    fields.sort();
    assert_eq!(
        (response.status(), &fields[..]),
        (StatusCode::OK, &["content-length: 2".into(), "server: theirs".into()][..])
    );
    assert_eq!(whole(response.into_body()).await.unwrap().0, b"ok");
    let mut lines: Vec<_> = without_ids(&upstream.take()).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "",
            "GET /a?b=c HTTP/1.1",
            "connection: te",
            "cookie: a=b; c=d",
            "host: api.contoso.com:8443",
            "te: trailers",
            "via: 2.0 gw-1",
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: api.contoso.com:8443",
            "x-forwarded-proto: https"
        ]
    );
}

#[tokio::test]
async fn r43_a_connection_serves_every_name_of_its_certificate_and_no_other() {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    let mut client = Client::connect(&proxy, API).await;
    for (uri, status) in [
        ("https://api.contoso.com/", 200),
        ("https://API.contoso.com:443/", 200),
        ("https://other.contoso.com/", 200),
        ("https://x.api.contoso.com/", 200),
        ("https://api.contoso.com/status-0123456789abcdef", 200),
        ("https://contoso.management.azure-api.net/", 421),
        ("https://unknown.contoso.com/", 421),
        ("https://127.0.0.1/", 421),
        ("https://a@api.contoso.com/", 400),
    ] {
        let response = client.get(get(uri)).await;
        assert_eq!(response.status(), status, "{uri}");
        assert!(!response.headers().contains_key("connection"));
    }
    let host = |host: &str| Request::get(URI).header("host", host).body(()).unwrap();
    assert_eq!(client.status(host("api.contoso.com")).await, 200);
    assert_eq!(client.status(host("other.contoso.com")).await, 400);
    // At the other door, only the management role.
    let mut client = Client::connect(&proxy, MANAGEMENT).await;
    assert_eq!(client.status(get("https://contoso.management.azure-api.net/")).await, 200);
    assert_eq!(client.status(get(URI)).await, 421);
}

#[tokio::test]
async fn what_is_not_let_in_gets_a_status_and_the_connection_goes_on() {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    let mut client = Client::connect(&proxy, API).await;
    let long = format!("{URI}{}", "a".repeat(9_000));
    let many = (0..101).fold(Request::get(URI), |request, n| request.header(format!("x-{n}"), "1"));
    for (request, status) in [
        (Request::builder().method("TRACE").uri(URI), 405),
        (Request::get(&long), 414),
        (many, 431),
        (Request::post(URI).header("expect", "a miracle"), 417),
        (Request::get(URI).header("x", " a"), 400),
        (Request::get(URI), 200),
    ] {
        let request = request.body(()).unwrap();
        let text = format!("{:?} {:.40}", request.method(), request.uri().to_string());
        assert_eq!(client.status(request).await, status, "{text}");
    }
    let big = Request::get(URI).header("x", "a".repeat(33 * 1024)).body(()).unwrap();
    assert_eq!(client.status(big).await, 431);
    assert_eq!(upstream.requests(), 1);
    assert_eq!(proxy.worker.counters().get(Outcome::Refused), 6);
}

#[tokio::test]
async fn requests_of_a_connection_wait_for_nobody() {
    let (listener, setup) = played().await;
    let proxy = setup.start().await;
    let mut client = Client::connect(&proxy, API).await;
    let (first, _) = client.begin(get("https://api.contoso.com/first")).await;
    let (mut slow, head) = request(&listener).await;
    assert!(head.starts_with("GET /first "), "{head}");
    let second = tokio::spawn(async move { client.status(get("https://api.contoso.com/second")).await });
    let (mut fast, head) = request(&listener).await;
    assert!(head.starts_with("GET /second "), "{head}");
    fast.write_all(OK).await.unwrap();
    assert_eq!(second.await.unwrap(), 200);
    slow.write_all(OK).await.unwrap();
    assert_eq!(timeout(LONG, first).await.unwrap().unwrap().status(), 200);
}

#[tokio::test]
async fn bodies_stream_both_ways_before_they_are_whole() {
    let (listener, setup) = played().await;
    let proxy = setup.start().await;
    let mut client = Client::connect(&proxy, API).await;
    let (response, mut body) = client.begin(post(URI)).await;
    body.send_data("one".into(), false).unwrap();
    let (mut upstream, head) = request(&listener).await;
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    until(&mut upstream, "3\r\none\r\n").await;
    upstream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n").await.unwrap();
    let mut answer = timeout(LONG, response).await.unwrap().unwrap().into_body();
    assert_eq!(timeout(LONG, answer.data()).await.unwrap().unwrap().unwrap(), "first");
    body.send_data("two".into(), true).unwrap();
    until(&mut upstream, "3\r\ntwo\r\n0\r\n\r\n").await;
    upstream.write_all(b"6\r\nsecond\r\n0\r\n\r\n").await.unwrap();
    assert_eq!(whole(answer).await.unwrap().0, b"second");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_never_whole_and_a_request_neither() {
    for head in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
        let (listener, setup) = played().await;
        let proxy = setup.start().await;
        let mut client = Client::connect(&proxy, API).await;
        let (response, _body) = client.begin(get(URI)).await;
        let (mut upstream, _) = request(&listener).await;
        upstream.write_all(format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n5\r\nfirst").as_bytes()).await.unwrap();
        drop(upstream);
        let answer = timeout(LONG, response).await.unwrap().unwrap();
        assert!(whole(answer.into_body()).await.unwrap_err().is_reset());
        // The connection is none the worse for it.
        assert_eq!(client.status(get("https://unknown.contoso.com/")).await, 421);

        let (_response, mut body) = client.begin(post(URI)).await;
        body.send_data("12345".into(), false).unwrap();
        let (mut upstream, _) = request(&listener).await;
        until(&mut upstream, "12345\r\n").await;
        body.send_reset(Reason::CANCEL);
        let (more, _end) = cut(&mut upstream).await;
        assert_eq!(more, b"", "no last chunk");
        assert_eq!(proxy.worker.pool().kept(), 0);
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_holds_the_upstream_back_and_then_loses_its_stream() {
    let (listener, mut setup) = played().await;
    setup.limits.write_stall = Duration::from_secs(2);
    let proxy = setup.start().await;
    let mut client = Client::with(&proxy, API, h2::client::Builder::new().initial_window_size(1 << 16)).await;
    let (response, _) = client.begin(get(URI)).await;
    let (mut upstream, _) = request(&listener).await;
    const SIZE: usize = 64 << 20;
    upstream
        .write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes())
        .await
        .unwrap();
    let mut answer = timeout(LONG, response).await.unwrap().unwrap().into_body();
    let chunk = vec![b'x'; 1 << 20];
    let mut sent = 0;
    // Until the proxy gives it up, which ends the upstream's connection.
    while let Ok(written) = timeout(LONG, upstream.write(&chunk)).await.unwrap() {
        sent += written;
        assert!(sent < SIZE / 2, "the proxy took {sent} bytes that nobody read");
    }
    // Others are served, and this one is told.
    let status =
        tokio::spawn(
            async move { client.status(get("https://api.contoso.com/status-0123456789abcdef")).await },
        );
    assert_eq!(status.await.unwrap(), 200);
    let end = loop {
        match timeout(LONG, answer.data()).await.unwrap().unwrap() {
            Ok(data) => answer.flow_control().release_capacity(data.len()).unwrap(),
            Err(error) => break error,
        }
    };
    assert_eq!(end.reason(), Some(Reason::CANCEL));
}

#[tokio::test]
async fn a_body_that_stops_coming_gets_408() {
    let (listener, mut setup) = played().await;
    setup.limits.body_stall = Duration::from_millis(300);
    let proxy = setup.start().await;
    let mut client = Client::connect(&proxy, API).await;
    let (response, mut body) = client.begin(post(URI)).await;
    body.send_data("one".into(), false).unwrap();
    let (mut upstream, _) = request(&listener).await;
    assert_eq!(timeout(LONG, response).await.unwrap().unwrap().status(), 408);
    let (got, _end) = cut(&mut upstream).await;
    assert_eq!(got, b"3\r\none\r\n");
}

#[tokio::test]
async fn r83_a_drain_says_goaway_and_serves_what_is_in_flight() {
    let (listener, setup) = played().await;
    let proxy = setup.start().await;
    let mut client = Client::connect(&proxy, API).await;
    let idle = Client::connect(&proxy, API).await;
    let (response, _) = client.begin(get(URI)).await;
    let (mut upstream, _) = request(&listener).await;
    let draining = Course { closes: true, ..Course::default() };
    proxy.stop.send_replace(draining);
    upstream.write_all(OK).await.unwrap();
    let answer = timeout(LONG, response).await.unwrap().unwrap();
    assert_eq!(whole(answer.into_body()).await.unwrap().0, b"ok");
    timeout(LONG, client.end).await.unwrap().unwrap().unwrap();
    // One that has not asked yet may, and ends with the drain.
    assert!(!idle.end.is_finished());
    let mut late = Client::connect(&proxy, API).await;
    assert_eq!(late.status(get("https://unknown.contoso.com/")).await, 421);
    timeout(LONG, late.end).await.unwrap().unwrap().unwrap();
    proxy.stop.send_replace(Course { generation: 2, ending: 2, ..draining });
    timeout(LONG, idle.end).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn r83_the_end_of_a_drain_cuts_what_is_left() {
    let (listener, setup) = played().await;
    let proxy = setup.start().await;
    let mut client = Client::connect(&proxy, API).await;
    let (response, _) = client.begin(get(URI)).await;
    let (mut upstream, _) = request(&listener).await;
    proxy.stop.send_replace(Course { closes: true, generation: 2, ending: 2, cut: 2, ..Course::default() });
    assert!(timeout(LONG, response).await.unwrap().is_err());
    assert_eq!(rest(&mut upstream).await, b"", "nobody waits for its answer");
    assert_eq!(proxy.worker.counters().get(Outcome::Cut), 1);
}

#[tokio::test]
async fn phases_are_timed() {
    let upstream = Recorder::start(OK).await;
    let mut setup = Setup::to(upstream.address);
    setup.limits.first_byte = Duration::from_millis(300);
    setup.limits.head = Duration::from_millis(300);
    setup.limits.idle = Duration::from_millis(800);
    let proxy = setup.start().await;
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    // Nothing; half a preface; half a frame; fields that do not end.
    let fields = [0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82];
    for sent in [
        vec![],
        PREFACE[..9].to_vec(),
        [PREFACE, &SETTINGS[..4]].concat(),
        [PREFACE, SETTINGS, &fields].concat(),
    ] {
        let mut stream = proxy.http2(proxy.https, API).await;
        stream.write_all(&sent).await.unwrap();
        cut(&mut stream).await.1.ok();
    }
    // Nothing more than the beginning, and nothing behind a request.
    let idle = Client::connect(&proxy, API).await;
    let mut used = Client::connect(&proxy, API).await;
    assert_eq!(used.status(get(URI)).await, 200);
    for client in [idle, used] {
        timeout(LONG, client.end).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn floods_end_with_the_connection() {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    for frame in [
        b"\0\0\x08\x06\0\0\0\0\0pingpong".as_slice(),
        b"\0\0\0\x04\0\0\0\0\0",
        b"\0\0\x05\x02\0\0\0\0\x03\0\0\0\0\0",
        b"\0\0\x01\xee\0\0\0\0\0?",
    ] {
        let stream = proxy.http2(proxy.https, API).await;
        let (mut read, mut write) = tokio::io::split(stream);
        let sends = tokio::spawn(async move {
            let _begun = write.write_all(BEGIN).await;
            let many = frame.repeat(100);
            while write.write_all(&many).await.is_ok() {}
        });
        let mut got = Vec::new();
        let _end = timeout(LONG, read.read_to_end(&mut got)).await.unwrap();
        // GOAWAY is the last frame: ENHANCE_YOUR_CALM.
        let goaway = got.windows(9).rposition(|w| w[3] == 7 && w[..2] == [0, 0] && w[4..] == [0; 5]).unwrap();
        assert_eq!(got[goaway + 9 + 4..][..4], [0, 0, 0, 11], "{frame:?}");
        timeout(LONG, sends).await.unwrap().unwrap();
    }
    // Requests that are reset as soon as they are sent.
    let mut client = Client::connect(&proxy, API).await;
    let resets = async {
        for _ in 0..100_000 {
            if std::future::poll_fn(|cx| client.send.poll_ready(cx)).await.is_err() {
                break;
            }
            let Ok((_, mut body)) = client.send.send_request(post(URI), false) else { break };
            body.send_reset(Reason::CANCEL);
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, resets).await.unwrap();
    let end = timeout(LONG, client.end).await.unwrap().unwrap().unwrap_err();
    assert!(end.is_go_away() || end.is_io(), "{end:?}");
    assert!(upstream.requests() < 5_000);
}
