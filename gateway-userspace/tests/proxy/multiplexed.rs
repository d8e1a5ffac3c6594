//! Upstreams of HTTP/2: requests share connections, trailers pass, and what the upstream has not looked at is sent again.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use gateway_userspace::{model::UpstreamScheme, proxy::counters::Outcome};
use h2::{Reason, RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    client::{Client, get, post, whole},
    support::{API, LONG, Recorder, Setup, until, without_ids},
};

const URI: &str = "https://api.contoso.com/";
const LAST: &str = "GET / HTTP/1.1\r\nHost: api.contoso.com\r\nTE: trailers\r\nConnection: close, TE\r\n\r\n";

type Asked = (Request<RecvStream>, SendResponse<Bytes>);

/// An upstream of which the test plays every part.
struct Played {
    address: SocketAddr,
    requests: mpsc::UnboundedReceiver<Asked>,
    connections: Arc<AtomicUsize>,
}

impl Played {
    async fn start(builder: h2::server::Builder) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (send, requests) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(stream, builder.clone(), send.clone()));
            }
        });
        Self { address, requests, connections }
    }

    fn setup(&self) -> Setup {
        let mut setup = Setup::to(self.address);
        setup.upstream_scheme = UpstreamScheme::H2c;
        setup
    }

    async fn next(&mut self) -> Asked {
        timeout(LONG, self.requests.recv()).await.unwrap().unwrap()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn serve<S>(stream: S, builder: h2::server::Builder, requests: mpsc::UnboundedSender<Asked>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = builder.handshake(stream).await.unwrap();
    while let Some(Ok(asked)) = connection.accept().await {
        let _over = requests.send(asked);
    }
}

async fn played() -> Played {
    Played::start(h2::server::Builder::new()).await
}

fn ok(mut respond: SendResponse<Bytes>) {
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    body.send_data("ok".into(), true).unwrap();
}

fn fields(list: &[(&'static str, &'static str)]) -> HeaderMap {
    list.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
}

#[tokio::test]
async fn clients_of_both_versions_share_a_connection() {
    let mut upstream = played().await;
    let proxy = upstream.setup().start().await;
    let mut client = Client::connect(&proxy, API).await;
    let (first, _) = client.begin(get("https://api.contoso.com:8443/a?b")).await;
    let (request, respond) = upstream.next().await;
    assert_eq!(request.uri(), "http://api.contoso.com:8443/a?b");
    let mut seen: Vec<_> =
        request.headers().iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
    seen.retain(|field| !without_ids(field).is_empty());
    seen.sort();
    let expected = [
        "via: 2.0 gw-1",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: api.contoso.com:8443",
        "x-forwarded-proto: https",
    ];
    assert_eq!(seen, expected);
    // While it waits for its answer.
    let mut other = proxy.tls(proxy.https, API).await;
    other.write_all(LAST.as_bytes()).await.unwrap();
    let (request, second) = upstream.next().await;
    assert_eq!((request.uri().path(), request.headers()["te"].as_bytes()), ("/", &b"trailers"[..]));
    assert!(!request.headers().contains_key("connection"));
    ok(second);
    assert!(until(&mut other, "2\r\nok\r\n0\r\n\r\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
    ok(respond);
    let answer = timeout(LONG, first).await.unwrap().unwrap();
    assert_eq!(whole(answer.into_body()).await.unwrap().0, b"ok");
    assert_eq!((upstream.connections(), proxy.worker.pool().kept()), (1, 1));
}

#[tokio::test]
async fn grpc_a_call_streams_both_ways_and_ends_with_trailers() {
    let mut upstream = played().await;
    let proxy = upstream.setup().start().await;
    let mut client = Client::connect(&proxy, API).await;
    let call = Request::post("https://api.contoso.com/orders.Orders/Watch")
        .header("te", "trailers")
        .header("content-type", "application/grpc");
    let (answer, mut send) = client.begin(call.body(()).unwrap()).await;
    let (request, mut respond) = upstream.next().await;
    assert_eq!((request.method(), request.headers()["te"].as_bytes()), (&Method::POST, &b"trailers"[..]));
    let head = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut back = respond.send_response(head, false).unwrap();
    let mut came = request.into_body();
    let mut got = timeout(LONG, answer).await.unwrap().unwrap().into_body();
    for message in ["\0\0\0\0\x03one", "\0\0\0\0\x03two"] {
        send.send_data(message.into(), false).unwrap();
        assert_eq!(timeout(LONG, came.data()).await.unwrap().unwrap().unwrap(), message);
        back.send_data(message.into(), false).unwrap();
        assert_eq!(timeout(LONG, got.data()).await.unwrap().unwrap().unwrap(), message);
    }
    send.send_trailers(fields(&[("x-checksum", "1"), ("x-forwarded-for", "6.6.6.6")])).unwrap();
    let (rest, trailers) = whole(came).await.unwrap();
    assert_eq!((rest.len(), trailers), (0, Some(fields(&[("x-checksum", "1")]))));
    back.send_trailers(fields(&[("grpc-status", "0"), ("set-cookie", "a=b")])).unwrap();
    assert_eq!(whole(got).await.unwrap().1, Some(fields(&[("grpc-status", "0")])));
    // And one that fails at once: its trailers are its head.
    let (answer, _send) = client.begin(post(URI)).await;
    let (_, mut respond) = upstream.next().await;
    let head = Response::builder().header("grpc-status", "5").body(()).unwrap();
    respond.send_response(head, true).unwrap();
    let answer = timeout(LONG, answer).await.unwrap().unwrap();
    assert_eq!(answer.headers()["grpc-status"], "5");
    assert!(answer.into_body().is_end_stream());
}

#[tokio::test]
async fn a_client_that_cancels_resets_its_stream_and_no_other() {
    let mut upstream = played().await;
    let proxy = upstream.setup().start().await;
    let mut client = Client::connect(&proxy, API).await;
    let (answer, mut send) = client.begin(post(URI)).await;
    let (_, mut cancelled) = upstream.next().await;
    let (other, _) = client.begin(get(URI)).await;
    let (_, respond) = upstream.next().await;
    send.send_reset(Reason::CANCEL);
    drop(answer);
    let reason = timeout(LONG, poll_fn(|cx| cancelled.poll_reset(cx))).await.unwrap();
    assert_eq!(reason.unwrap(), Reason::CANCEL);
    ok(respond);
    assert_eq!(timeout(LONG, other).await.unwrap().unwrap().status(), 200);
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn what_the_upstream_has_not_looked_at_is_sent_again() {
    let mut upstream = played().await;
    let mut setup = upstream.setup();
    // Twice the same: the second is another upstream of the route.
    let second = played().await;
    setup.routes = vec![("/", vec![vec![upstream.address], vec![second.address]])];
    let proxy = setup.start().await;
    let mut second = second;
    let mut client = Client::connect(&proxy, API).await;
    // Not idempotent, and refused: whatever the method.
    let request = Request::post(URI).body(()).unwrap();
    poll_fn(|cx| client.send.poll_ready(cx)).await.unwrap();
    let (answer, _) = client.send.send_request(request, true).unwrap();
    upstream.next().await.1.send_reset(Reason::REFUSED_STREAM);
    ok(second.next().await.1);
    assert_eq!(timeout(LONG, answer).await.unwrap().unwrap().status(), 200);
    // Reset for another reason: it may have been looked at.
    let (answer, _) = client.begin(get(URI)).await;
    upstream.next().await.1.send_reset(Reason::INTERNAL_ERROR);
    assert_eq!(timeout(LONG, answer).await.unwrap().unwrap().status(), 502);
    assert_eq!(proxy.worker.counters().get(Outcome::UpstreamFailed), 1);
}

#[tokio::test]
async fn an_upstream_that_says_goaway_gets_the_next_request_on_a_new_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut setup = Setup::to(listener.local_addr().unwrap());
    setup.upstream_scheme = UpstreamScheme::H2c;
    let proxy = setup.start().await;
    for _ in 0..3 {
        let answered = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let (_, respond) = connection.accept().await.unwrap().unwrap();
            connection.graceful_shutdown();
            ok(respond);
            // Until the proxy has ended it.
            while connection.accept().await.is_some_and(|next| next.is_ok()) {}
        };
        let mut client = Client::connect(&proxy, API).await;
        let (status, ()) =
            tokio::join!(client.status(get(URI)), async { timeout(LONG, answered).await.unwrap() });
        assert_eq!(status, 200);
    }
}

#[tokio::test]
async fn connections_are_as_many_as_the_upstreams_streams_ask_for() {
    let mut builder = h2::server::Builder::new();
    builder.max_concurrent_streams(2);
    let mut upstream = Played::start(builder).await;
    let proxy = upstream.setup().start().await;
    let mut client = Client::connect(&proxy, API).await;
    // The first tells what is allowed.
    let (answer, _) = client.begin(get(URI)).await;
    ok(upstream.next().await.1);
    timeout(LONG, answer).await.unwrap().unwrap();
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let (answer, _) = client.begin(get(URI)).await;
        waiting.push((answer, upstream.next().await.1));
    }
    assert_eq!(upstream.connections(), 3);
    for (answer, respond) in waiting {
        ok(respond);
        assert_eq!(timeout(LONG, answer).await.unwrap().unwrap().status(), 200);
    }
}

#[tokio::test]
async fn over_tls_http2_is_agreed_on_or_there_is_no_answer() {
    for (alpn, status) in [(&[b"h2".to_vec()][..], StatusCode::OK), (&[], StatusCode::BAD_GATEWAY)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut setup = Setup::to(listener.local_addr().unwrap());
        setup.upstream_scheme = UpstreamScheme::H2;
        let proxy = setup.start().await;
        let mut config = proxy.server_config(&["127.0.0.1"]);
        config.alpn_protocols = alpn.to_vec();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = acceptor.accept(stream).await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, respond))) = connection.accept().await {
                assert_eq!(request.uri(), URI);
                ok(respond);
            }
        });
        let mut client = Client::connect(&proxy, API).await;
        assert_eq!(client.status(get(URI)).await, status);
    }
}

#[tokio::test]
async fn an_upstream_that_does_not_speak_http2_is_502() {
    let upstream = Recorder::start(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
    let mut setup = Setup::to(upstream.address);
    setup.upstream_scheme = UpstreamScheme::H2c;
    let proxy = setup.start().await;
    let mut client = Client::connect(&proxy, API).await;
    assert_eq!(client.status(get(URI)).await, 502);
}

#[tokio::test]
async fn trailers_of_http_1_1_pass_to_who_reads_them() {
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-checksum: 1\r\nSet-Cookie: a=b\r\n\r\n";
    let upstream = Recorder::start(answer).await;
    let proxy = Setup::to(upstream.address).start().await;
    let mut client = Client::connect(&proxy, API).await;
    let (body, trailers) = whole(client.get(get(URI)).await.into_body()).await.unwrap();
    assert_eq!((body, trailers), (b"ok".to_vec(), Some(fields(&[("x-checksum", "1")]))));
    for (ask, end) in [
        (LAST.to_owned(), "2\r\nok\r\n0\r\nx-checksum: 1\r\n\r\n"),
        (LAST.replace("TE: trailers\r\n", ""), "2\r\nok\r\n0\r\n\r\n"),
    ] {
        let answer = String::from_utf8(proxy.ask(ask.as_bytes()).await).unwrap();
        assert!(answer.ends_with(end), "{answer}");
    }
}
