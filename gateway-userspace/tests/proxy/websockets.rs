//! WebSocket with a client of HTTP/2 (RFC 8441): CONNECT down, an upgrade of HTTP/1.1 up.

use aws_lc_rs::digest;
use base64::{Engine, prelude::BASE64_STANDARD};
use gateway_userspace::proxy::{counters::Outcome, course::Course};
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture, ext::Protocol};
use http::{Request, Response};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    client::{Client, get, whole},
    observe::lines,
    support::{API, LONG, Recorder, Setup, played, request, rest, until},
};

const URI: &str = "https://api.contoso.com/chat?room=1";

fn ask(protocol: Option<&'static str>) -> Request<()> {
    let mut request = Request::connect(URI)
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .body(())
        .unwrap();
    match protocol {
        Some(protocol) => {
            request.extensions_mut().insert(Protocol::from_static(protocol));
        }
        None => *request.uri_mut() = "api.contoso.com:443".parse().unwrap(),
    }
    request
}

/// As an upstream agrees to this request.
fn agreement(head: &str) -> String {
    let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
    let both = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, both.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: chat\r\n\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        BASE64_STANDARD.encode(hash)
    )
}

async fn answer(response: ResponseFuture) -> Response<RecvStream> {
    timeout(LONG, response).await.unwrap().unwrap()
}

/// A tunnel that both sides have agreed on.
async fn opened(
    client: &mut Client,
    listener: &TcpListener,
) -> (SendStream<bytes::Bytes>, RecvStream, TcpStream) {
    let (response, send) = client.begin(ask(Some("websocket"))).await;
    let (mut upstream, head) = request(listener).await;
    upstream.write_all(agreement(&head).as_bytes()).await.unwrap();
    let answer = answer(response).await;
    assert_eq!(answer.status(), 200);
    (send, answer.into_body(), upstream)
}

async fn piece(receive: &mut RecvStream) -> bytes::Bytes {
    let piece = timeout(LONG, receive.data()).await.unwrap().unwrap().unwrap();
    receive.flow_control().release_capacity(piece.len()).unwrap();
    piece
}

#[tokio::test]
async fn bytes_pass_both_ways_and_each_end_is_passed_on() {
    let (listener, setup) = played().await;
    let proxy = setup.start().await;
    let mut client = Client::connect(&proxy, API).await;
    // The settings have come with an answer.
    assert_eq!(client.status(get("https://unknown.contoso.com/")).await, 421);
    assert!(client.send.is_extended_connect_protocol_enabled());
    let (response, mut send) = client.begin(ask(Some("websocket"))).await;
    // What is sent at once waits for the upstream's word.
    send.send_data("early".into(), false).unwrap();
    let (mut upstream, head) = request(&listener).await;
    assert!(head.starts_with("GET /chat?room=1 HTTP/1.1\r\n"), "{head}");
    for line in [
        "upgrade: websocket",
        "connection: upgrade",
        "host: api.contoso.com",
        "sec-websocket-version: 13",
        "sec-websocket-protocol: chat",
        "via: 2.0 gw-1",
    ] {
        assert_eq!(head.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line} in {head}");
    }
    upstream.write_all(format!("{}at once", agreement(&head)).as_bytes()).await.unwrap();
    let answer = answer(response).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["sec-websocket-protocol"]),
        (200, &"chat".parse().unwrap())
    );
    for name in ["upgrade", "connection", "sec-websocket-accept", "content-length"] {
        assert!(!answer.headers().contains_key(name), "{answer:?}");
    }
    let mut receive = answer.into_body();
    assert_eq!(piece(&mut receive).await, "at once");
    until(&mut upstream, "early").await;
    // More than windows hold, and others are served meanwhile.
    const MANY: usize = 1 << 20;
    let sends = async {
        let mut left = MANY;
        while left > 0 {
            send.reserve_capacity(left);
            let room = timeout(LONG, std::future::poll_fn(|cx| send.poll_capacity(cx))).await.unwrap();
            let count = room.unwrap().unwrap().min(left);
            send.send_data(vec![b'x'; count].into(), false).unwrap();
            left -= count;
        }
        send.send_data("bye".into(), true).unwrap();
    };
    let (got, ()) = tokio::join!(rest(&mut upstream), sends);
    assert_eq!((got.len(), got.ends_with(b"xbye")), (MANY + 3, true));
    assert_eq!(client.status(get("https://unknown.contoso.com/")).await, 421);
    upstream.write_all(&vec![b'y'; MANY]).await.unwrap();
    upstream.shutdown().await.unwrap();
    assert_eq!(whole(receive).await.unwrap().0.len(), MANY);
    assert_eq!(proxy.worker.counters().get(Outcome::Forwarded), 1);
    assert_eq!(proxy.worker.pool().kept(), 0);
}

#[tokio::test]
async fn what_is_no_agreement_opens_no_tunnel() {
    let stranger = agreement("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
    for (said, status) in [
        (&*stranger, 502),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 502),
        ("HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", 502),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", 403),
    ] {
        let (listener, setup) = played().await;
        let proxy = setup.start().await;
        let mut client = Client::connect(&proxy, API).await;
        let (response, _send) = client.begin(ask(Some("websocket"))).await;
        let (mut upstream, _) = request(&listener).await;
        upstream.write_all(said.as_bytes()).await.unwrap();
        let answer = answer(response).await;
        assert_eq!(answer.status(), status, "{said}");
        let body = whole(answer.into_body()).await.unwrap().0;
        assert_eq!(body, if status == 403 { "no" } else { "" }.as_bytes(), "{said}");
        assert_eq!(client.status(get("https://unknown.contoso.com/")).await, 421, "{said}");
    }
}

#[tokio::test]
async fn other_tunnels_are_not_opened() {
    let upstream = Recorder::start(b"").await;
    let proxy = Setup::to(upstream.address).start().await;
    let mut client = Client::connect(&proxy, API).await;
    for (protocol, status) in [(None, 405), (Some("connect-udp"), 501), (Some("webtransport"), 501)] {
        let (response, _send) = client.begin(ask(protocol)).await;
        assert_eq!(answer(response).await.status(), status, "{protocol:?}");
    }
    assert_eq!(upstream.take(), "");
}

#[tokio::test]
async fn a_tunnel_that_breaks_is_reset_and_who_resets_one_ends_its_upstreams() {
    let (listener, setup) = played().await;
    let proxy = setup.start().await;
    let mut client = Client::connect(&proxy, API).await;
    let (_send, mut receive, upstream) = opened(&mut client, &listener).await;
    upstream.set_zero_linger().unwrap();
    drop(upstream);
    let error = timeout(LONG, receive.data()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.reason(), Some(Reason::CANCEL));

    let (mut send, _receive, mut upstream) = opened(&mut client, &listener).await;
    send.send_reset(Reason::CANCEL);
    assert_eq!(rest(&mut upstream).await, b"");
}

#[tokio::test]
async fn r83_a_tunnel_goes_on_through_a_drain_and_is_cut_at_its_end() {
    let (listener, setup) = played().await;
    let proxy = setup.start().await;
    let mut client = Client::connect(&proxy, API).await;
    let (mut send, mut receive, mut upstream) = opened(&mut client, &listener).await;
    let ending = Course { closes: true, generation: 2, ending: 2, ..Course::default() };
    proxy.stop.send_replace(ending);
    send.send_data("still".into(), false).unwrap();
    until(&mut upstream, "still").await;
    upstream.write_all(b"here").await.unwrap();
    assert_eq!(piece(&mut receive).await, "here");
    proxy.stop.send_replace(Course { cut: 2, ..ending });
    assert_eq!(rest(&mut upstream).await, b"");
    assert_eq!(proxy.worker.counters().get(Outcome::Cut), 1);
}

#[tokio::test]
async fn what_passed_is_in_the_access_log() {
    let (listener, mut setup) = played().await;
    setup.access_log = true;
    let proxy = setup.start().await;
    let mut client = Client::connect(&proxy, API).await;
    let (mut send, mut receive, mut upstream) = opened(&mut client, &listener).await;
    send.send_data("question".into(), true).unwrap();
    assert_eq!(rest(&mut upstream).await, b"question");
    upstream.write_all(b"answer").await.unwrap();
    upstream.shutdown().await.unwrap();
    assert_eq!(piece(&mut receive).await, "answer");
    let first = lines(&proxy, 1).await;
    // Over HTTP/1.1, and cut by a drain.
    let mut client = proxy.tls(proxy.https, API).await;
    let ask = format!(
        "GET /chat HTTP/1.1\r\nHost: {API}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nearly"
    );
    client.write_all(ask.as_bytes()).await.unwrap();
    let (mut upstream, head) = request(&listener).await;
    upstream.write_all(agreement(&head).as_bytes()).await.unwrap();
    until(&mut client, "\r\n\r\n").await;
    until(&mut upstream, "early").await;
    upstream.write_all(b"event").await.unwrap();
    until(&mut client, "event").await;
    proxy.stop.send_replace(Course { generation: 2, ending: 2, cut: 2, ..Course::default() });
    let second = lines(&proxy, 2).await;
    for (line, method, status, received, sent, broken) in
        [(&first[0], "CONNECT", 200, 8, 6, false), (&second[1], "GET", 101, 5, 5, true)]
    {
        assert_eq!((&line["method"], &line["status"]), (&method.into(), &status.into()), "{line}");
        assert_eq!((&line["received"], &line["bytes"]), (&received.into(), &sent.into()), "{line}");
        assert_eq!((line["broken_off"] == true, &line["outcome"]), (broken, &"forwarded".into()), "{line}");
    }
}
