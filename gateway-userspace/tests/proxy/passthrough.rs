//! Names whose TLS ends at an upstream.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use gateway_userspace::{
    model::{HealthCheck, HostPattern, Passthrough, Probe, ProxyProtocol, Role, Upstream, UpstreamScheme},
    proxy::{counters::Outcome, course::Course, limits::Limits},
};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::observe::{lines, metrics};
use crate::support::{API, LONG, Running, Setup, client_hello, cut, plain, rest, until};

const GIT: &str = "git.api.contoso.com";
const ALERT: &[u8] = &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70];

fn endpoint(role: Role, host: &str, upstream: &[SocketAddr]) -> Passthrough {
    let of = |address: &SocketAddr| Upstream::at(UpstreamScheme::Tcp, *address);
    Passthrough {
        role,
        hosts: vec![HostPattern::Exact(host.into())],
        upstream: upstream.iter().map(of).collect(),
        backup: vec![],
        health: None,
        proxy_protocol: ProxyProtocol::None,
    }
}

/// [`GIT`] leads to an upstream of which the test plays every part.
async fn played(limits: Limits) -> (TcpListener, Running) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let passthrough = vec![endpoint(Role::Gateway, GIT, &[at])];
    (listener, Setup { passthrough, limits, ..Setup::to(at) }.start().await)
}

fn hello() -> Vec<u8> {
    client_hello(Some(GIT.as_bytes()))
}

async fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

async fn accept(listener: &TcpListener) -> TcpStream {
    timeout(LONG, listener.accept()).await.unwrap().unwrap().0
}

async fn exactly(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    timeout(LONG, stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

/// A client and an upstream with the proxy between them, the ClientHello through.
async fn joined(listener: &TcpListener, proxy: &Running) -> (TcpStream, TcpStream) {
    let mut client = connect(proxy.https).await;
    client.write_all(&hello()).await.unwrap();
    let mut upstream = accept(listener).await;
    assert_eq!(exactly(&mut upstream, hello().len()).await, hello());
    (client, upstream)
}

#[tokio::test]
async fn the_upstreams_own_certificate_is_shown_and_bytes_go_both_ways() {
    let (listener, proxy) = played(Limits::default()).await;
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(proxy.server_config(&[GIT])));
    let serve = async {
        let mut stream = acceptor.accept(accept(&listener).await).await.unwrap();
        let question = until(&mut stream, "?").await;
        stream.write_all(question.to_uppercase().as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    };
    let ask = async {
        let mut client = proxy.tls(proxy.https, GIT).await;
        client.write_all(b"who is there?").await.unwrap();
        rest(&mut client).await
    };
    assert_eq!(tokio::join!(ask, serve).0, b"WHO IS THERE?");
    assert_eq!(proxy.worker.counters().get(Outcome::PassedThrough), 1);
}

#[tokio::test]
async fn a_hello_in_two_segments_split_anywhere_arrives_as_it_was_sent() {
    let (listener, proxy) = played(Limits::default()).await;
    let flight = hello();
    for split in 1..flight.len() {
        let mut client = connect(proxy.https).await;
        client.write_all(&flight[..split]).await.unwrap();
        tokio::task::yield_now().await;
        client.write_all(&flight[split..]).await.unwrap();
        let mut upstream = accept(&listener).await;
        assert_eq!(exactly(&mut upstream, flight.len()).await, flight, "{split}");
    }
}

#[tokio::test]
async fn r41_other_names_and_none_get_the_alert_and_no_upstream_is_asked() {
    let (listener, proxy) = played(Limits::default()).await;
    for (door, sni) in [
        (proxy.https, None),
        (proxy.https, Some("git.contoso.com")),
        (proxy.https, Some("x.git.api.contoso.com")),
        (proxy.management, Some(GIT)),
        (proxy.probe, Some(GIT)),
    ] {
        let answer = plain(door, &client_hello(sni.map(str::as_bytes))).await;
        assert_eq!(answer, ALERT, "{sni:?}");
    }
    assert!(timeout(Duration::from_millis(50), listener.accept()).await.is_err());
}

#[tokio::test]
async fn r20d_a_management_name_is_passed_through_on_3443() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let passthrough = vec![endpoint(Role::Management, GIT, &[at])];
    let proxy = Setup { passthrough, ..Setup::to(at) }.start().await;
    for door in [proxy.management, proxy.https] {
        connect(door).await.write_all(&hello()).await.unwrap();
        assert_eq!(rest(&mut accept(&listener).await).await, hello());
    }
}

#[tokio::test]
async fn a_host_that_is_passed_through_is_not_served_where_tls_ends() {
    let (_listener, proxy) = played(Limits::default()).await;
    // Its certificate covers *.api.contoso.com.
    let request = format!("GET /x HTTP/1.1\r\nHost: {GIT}\r\n\r\n");
    let answer = String::from_utf8(proxy.ask_as(proxy.https, API, request.as_bytes()).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 421 "), "{answer}");
    let request = format!("GET /x HTTP/1.1\r\nHost: {GIT}\r\nConnection: close\r\n\r\n");
    for port in [proxy.redirect, proxy.http] {
        let answer = String::from_utf8(plain(port, request.as_bytes()).await).unwrap();
        assert!(answer.contains(&format!("\r\nlocation: https://{GIT}/x\r\n")), "{answer}");
    }
}

#[tokio::test]
async fn each_sides_end_is_passed_on_by_itself() {
    let (listener, proxy) = played(Limits::default()).await;
    let (mut client, mut upstream) = joined(&listener, &proxy).await;
    client.write_all(b"the end").await.unwrap();
    client.shutdown().await.unwrap();
    assert_eq!(rest(&mut upstream).await, b"the end");
    upstream.write_all(b"not mine").await.unwrap();
    assert_eq!(exactly(&mut client, 8).await, b"not mine");
    upstream.write_all(b" yet").await.unwrap();
    drop(upstream);
    assert_eq!(rest(&mut client).await, b" yet");
}

#[tokio::test]
async fn a_reset_is_passed_on_as_a_reset() {
    let (listener, proxy) = played(Limits::default()).await;
    for upstream_resets in [true, false] {
        let (client, upstream) = joined(&listener, &proxy).await;
        let (resets, mut other) = if upstream_resets { (upstream, client) } else { (client, upstream) };
        SockRef::from(&resets).set_linger(Some(Duration::ZERO)).unwrap();
        drop(resets);
        assert_eq!(cut(&mut other).await.1.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

/// 48 MB each way at once, of bytes that tell their place.
#[tokio::test]
async fn many_bytes_arrive_in_order_both_ways() {
    const CHUNK: usize = 1 << 20;
    const CHUNKS: usize = 48;
    let (listener, proxy) = played(Limits::default()).await;
    let (client, upstream) = joined(&listener, &proxy).await;
    let byte = |place: usize| (place % 251) as u8;
    let send = async |mut stream: tokio::net::tcp::OwnedWriteHalf| {
        for chunk in 0..CHUNKS {
            let bytes: Vec<u8> = (chunk * CHUNK..(chunk + 1) * CHUNK).map(byte).collect();
            stream.write_all(&bytes).await.unwrap();
        }
        stream.shutdown().await.unwrap();
    };
    let receive = async |mut stream: tokio::net::tcp::OwnedReadHalf| {
        let (mut count, mut buffer) = (0, vec![0; CHUNK]);
        loop {
            let read = timeout(LONG, stream.read(&mut buffer)).await.unwrap().unwrap();
            if read == 0 {
                return count;
            }
            assert!(buffer[..read].iter().enumerate().all(|(n, found)| *found == byte(count + n)));
            count += read;
        }
    };
    let ((from_client, to_proxy), (from_upstream, to_client)) = (client.into_split(), upstream.into_split());
    let all = tokio::join!(send(to_proxy), send(to_client), receive(from_client), receive(from_upstream));
    assert_eq!((all.2, all.3), (CHUNK * CHUNKS, CHUNK * CHUNKS));
}

#[tokio::test]
async fn who_does_not_read_holds_the_other_side_back() {
    let (listener, proxy) = played(Limits::default()).await;
    let (mut client, mut upstream) = joined(&listener, &proxy).await;
    // The kernel's buffers of both connections, 32 MiB each for what came and 4 MiB for what goes (Linux 6.17), and as much again.
    const MOST: usize = 144 << 20;
    let chunk = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while let Ok(written) = timeout(Duration::from_millis(500), upstream.write(&chunk)).await {
        sent += written.unwrap();
        assert!(sent < MOST, "the proxy took {sent} bytes that nobody read");
    }
    drop(upstream);
    assert_eq!(rest(&mut client).await.len(), sent);
}

#[tokio::test]
async fn who_takes_no_connection_is_followed_by_the_next() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [gone.local_addr().unwrap(), listener.local_addr().unwrap()];
    drop(gone);
    let passthrough = vec![endpoint(Role::Gateway, GIT, &addresses)];
    let proxy = Setup { passthrough, ..Setup::to(addresses[1]) }.start().await;
    for _ in 0..20 {
        joined(&listener, &proxy).await;
    }
    assert_eq!(proxy.worker.counters().get(Outcome::PassedThrough), 20);
    drop(listener);
    let mut client = connect(proxy.https).await;
    client.write_all(&hello()).await.unwrap();
    assert_eq!(rest(&mut client).await, b"");
    assert_eq!(proxy.worker.counters().get(Outcome::UpstreamFailed), 1);
}

#[tokio::test]
async fn upstreams_are_told_of_the_client_where_they_want_to_be() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let told = Passthrough { proxy_protocol: ProxyProtocol::V2, ..endpoint(Role::Gateway, GIT, &[at]) };
    let proxy = Setup { passthrough: vec![told], ..Setup::to(at) }.start().await;
    let mut client = connect(proxy.https).await;
    client.write_all(&hello()).await.unwrap();
    let port = |address: SocketAddr| address.port().to_be_bytes();
    let ports = [port(client.local_addr().unwrap()), port(proxy.https)].concat();
    let header = [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &[127, 0, 0, 1, 127, 0, 0, 1], &ports].concat();
    let mut upstream = accept(&listener).await;
    assert_eq!(exactly(&mut upstream, 28 + hello().len()).await, [header, hello()].concat());
}

#[tokio::test]
async fn r83_a_drain_cannot_be_told_and_only_its_end_cuts() {
    let (listener, proxy) = played(Limits::default()).await;
    let (mut client, mut upstream) = joined(&listener, &proxy).await;
    let ending = Course { closes: true, generation: 2, ending: 2, ..Course::default() };
    proxy.stop.send_replace(ending);
    client.write_all(b"still").await.unwrap();
    assert_eq!(exactly(&mut upstream, 5).await, b"still");
    assert_eq!(proxy.worker.connections(), 1);
    proxy.stop.send_replace(Course { cut: 2, ..ending });
    assert_eq!(rest(&mut client).await, b"");
    assert_eq!(rest(&mut upstream).await, b"");
    assert_eq!(proxy.worker.counters().get(Outcome::Cut), 1);
}

#[tokio::test]
async fn nothing_for_too_long_ends_it_sooner_where_one_side_has_ended() {
    let short = Duration::from_millis(300);
    for (limits, half) in [
        (Limits { tunnel_idle: short, ..Limits::default() }, false),
        (Limits { tunnel_half_closed: short, ..Limits::default() }, true),
    ] {
        let (listener, proxy) = played(limits).await;
        let (mut client, mut upstream) = joined(&listener, &proxy).await;
        if half {
            client.shutdown().await.unwrap();
        } else {
            assert_eq!(rest(&mut client).await, b"");
        }
        assert_eq!(rest(&mut upstream).await, b"");
    }
}

#[tokio::test]
async fn what_passed_is_in_the_access_log_and_the_metrics() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let passthrough = vec![endpoint(Role::Gateway, GIT, &[at])];
    let proxy = Setup { passthrough, access_log: true, ..Setup::to(at) }.start().await;
    let (mut client, mut upstream) = joined(&listener, &proxy).await;
    upstream.write_all(b"answer").await.unwrap();
    assert_eq!(exactly(&mut client, 6).await, b"answer");
    client.shutdown().await.unwrap();
    rest(&mut upstream).await;
    upstream.shutdown().await.unwrap();
    rest(&mut client).await;
    let first = lines(&proxy, 1).await;
    // One that its upstream resets, and one that no upstream takes.
    let (mut client, upstream) = joined(&listener, &proxy).await;
    upstream.set_zero_linger().unwrap();
    drop(upstream);
    cut(&mut client).await.1.unwrap_err();
    let second = lines(&proxy, 2).await;
    drop(listener);
    let mut client = connect(proxy.https).await;
    client.write_all(&hello()).await.unwrap();
    rest(&mut client).await;
    let third = lines(&proxy, 3).await;
    for (line, received, sent, broken, outcome) in [
        (&first[0], hello().len(), 6, false, "passed_through"),
        (&second[1], hello().len(), 0, true, "passed_through"),
        (&third[2], 0, 0, true, "upstream_failed"),
    ] {
        assert_eq!((&line["received"], &line["bytes"]), (&received.into(), &sent.into()), "{line}");
        assert_eq!((line["broken_off"] == true, &line["outcome"]), (broken, &outcome.into()), "{line}");
        assert_eq!((&line["host"], &line["protocol"]), (&GIT.into(), &"TLS".into()), "{line}");
        assert_eq!((&line["client"], &line["role"]), (&"127.0.0.1".into(), &"gateway".into()), "{line}");
    }
    assert_eq!(first[0]["upstream"], format!("tcp://{at}"));
    let text = metrics(&proxy).await;
    for (name, count) in [
        ("passed_connections_total{", 3),
        ("passed_bytes_total{direction=\"from-client\",", 2 * hello().len()),
        ("passed_bytes_total{direction=\"to-client\",", 6),
    ] {
        let line = format!("gateway_proxy_{name}host=\"{GIT}\",role=\"gateway\"}} {count}\n");
        assert!(text.contains(&line), "{line}{text}");
    }
}

#[tokio::test]
async fn r72_upstreams_are_probed_by_connections_and_a_backup_serves_while_none_is_in_service() {
    let [nearest, backup] = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let [near, far] = [&nearest, &backup].map(|listener| listener.local_addr().unwrap());
    let (interval, status) = (Duration::from_millis(100), Probe::default().status);
    let check = HealthCheck {
        path: String::new(),
        host: None,
        status,
        interval,
        timeout: interval,
        rise: 1,
        fall: 1,
    };
    let to_both = Passthrough {
        backup: vec![Upstream::at(UpstreamScheme::Tcp, far)],
        health: Some(check),
        ..endpoint(Role::Gateway, GIT, &[near])
    };
    let proxy = Setup { passthrough: vec![to_both], ..Setup::to(near) }.start().await;
    let of = |listener: std::net::TcpListener| {
        listener.set_nonblocking(true).unwrap();
        TcpListener::from_std(listener).unwrap()
    };
    let (nearest, backup) = (of(nearest), of(backup));
    // Probes say nothing, so whoever says something is the client.
    let served = async |listener: &TcpListener| {
        let mut client = connect(proxy.https).await;
        client.write_all(&hello()).await.unwrap();
        let mut silent = 0;
        loop {
            let mut upstream = accept(listener).await;
            let mut first = [0];
            match timeout(LONG, upstream.read(&mut first)).await.unwrap() {
                Ok(1..) => return silent,
                _ => silent += 1,
            }
        }
    };
    served(&nearest).await;
    // The next of both are probed.
    for listener in [&nearest, &backup] {
        let mut probe = accept(listener).await;
        assert_eq!(timeout(LONG, probe.read(&mut [0])).await.unwrap().unwrap_or(0), 0);
    }
    drop(nearest);
    served(&backup).await;
    let nearest = TcpListener::bind(near).await.unwrap();
    // Its probe comes before clients do.
    accept(&nearest).await;
    let mut client = connect(proxy.https).await;
    loop {
        // Until the verdict is there, the backup serves.
        client.write_all(&hello()).await.unwrap();
        let mut upstream = tokio::select! {
            upstream = accept(&nearest) => upstream,
            _ = accept(&backup) => { client = connect(proxy.https).await; continue }
        };
        if let Ok(1..) = timeout(LONG, upstream.read(&mut [0])).await.unwrap() {
            break;
        }
    }
}
