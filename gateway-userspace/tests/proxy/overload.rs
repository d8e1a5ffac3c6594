//! More than there is time for, and clients that take all the time there is.

use std::time::{Duration, Instant};

use gateway_userspace::proxy::{counters::Outcome, limits::Limits, overload};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::timeout,
};

use crate::support::{API, LONG, Recorder, Running, Setup, until};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BUSY: &str = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n";

fn request() -> String {
    format!("GET / HTTP/1.1\r\nHost: {API}\r\n\r\n")
}

async fn head(proxy: &Running) -> String {
    let mut client = proxy.tls(proxy.https, API).await;
    client.write_all(request().as_bytes()).await.unwrap();
    until(&mut client, "\r\n\r\n").await
}

#[tokio::test]
async fn who_finds_as_many_requests_as_there_may_be_is_told_to_come_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut setup = Setup::to(listener.local_addr().unwrap());
    setup.limits.requests = 1;
    let proxy = setup.start().await;
    let mut first = proxy.tls(proxy.https, API).await;
    first.write_all(request().as_bytes()).await.unwrap();
    let (mut upstream, _) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
    until(&mut upstream, "\r\n\r\n").await;
    assert_eq!(head(&proxy).await, BUSY);
    upstream.write_all(&OK[..OK.len() - 1]).await.unwrap();
    until(&mut first, "\r\n\r\no").await;
    assert_eq!(head(&proxy).await, BUSY, "an answer on its way counts");
    upstream.write_all(b"k").await.unwrap();
    until(&mut first, "k").await;
    first.write_all(request().as_bytes()).await.unwrap();
    until(&mut upstream, "\r\n\r\n").await;
    upstream.write_all(OK).await.unwrap();
    until(&mut first, "\r\n\r\nok").await;
    assert_eq!(proxy.worker.counters().get(Outcome::Overloaded), 2);
}

#[tokio::test]
async fn a_worker_that_does_not_keep_up_turns_requests_away_and_takes_them_again() {
    let upstream = Recorder::start(OK).await;
    let mut setup = Setup::to(upstream.address);
    setup.limits.queue_wait = Duration::from_millis(20);
    let proxy = setup.start().await;
    tokio::spawn(overload::watch(proxy.worker.clone()));
    assert!(head(&proxy).await.contains(" 200 "));
    let hog = tokio::spawn(async {
        loop {
            std::thread::sleep(Duration::from_millis(60));
            tokio::task::yield_now().await;
        }
    });
    let turned_away = async { while head(&proxy).await != BUSY {} };
    timeout(4 * LONG, turned_away).await.unwrap();
    hog.abort();
    let mut served = 0;
    let recovered = async {
        while served < 50 {
            served = if head(&proxy).await.contains(" 200 ") { served + 1 } else { 0 };
        }
    };
    timeout(LONG, recovered).await.unwrap();
}

/// Half of them say nothing after half a ClientHello, the others send a head byte by byte.
#[tokio::test]
async fn a_thousand_slow_connections_leave_others_served() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let upstream = Recorder::start(OK).await;
    let mut setup = Setup::to(upstream.address);
    let patience = Duration::from_secs(15);
    setup.limits = Limits { head: patience, tls_handshake: patience, ..setup.limits };
    let proxy = setup.start().await;
    let mut slow = JoinSet::new();
    for _ in 0..500 {
        let mut silent = TcpStream::connect(proxy.https).await.unwrap();
        silent.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap();
        slow.spawn(async move { drop(silent.read_to_end(&mut Vec::new()).await) });
        let mut dripping = proxy.tls(proxy.https, API).await;
        slow.spawn(async move {
            let endless = request().replace("\r\n\r\n", "\r\nX-Slow: ");
            for byte in endless.into_bytes().into_iter().chain(std::iter::repeat(b'x')) {
                if dripping.write_all(&[byte]).await.is_err() || dripping.flush().await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        });
    }
    assert_eq!(proxy.worker.connections(), 1_000);
    let begun = Instant::now();
    for _ in 0..100 {
        assert!(head(&proxy).await.contains(" 200 "));
    }
    assert!(begun.elapsed() < LONG, "{:?}", begun.elapsed());
    assert!(proxy.worker.connections() >= 900, "while they hold on");
    // And none of them holds on for ever.
    let gone = async { while slow.join_next().await.is_some() {} };
    timeout(4 * LONG, gone).await.unwrap();
    assert!(head(&proxy).await.contains(" 200 "));
}
