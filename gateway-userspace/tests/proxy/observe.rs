//! What is seen of requests: identifiers, the access log, metrics.

use std::fs;

use gateway_userspace::proxy::course::Course;
use serde_json::Value;
use tokio::{io::AsyncWriteExt, net::TcpListener, time::timeout};

use crate::support::{API, LONG, Recorder, Running, Setup, plain, until};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn get(target: &str, fields: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: {API}\r\nConnection: close\r\n{fields}\r\n").into_bytes()
}

fn field<'t>(head: &'t str, name: &str) -> Option<&'t str> {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

async fn with_log(upstream: std::net::SocketAddr) -> Running {
    Setup { access_log: true, ..Setup::to(upstream) }.start().await
}

/// Its lines, once there are so many.
pub(crate) async fn lines(proxy: &Running, count: usize) -> Vec<Value> {
    let path = proxy.folder.path().join("access.log");
    let read = async {
        loop {
            let text = fs::read_to_string(&path).unwrap_or_default();
            if text.lines().count() >= count {
                return text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, read).await.expect("lines in time")
}

#[tokio::test]
async fn a_request_has_an_identifier_that_client_and_upstream_see() {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    let answer = String::from_utf8(proxy.ask(&get("/", "")).await).unwrap();
    let seen = upstream.take();
    let id = field(&seen, "x-request-id").unwrap();
    assert_eq!((field(&answer, "x-request-id"), id.len()), (Some(id), 32), "{answer}\n{seen}");
    assert_eq!(field(&seen, "traceparent").unwrap().get(3..35), Some(id), "{seen}");
    let own = format!("Traceparent: {TRACE}\r\nTracestate: a=b\r\nX-Request-Id: mine-1\r\n");
    let answer = String::from_utf8(proxy.ask(&get("/", &own)).await).unwrap();
    let seen = upstream.take();
    let of = |name| field(&seen, name);
    assert_eq!(
        (of("traceparent"), of("tracestate"), of("x-request-id")),
        (Some(TRACE), Some("a=b"), Some("mine-1"))
    );
    assert_eq!(field(&answer, "x-request-id"), Some("mine-1"));
}

#[tokio::test]
async fn a_line_of_the_access_log_says_who_asked_for_what_and_what_came_of_it() {
    let upstream = Recorder::start(OK).await;
    let proxy = with_log(upstream.address).await;
    proxy.ask(&get("/orders?key=secret", "User-Agent: a\"b\r\nX-Request-Id: mine-2\r\n")).await;
    proxy.ask(b"GET / HTTP/1.1\r\nHost: unknown.example\r\n\r\n").await;
    let lines = lines(&proxy, 2).await;
    let expected = [
        ("client", "127.0.0.1"),
        ("host", API),
        ("method", "GET"),
        ("path", "/orders"),
        ("protocol", "HTTP/1.1"),
        ("outcome", "forwarded"),
        ("role", "gateway"),
        ("upstream", &*format!("http://{}", upstream.address)),
        ("request_id", "mine-2"),
        ("user_agent", "a\"b"),
    ];
    for (key, value) in expected {
        assert_eq!(lines[0][key], value, "{key}");
    }
    assert_eq!((&lines[0]["status"], &lines[0]["bytes"]), (&200.into(), &2.into()));
    assert!(!lines[0].to_string().contains("secret"));
    assert_eq!((&lines[1]["host"], &lines[1]["status"]), (&"unknown.example".into(), &421.into()));
    assert_eq!((&lines[1]["outcome"], &lines[1]["role"]), (&"misdirected".into(), &Value::Null));
}

#[tokio::test]
async fn what_ends_before_an_answer_and_what_breaks_off_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = with_log(listener.local_addr().unwrap()).await;
    let mut client = proxy.tls(proxy.https, API).await;
    client.write_all(&get("/gone", "")).await.unwrap();
    let (mut upstream, _) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
    until(&mut upstream, "\r\n\r\n").await;
    drop(client);
    proxy.stop.send_replace(Course { ending: 2, cut: 2, generation: 2, ..Course::default() });
    let seen = lines(&proxy, 1).await;
    assert_eq!((&seen[0]["status"], &seen[0]["outcome"]), (&499.into(), &"unanswered".into()));
    let mut client = proxy.tls(proxy.https, API).await;
    client.write_all(&get("/part", "")).await.unwrap();
    let (mut upstream, _) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
    until(&mut upstream, "\r\n\r\n").await;
    upstream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart").await.unwrap();
    until(&mut client, "part").await;
    drop(upstream);
    let seen = lines(&proxy, 2).await;
    assert_eq!((&seen[1]["bytes"], &seen[1]["broken_off"]), (&4.into(), &true.into()));
}

pub(crate) async fn metrics(proxy: &Running) -> String {
    let ask = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    String::from_utf8(plain(proxy.probe, ask).await).unwrap()
}

#[tokio::test]
async fn metrics_tell_of_names_upstreams_and_certificates() {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    proxy.ask(&get("/", "")).await;
    proxy.ask(b"GET / HTTP/1.1\r\nHost: unknown.example\r\n\r\n").await;
    let text = metrics(&proxy).await;
    let name = upstream.address;
    for line in [
        "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8",
        r#"gateway_proxy_requests_total{code="2xx",host="api.contoso.com",role="gateway"} 1"#,
        r#"gateway_proxy_sent_bytes_total{host="api.contoso.com",role="gateway"} 2"#,
        r#"gateway_proxy_request_duration_seconds_count{role="gateway"} 1"#,
        r#"gateway_proxy_outcomes_total{outcome="misdirected"} 1"#,
        &format!(r#"gateway_proxy_upstream_answers_total{{code="2xx",upstream="http://{name}"}} 1"#),
        &format!(r#"gateway_proxy_upstream_left_out{{upstream="http://{name}"}} 0.0"#),
    ] {
        assert!(
            text.contains(&format!("{line}\n")) || text.contains(&format!("{line}\r\n")),
            "{line}\n{text}"
        );
    }
    let expiry = text
        .lines()
        .find_map(|line| line.split_once("certificate_expiry_timestamp_seconds{role=\"portal\"} "));
    assert!(expiry.is_some_and(|(_, time)| time.parse::<f64>().unwrap() > 1e9), "{text}");
}
