//! WebSocket's handshake, and what passes behind it; and answers that come early, late, or in pieces.

use std::time::Duration;

use gateway_userspace::proxy::{counters::Outcome, course::Course};
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::{
    client::{Client, get, post, whole},
    support::{API, LONG, Recorder, Setup, cut, played, request, rest, until},
};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const AGREE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const URI: &str = "https://api.contoso.com/";

#[tokio::test]
async fn websocket_passes_both_ways_and_each_end_is_passed_on() {
    let (listener, setup) = played().await;
    let proxy = setup.start().await;
    let mut client = proxy.tls(proxy.https, API).await;
    // What comes with the request waits for the upstream's word.
    client.write_all(&[ASK.as_bytes(), b"early"].concat()).await.unwrap();
    let (mut upstream, head) = request(&listener).await;
    assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
    for line in ["upgrade: websocket", "connection: upgrade", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="] {
        assert_eq!(head.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {head}");
    }
    upstream.write_all(&[AGREE, b"at once"].concat()).await.unwrap();
    let head = until(&mut client, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{head}");
    for line in
        ["upgrade: websocket", "connection: upgrade", "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]
    {
        assert_eq!(head.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {head}");
    }
    until(&mut client, "at once").await;
    until(&mut upstream, "early").await;
    for _ in 0..3 {
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        until(&mut upstream, "GET / HTTP/1.1\r\n\r\n").await;
        upstream.write_all(b"\x01\x01x").await.unwrap();
        until(&mut client, "x").await;
    }
    // The client has ended its side, and the upstream goes on.
    client.write_all(b"bye").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut upstream).await, b"bye");
    upstream.write_all(b"still here").await.unwrap();
    upstream.shutdown().await.unwrap();
    assert_eq!(rest(&mut client).await, b"still here");
    assert_eq!(proxy.worker.counters().get(Outcome::Forwarded), 1);
    assert_eq!(proxy.worker.pool().kept(), 0);
}

#[tokio::test]
async fn an_upstream_that_does_not_agree_answers_and_nothing_behind_the_request_is_read() {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    let smuggled = [ASK, "GET /smuggled HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n"].concat();
    let answer = String::from_utf8(proxy.ask(smuggled.as_bytes()).await).unwrap();
    assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    assert_eq!(upstream.requests(), 1);
    // An upstream that switches to something else, or unasked.
    for (ask, agree) in [
        (ASK.to_owned(), "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
        (
            ASK.replace(": WebSocket", ": h2c"),
            "HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
    ] {
        let (listener, setup) = played().await;
        let proxy = setup.start().await;
        let mut client = proxy.tls(proxy.https, API).await;
        client.write_all(ask.as_bytes()).await.unwrap();
        let (mut upstream, _) = request(&listener).await;
        upstream.write_all(agree.as_bytes()).await.unwrap();
        assert!(until(&mut client, "\r\n\r\n").await.starts_with("HTTP/1.1 502 "));
    }
}

#[tokio::test]
async fn what_is_no_websocket_handshake_is_served_without_it() {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    for ask in [
        ASK.replace(": WebSocket", ": h2c"),
        ASK.replace(": WebSocket", ": websocket, h2c"),
        ASK.replace("keep-alive, Upgrade", "keep-alive"),
        ASK.replace("GET", "POST"),
        ASK.replace("Upgrade: WebSocket", "Upgrade: websocket\r\nUpgrade: websocket"),
        ASK.replace("Upgrade: WebSocket", "Upgrade: websocket\r\nContent-Length: 2")
            .replace("\r\n\r\n", "\r\n\r\nok"),
    ] {
        let mut client = proxy.tls(proxy.https, API).await;
        for _ in 0..2 {
            // A connection that goes on, if the handshake is none to the gate.
            if client.write_all(ask.as_bytes()).await.is_err() {
                break;
            }
            let answer = until(&mut client, "ok").await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{ask}: {answer}");
            let got = upstream.take().to_ascii_lowercase();
            assert!(!got.contains("upgrade:") && !got.contains("upgrad_"), "{got}");
            if answer.contains("connection: close") {
                break;
            }
        }
    }
}

#[tokio::test]
async fn tunnels_end_when_nothing_passes_and_with_a_drain() {
    let (listener, mut setup) = played().await;
    setup.limits.tunnel_idle = Duration::from_millis(800);
    let proxy = setup.start().await;
    let mut client = proxy.tls(proxy.https, API).await;
    client.write_all(ASK.as_bytes()).await.unwrap();
    let (mut upstream, _) = request(&listener).await;
    upstream.write_all(AGREE).await.unwrap();
    until(&mut client, "\r\n\r\n").await;
    assert_eq!(rest(&mut upstream).await, b"");
    let (more, _end) = cut(&mut client).await;
    assert_eq!(more, b"");

    let (listener, setup) = played().await;
    let proxy = setup.start().await;
    let mut client = proxy.tls(proxy.https, API).await;
    client.write_all(ASK.as_bytes()).await.unwrap();
    let (mut upstream, _) = request(&listener).await;
    upstream.write_all(AGREE).await.unwrap();
    until(&mut client, "\r\n\r\n").await;
    let ending = Course { closes: true, generation: 2, ending: 2, ..Course::default() };
    proxy.stop.send_replace(ending);
    client.write_all(b"still").await.unwrap();
    until(&mut upstream, "still").await;
    proxy.stop.send_replace(Course { cut: 2, ..ending });
    assert_eq!(rest(&mut upstream).await, b"");
    cut(&mut client).await.1.ok();
    assert_eq!(proxy.worker.counters().get(Outcome::Cut), 1);
}

#[tokio::test]
async fn events_are_passed_on_as_they_come() {
    let (listener, setup) = played().await;
    let proxy = setup.start().await;
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    let mut first = proxy.tls(proxy.https, API).await;
    first.write_all(b"GET / HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n").await.unwrap();
    let (mut upstream, _) = request(&listener).await;
    upstream.write_all(head).await.unwrap();
    until(&mut first, "\r\n\r\n").await;
    let mut second = Client::connect(&proxy, API).await;
    let (answer, _) = second.begin(get(URI)).await;
    let (mut other, _) = request(&listener).await;
    other.write_all(head).await.unwrap();
    let mut events = timeout(LONG, answer).await.unwrap().unwrap().into_body();
    for event in ["data: 1\n\n", "data: 2\n\n", "data: 3\n\n"] {
        upstream.write_all(event.as_bytes()).await.unwrap();
        until(&mut first, &format!("{event}\r\n")).await;
        other.write_all(event.as_bytes()).await.unwrap();
        assert_eq!(timeout(LONG, events.data()).await.unwrap().unwrap().unwrap(), event);
    }
}

#[tokio::test]
async fn answers_before_the_answer_are_dropped_and_one_before_the_body_is_whole_is_passed_on() {
    let (listener, setup) = played().await;
    let proxy = setup.start().await;
    let early = [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", OK].concat();
    let mut first = proxy.tls(proxy.https, API).await;
    first
        .write_all(b"POST / HTTP/1.1\r\nHost: api.contoso.com\r\nContent-Length: 10\r\n\r\n12345")
        .await
        .unwrap();
    let (mut upstream, _) = request(&listener).await;
    until(&mut upstream, "12345").await;
    upstream.write_all(&early).await.unwrap();
    let answer = until(&mut first, "ok").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && !answer.contains("link"), "{answer}");

    let mut second = Client::connect(&proxy, API).await;
    let (answer, mut body) = second.begin(post(URI)).await;
    body.send_data("12345".into(), false).unwrap();
    let (mut upstream, _) = request(&listener).await;
    until(&mut upstream, "12345\r\n").await;
    upstream.write_all(&early).await.unwrap();
    let answer = timeout(LONG, answer).await.unwrap().unwrap();
    assert!(!answer.headers().contains_key("link"));
    assert_eq!(whole(answer.into_body()).await.unwrap().0, b"ok");
    assert_eq!(proxy.worker.pool().kept(), 0, "what is left of the body would be the next request");
}
