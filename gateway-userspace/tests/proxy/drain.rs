//! R83: what clients see while an instance is drained, and the balancers that tell of it.

use std::time::Duration;

use gateway_userspace::proxy::{counters::Outcome, course::Course};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::support::{API, LONG, Recorder, Running, Setup, cut, plain, rest, until};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &str = "GET / HTTP/1.1\r\nHost: api.contoso.com\r\n\r\n";
const STATUS: &str = "GET /healthy HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn r83_each_answer_of_a_drain_is_the_last_of_its_connection_and_the_status_path_goes_on() {
    let upstream = Recorder::start(OK).await;
    let proxy = Setup::to(upstream.address).start().await;
    let mut kept = proxy.tls(proxy.https, API).await;
    let mut probe = TcpStream::connect(proxy.probe).await.unwrap();
    kept.write_all(GET.as_bytes()).await.unwrap();
    assert!(!until(&mut kept, "ok").await.contains("close"));
    proxy.stop.send_replace(Course { closes: true, ..Course::default() });
    // One that was there, and one that comes late.
    kept.write_all(GET.as_bytes()).await.unwrap();
    let answers = [rest(&mut kept).await, proxy.ask(GET.as_bytes()).await];
    for answer in answers {
        let answer = String::from_utf8(answer).unwrap();
        assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with("ok"), "{answer}");
    }
    let redirect = String::from_utf8(plain(proxy.redirect, GET.as_bytes()).await).unwrap();
    assert!(redirect.starts_with("HTTP/1.1 308 ") && redirect.contains("connection: close"), "{redirect}");
    for _ in 0..2 {
        probe.write_all(STATUS.as_bytes()).await.unwrap();
        let answer = until(&mut probe, "\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK") && !answer.contains("close"), "{answer}");
    }
}

#[tokio::test]
async fn r83_the_end_of_a_drain_ends_what_is_idle_and_cuts_what_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Setup::to(listener.local_addr().unwrap()).start().await;
    let mut idle = proxy.tls(proxy.https, API).await;
    let mut busy = proxy.tls(proxy.https, API).await;
    busy.write_all(GET.as_bytes()).await.unwrap();
    let (mut upstream, _) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
    until(&mut upstream, "\r\n\r\n").await;
    let ending = Course { closes: true, generation: 2, ending: 2, ..Course::default() };
    proxy.stop.send_replace(ending);
    assert_eq!(rest(&mut idle).await, b"");
    drop(idle);
    // Who comes after the end is of another generation.
    let mut late = proxy.tls(proxy.https, API).await;
    proxy.stop.send_replace(Course { cut: 2, ..ending });
    assert_eq!(cut(&mut busy).await.0, b"");
    assert_eq!(rest(&mut upstream).await, b"", "nobody waits for its answer");
    assert_eq!(proxy.worker.counters().get(Outcome::Cut), 1);
    late.write_all(GET.as_bytes()).await.unwrap();
    let (mut upstream, _) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
    until(&mut upstream, "\r\n\r\n").await;
    upstream.write_all(OK).await.unwrap();
    assert!(rest(&mut late).await.ends_with(b"ok"));
}

async fn order(proxy: &Running, method: &str, body: &str) -> String {
    let length = body.len();
    let request = format!(
        "{method} /drain HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let answer = String::from_utf8(plain(proxy.probe, request.as_bytes()).await).unwrap();
    answer.split("\r\n").next().unwrap().to_owned()
}

#[tokio::test]
async fn r83_balancers_tell_of_a_drain_and_nobody_else_does() {
    let mut proxy = Setup::to("127.0.0.1:9".parse().unwrap()).start().await;
    assert_eq!(order(&proxy, "PUT", r#"{"seconds":60}"#).await, "HTTP/1.1 404 Not Found");
    let mut model = proxy.model.clone();
    model.balancer.address.push("127.0.0.1".parse().unwrap());

    proxy.reload(&model);
    assert_eq!(order(&proxy, "PUT", r#"{"seconds":60}"#).await, "HTTP/1.1 204 No Content");
    assert_eq!(proxy.told.recv().await, Some(Some(Duration::from_secs(60))));
    assert_eq!(order(&proxy, "DELETE", "").await, "HTTP/1.1 204 No Content");
    assert_eq!(proxy.told.recv().await, Some(None));
    assert_eq!(order(&proxy, "PUT", "soon").await, "HTTP/1.1 400 Bad Request");
    assert_eq!(order(&proxy, "POST", "").await, "HTTP/1.1 404 Not Found");
}
