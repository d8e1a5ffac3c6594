//! Who is answered, over TLS and over HTTP, and what everybody else gets.

use std::net::SocketAddr;

use gateway_userspace::{
    model::{HostPattern, NoSni, Role},
    proxy::{counters::Outcome, state::State},
};
use rustls::HandshakeKind;
use tokio::{io::AsyncWriteExt, net::TcpStream, process::Command};

use crate::support::{API, MANAGEMENT, Recorder, Running, Setup, asked, client_hello, plain, rest, until};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// The fatal alert unrecognized_name in its record.
const ALERT: &[u8] = &[0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70];
const MISDIRECTED: &str =
    "HTTP/1.1 421 Misdirected Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

async fn running() -> (Recorder, Running) {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    (upstream, proxy)
}

async fn hello(address: SocketAddr, sni: Option<&[u8]>) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&client_hello(sni)).await.unwrap();
    let mut first = vec![0; 5];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut first).await.unwrap();
    if first[0] == 0x15 {
        first.extend(rest(&mut stream).await);
    }
    first
}

#[tokio::test]
async fn r40_r41_tls_to_a_bare_ip_or_an_unknown_name_gets_the_alert_byte_for_byte() {
    let (_upstream, proxy) = running().await;
    let strange: [Option<&[u8]>; 10] = [
        None,
        Some(b"127.0.0.1"),
        Some(b"::1"),
        Some(b"2130706433"),
        Some(b"0x7f.1"),
        Some(b"unknown.example"),
        Some(b"api.contoso.co"),
        Some(b"a.b.api.contoso.com"),
        Some(b"under_score.example"),
        Some(b"contoso.scm.azure-api.net"),
    ];
    for sni in strange {
        for door in [proxy.https, proxy.management] {
            assert_eq!(hello(door, sni).await, ALERT, "{sni:?}");
        }
    }
    assert_eq!(proxy.worker.counters().get(Outcome::NameRefused), 20);
    for known in [&b"api.contoso.com"[..], b"API.contoso.COM", b"x.api.contoso.com"] {
        assert_eq!(hello(proxy.https, Some(known)).await[0], 0x16, "{known:?}");
    }
}

#[tokio::test]
async fn r20d_on_3443_only_management_names_are_there() {
    let (_upstream, proxy) = running().await;
    assert_eq!(hello(proxy.management, Some(API.as_bytes())).await, ALERT);
    assert_eq!(hello(proxy.management, Some(MANAGEMENT.as_bytes())).await[0], 0x16);
    let request = format!("GET / HTTP/1.1\r\nHost: {MANAGEMENT}\r\nConnection: close\r\n\r\n");
    let answer = proxy.ask_as(proxy.management, MANAGEMENT, request.as_bytes()).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    let request = format!("GET / HTTP/1.1\r\nHost: {API}\r\n\r\n");
    let answer = proxy.ask_as(proxy.management, MANAGEMENT, request.as_bytes()).await;
    assert_eq!(String::from_utf8(answer).unwrap(), MISDIRECTED);
}

#[tokio::test]
async fn r40_the_switch_shows_the_gateways_certificate_where_there_is_no_sni() {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup { no_sni: NoSni::DefaultCertificate, ..Setup::to(upstream.address) }.start().await;
    assert_eq!(hello(proxy.https, None).await[0], 0x16);
    assert_eq!(hello(proxy.https, Some(b"unknown.example")).await, ALERT);
    assert_eq!(hello(proxy.management, None).await, ALERT);
}

#[tokio::test]
async fn r40_r41_http_to_a_bare_ip_or_an_unknown_name_gets_421_byte_for_byte() {
    let (upstream, proxy) = running().await;
    let hosts = [
        "Host: 127.0.0.1\r\n",
        "Host: 127.0.0.1:80\r\n",
        "Host: 127.1\r\n",
        "Host: 0x7f000001\r\n",
        "Host: 0x7f.0.0.1\r\n",
        "Host: 2130706433\r\n",
        "Host: 0177.0.0.1\r\n",
        "Host: 017700000001\r\n",
        "Host: [::1]\r\n",
        "Host: [::1]:443\r\n",
        "Host: [::ffff:127.0.0.1]\r\n",
        "Host: ::1\r\n",
        "Host: unknown.example\r\n",
        "Host: api.contoso.co\r\n",
        "Host: a.b.api.contoso.com\r\n",
        "Host: .api.contoso.com\r\n",
        "Host: api.contoso.com..\r\n",
        "Host:\r\n",
        "Host: .\r\n",
        "",
    ];
    for host in hosts {
        for body in ["\r\n", "Content-Length: 3\r\n\r\nabc"] {
            let request = format!("POST /secret HTTP/1.1\r\n{host}{body}");
            let answers =
                [proxy.ask(request.as_bytes()).await, plain(proxy.redirect, request.as_bytes()).await];
            for answer in answers {
                assert_eq!(String::from_utf8(answer).unwrap(), MISDIRECTED, "{host:?}");
            }
        }
    }
    assert_eq!(upstream.take(), "");
}

#[tokio::test]
async fn r43_sni_and_host_disagree() {
    let (_upstream, proxy) = running().await;
    let portal = Role::Portal.default_host(&proxy.model.service);
    for (host, status) in [
        ("x.api.contoso.com".to_owned(), "200"),
        ("Other.Contoso.com".to_owned(), "200"),
        (portal, "421"),
        (MANAGEMENT.to_owned(), "421"),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8(proxy.ask(request.as_bytes()).await).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{host}: {answer}");
    }
}

#[tokio::test]
async fn r43_sni_and_host_agree_on_a_name_that_the_certificate_lacks() {
    let (_upstream, proxy) = running().await;
    let mut model = proxy.model.clone();
    for name in ["new.contoso.com", "newer.contoso.com"] {
        model.endpoints[0].hosts.push(HostPattern::Exact(name.into()));
    }
    // No new certificate.
    proxy.reload(&model);
    for (host, status) in
        [("New.contoso.com.:443", "200"), (API, "200"), ("newer.contoso.com", "421"), (MANAGEMENT, "421")]
    {
        let answer = Command::new("curl")
            .args(["-sSk", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code}"])
            .args(["-H", &format!("Host: {host}"), "--connect-to", &format!("::{}", proxy.https)])
            .arg("https://new.contoso.com/")
            .output()
            .await
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&answer.stdout),
            status,
            "{host}: {}",
            String::from_utf8_lossy(&answer.stderr)
        );
    }
}

#[tokio::test]
async fn r46_status_of_the_endpoints_and_of_the_probe() {
    let (upstream, proxy) = running().await;
    let portal = Role::Portal.default_host(&proxy.model.service);
    for (address, name) in [
        (proxy.https, API),
        (proxy.https, &portal),
        (proxy.https, MANAGEMENT),
        (proxy.management, MANAGEMENT),
    ] {
        for method in ["GET", "HEAD"] {
            let request = format!(
                "{method} /status-0123456789abcdef HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n"
            );
            let answer = proxy.ask_as(address, name, request.as_bytes()).await;
            assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{name}");
        }
    }
    for (path, status) in
        [("/healthy", "200"), ("/status-0123456789abcdef", "200"), ("/", "404"), ("/healthy/x", "404")]
    {
        for host in ["Host: 10.0.0.11:8080\r\n", "Host: api.contoso.com\r\n", ""] {
            let request = format!("GET {path} HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
            let answer = String::from_utf8(plain(proxy.probe, request.as_bytes()).await).unwrap();
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with("\r\n\r\n"),
                "{answer}"
            );
        }
    }
    let request = b"GET /healthy HTTP/1.1\r\nConnection: close\r\n\r\n";
    let answer = proxy.ask_as(proxy.probe, API, request).await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "a probe over TLS");
    assert_eq!(upstream.take(), "");
}

#[tokio::test]
async fn r13_port_80_redirects_known_names() {
    let (upstream, proxy) = running().await;
    for (host, target, location) in [
        ("API.contoso.com:80", "/a?b=c", "https://api.contoso.com/a?b=c"),
        ("x.api.contoso.com.", "/", "https://x.api.contoso.com/"),
        (
            MANAGEMENT,
            "/status-0123456789abcdef",
            "https://contoso.management.azure-api.net/status-0123456789abcdef",
        ),
    ] {
        let request = format!("POST {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = String::from_utf8(plain(proxy.redirect, request.as_bytes()).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"), "{answer}");
        assert!(answer.contains(&format!("\r\nlocation: {location}\r\n")), "{answer}");
    }
    assert_eq!(upstream.take(), "");
}

#[tokio::test]
async fn r13_port_80_serves_in_plain_text_where_it_is_told_to() {
    let (upstream, proxy) = running().await;
    let answer =
        plain(proxy.http, b"GET /a HTTP/1.1\r\nHost: api.contoso.com\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
    let seen = upstream.take();
    assert!(seen.contains("\r\nx-forwarded-proto: http\r\n"), "{seen}");
    for host in ["unknown.contoso.com", "127.0.0.1"] {
        let answer = plain(proxy.http, format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with(b"HTTP/1.1 421 "), "{}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(upstream.take(), "");
}

#[tokio::test]
async fn a_reload_swaps_names_and_certificates_and_keeps_connections_and_sessions() {
    let (_upstream, proxy) = running().await;
    let client = proxy.client();
    let mut old = proxy.tls_again(&client, proxy.https, API).await;
    assert_eq!(old.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    let request = format!("GET / HTTP/1.1\r\nHost: {API}\r\n\r\n");
    old.write_all(request.as_bytes()).await.unwrap();
    until(&mut old, "ok").await;
    let shown = old.get_ref().1.peer_certificates().unwrap()[0].clone();

    proxy.renew(Role::Gateway);
    let mut model = proxy.model.clone();
    model.endpoints[0].hosts.push(HostPattern::Exact("new.contoso.com".into()));
    proxy.reload(&model);

    old.write_all(request.as_bytes()).await.unwrap();
    until(&mut old, "ok").await;
    let mut resumed = proxy.tls_again(&client, proxy.https, API).await;
    assert_eq!(resumed.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    resumed.write_all(request.as_bytes()).await.unwrap();
    until(&mut resumed, "ok").await;
    let new = proxy.tls(proxy.https, API).await;
    assert_ne!(new.get_ref().1.peer_certificates().unwrap()[0], shown);
    assert_eq!(hello(proxy.https, Some(b"new.contoso.com")).await[0], 0x16);
}

#[tokio::test]
async fn a_key_that_does_not_fit_is_refused_with_both_files_named() {
    let (_upstream, proxy) = running().await;
    let mut model = proxy.model.clone();
    model.endpoints[0].certificates[0].key = model.endpoints[1].certificates[0].key.clone();
    let limits = gateway_userspace::proxy::limits::Limits::default();
    let known = proxy.current.load().known.clone();
    let error = State::load(&model, asked(&model), &proxy.tickets, &limits, &known)
        .err()
        .expect("a wrong key must not load")
        .to_string();
    assert!(error.contains("gateway.pem") && error.contains("portal.key"), "{error}");
    model.endpoints[0].certificates[0].chain = "/nonexistent/chain.pem".into();
    let error = State::load(&model, asked(&model), &proxy.tickets, &limits, &known)
        .err()
        .expect("a missing file must not load")
        .to_string();
    assert!(error.contains("cannot read /nonexistent/chain.pem"), "{error}");
}

#[tokio::test]
async fn r40_openssl_sees_the_alert_and_curl_the_service() {
    let (_upstream, proxy) = running().await;
    let refused = Command::new("openssl")
        .args(["s_client", "-noservername", "-connect", &proxy.https.to_string()])
        .stdin(std::process::Stdio::null())
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("unrecognized name") && text.contains("SSL alert number 112"), "{text}");
    assert!(!String::from_utf8_lossy(&refused.stdout).contains("BEGIN CERTIFICATE"));

    for version in ["--tls-max=1.2", "--tlsv1.3"] {
        let answer = Command::new("curl")
            .args(["-sS", "--noproxy", "*", version.split('=').next().unwrap()])
            .args(version.split('=').nth(1))
            .args(["--connect-to", &format!("{API}:443:{}", proxy.https), "--cacert"])
            .arg(proxy.ca_file())
            .arg(format!("https://{API}/"))
            .output()
            .await
            .unwrap();
        assert_eq!(
            String::from_utf8_lossy(&answer.stdout),
            "ok",
            "{}",
            String::from_utf8_lossy(&answer.stderr)
        );
    }
}
