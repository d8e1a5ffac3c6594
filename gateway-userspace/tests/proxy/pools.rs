//! Several upstreams of a route: who gets a request, and what happens when they fail.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use gateway_userspace::{
    model::{Balance, HealthCheck, StatusCodes, UpstreamLimits},
    proxy::counters::Outcome,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use crate::support::{API, LONG, Recorder, Running, Setup, until};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const BROKEN: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\nno";

/// Where nobody listens.
async fn refusing() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn running(balance: Balance, locations: Vec<Vec<SocketAddr>>) -> Running {
    let mut setup = Setup::to(locations[0][0]);
    setup.routes = vec![("/", locations)];
    setup.balance = balance;
    setup.start().await
}

/// A client that asks many times.
struct Client(TlsStream<TcpStream>);

impl Client {
    async fn of(proxy: &Running) -> Self {
        Self(proxy.tls(proxy.https, API).await)
    }

    /// The status of the answer.
    async fn get(&mut self, fields: &str) -> u16 {
        self.send("GET", fields).await
    }

    async fn send(&mut self, method: &str, fields: &str) -> u16 {
        let request = format!("{method} / HTTP/1.1\r\nHost: {API}\r\n{fields}\r\n");
        self.0.write_all(request.as_bytes()).await.unwrap();
        let head = until(&mut self.0, "\r\n\r\n").await;
        if head.to_lowercase().contains("content-length: 2\r\n") {
            until(&mut self.0, if head.contains(" 200 ") { "ok" } else { "no" }).await;
        }
        head[9..12].parse().unwrap()
    }
}

#[tokio::test]
async fn r71_upstreams_of_a_route_take_turns() {
    let upstreams = [Recorder::start(OK).await, Recorder::start(OK).await, Recorder::start(OK).await];
    let addresses = upstreams.iter().map(|upstream| upstream.address).collect();
    let proxy = running(Balance::RoundRobin, vec![addresses]).await;
    let mut client = Client::of(&proxy).await;
    for _ in 0..9 {
        assert_eq!(client.get("").await, 200);
    }
    assert_eq!(upstreams.each_ref().map(Recorder::requests), [3, 3, 3]);
    assert_eq!(proxy.worker.pool().kept(), 3);
}

#[tokio::test]
async fn a_cookie_keeps_its_upstream_and_others_take_over_when_that_is_gone() {
    let upstreams = [Recorder::start(OK).await, Recorder::start(OK).await];
    let mut addresses: Vec<_> = upstreams.iter().map(|upstream| upstream.address).collect();
    addresses.push(refusing().await);
    let proxy = running(Balance::HashCookie("user".into()), vec![addresses]).await;
    let mut client = Client::of(&proxy).await;
    for user in 0..20 {
        let before = upstreams.each_ref().map(Recorder::requests);
        for _ in 0..3 {
            assert_eq!(client.get(&format!("Cookie: user={user}\r\n")).await, 200);
        }
        let after = upstreams.each_ref().map(Recorder::requests);
        let more = [after[0] - before[0], after[1] - before[1]];
        assert!(more == [3, 0] || more == [0, 3], "user {user}: {more:?}");
    }
    assert!(upstreams.iter().all(|upstream| upstream.requests() > 0));
}

#[tokio::test]
async fn r72_the_next_location_serves_while_the_nearest_is_gone_and_gives_back() {
    let near = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = near.local_addr().unwrap();
    drop(near);
    let far = Recorder::start(OK).await;
    let proxy = running(Balance::LeastLoaded, vec![vec![address], vec![far.address]]).await;
    let mut client = Client::of(&proxy).await;
    for _ in 0..20 {
        assert_eq!(client.send("POST", "Content-Length: 0\r\n").await, 200, "the client sees nothing of it");
    }
    assert_eq!(far.requests(), 20);
    assert_eq!(proxy.worker.counters().get(Outcome::UpstreamFailed), 0);
    // It is back, on the same port.
    let near = Recorder::start_at(address, OK).await;
    let returned = async {
        while near.requests() == 0 {
            assert_eq!(client.get("").await, 200);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, returned).await.unwrap();
}

/// An upstream that says of itself whether it is healthy, and hangs where it is not.
struct Patient {
    address: SocketAddr,
    healthy: Arc<AtomicBool>,
}

impl Patient {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let healthy = Arc::new(AtomicBool::new(true));
        let state = Arc::clone(&healthy);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    while until_end(&mut stream).await && state.load(Ordering::Relaxed) {
                        stream.write_all(OK).await.unwrap();
                    }
                    std::future::pending::<()>().await;
                });
            }
        });
        Self { address, healthy }
    }
}

/// Whether a whole head came before the connection ended.
async fn until_end(stream: &mut TcpStream) -> bool {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return false,
        }
    }
    true
}

#[tokio::test]
async fn r72_an_upstream_that_hangs_is_left_within_a_second_of_its_probes_verdict_and_comes_back() {
    let (near, far) = (Patient::start().await, Recorder::start(OK).await);
    let mut setup = Setup::to(near.address);
    setup.routes = vec![("/", vec![vec![near.address], vec![far.address]])];
    setup.health = Some(HealthCheck {
        path: "/healthz".into(),
        host: None,
        status: StatusCodes::default(),
        interval: Duration::from_millis(100),
        timeout: Duration::from_millis(100),
        rise: 2,
        fall: 2,
    });
    let proxy = setup.start().await;
    let asked_far = || far.connections().iter().map(|text| text.matches("GET / HTTP").count()).sum::<usize>();
    let mut client = Client::of(&proxy).await;
    assert_eq!(client.get("").await, 200);
    assert_eq!(asked_far(), 0);
    near.healthy.store(false, Ordering::Relaxed);
    // Whoever asks before the verdict waits; each asks on a connection of its own.
    let left = async {
        while asked_far() == 0 {
            let mut client = Client::of(&proxy).await;
            let _late = timeout(Duration::from_millis(50), client.get("")).await;
        }
    };
    timeout(LONG, left).await.unwrap();
    for _ in 0..20 {
        assert_eq!(client.get("").await, 200, "from the verdict on nobody waits");
    }
    near.healthy.store(true, Ordering::Relaxed);
    let returned = async {
        loop {
            let before = asked_far();
            assert_eq!(client.get("").await, 200);
            if asked_far() == before {
                break;
            }
        }
    };
    timeout(LONG, returned).await.unwrap();
}

#[tokio::test]
async fn who_answers_with_errors_in_a_row_is_left_out() {
    let (good, broken) = (Recorder::start(OK).await, Recorder::start(BROKEN).await);
    let proxy = running(Balance::RoundRobin, vec![vec![broken.address, good.address]]).await;
    let mut client = Client::of(&proxy).await;
    let mut errors = 0;
    for _ in 0..30 {
        errors += usize::from(client.get("").await == 500);
    }
    assert_eq!(errors, broken.requests());
    assert!((5..=7).contains(&errors), "five in a row, and one for each second since: {errors}");
}

#[tokio::test]
async fn the_only_upstream_serves_whatever_it_answers() {
    let broken = Recorder::start(BROKEN).await;
    let proxy = running(Balance::LeastLoaded, vec![vec![broken.address]]).await;
    let mut client = Client::of(&proxy).await;
    for _ in 0..20 {
        assert_eq!(client.get("").await, 500);
    }
}

#[tokio::test]
async fn what_may_be_repeated_goes_to_another_upstream_when_one_breaks_off() {
    for (method, status) in [("GET", 200), ("POST", 502)] {
        let good = Recorder::start(OK).await;
        let proxy = running(Balance::LeastLoaded, vec![vec![breaking().await], vec![good.address]]).await;
        let mut client = Client::of(&proxy).await;
        assert_eq!(client.send(method, "Content-Length: 0\r\n").await, status, "{method}");
        assert_eq!(good.requests(), usize::from(status == 200), "{method}");
    }
}

/// Takes each request and says nothing.
async fn breaking() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            until(&mut stream, "\r\n\r\n").await;
        }
    });
    address
}

#[tokio::test]
async fn requests_that_were_sent_are_repeated_within_a_budget() {
    let good = Recorder::start(OK).await;
    let proxy =
        running(Balance::LeastLoaded, vec![vec![breaking().await, breaking().await], vec![good.address]])
            .await;
    let mut client = Client::of(&proxy).await;
    let mut statuses = Vec::new();
    for _ in 0..200 {
        statuses.push(client.get("").await);
    }
    assert!(statuses[..40].iter().all(|status| *status == 200), "two retries each at most");
    assert!(statuses.contains(&502));
}

#[tokio::test]
async fn whoever_takes_no_connection_costs_no_budget() {
    let good = Recorder::start(OK).await;
    let proxy =
        running(Balance::LeastLoaded, vec![vec![refusing().await, refusing().await], vec![good.address]])
            .await;
    let mut client = Client::of(&proxy).await;
    for _ in 0..200 {
        assert_eq!(client.get("").await, 200);
    }
}

#[tokio::test]
async fn who_finds_an_upstream_full_waits_and_who_finds_the_queue_full_is_told_to_come_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut setup = Setup::to(listener.local_addr().unwrap());
    setup.upstream_limits = Some(UpstreamLimits { requests: 1, connections: None, pending: 1, wait: LONG });
    let proxy = setup.start().await;
    let request = format!("GET / HTTP/1.1\r\nHost: {API}\r\n\r\n");
    let mut clients = [Client::of(&proxy).await, Client::of(&proxy).await];
    clients[0].0.write_all(request.as_bytes()).await.unwrap();
    let (mut upstream, _) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
    until(&mut upstream, "\r\n\r\n").await;
    clients[1].0.write_all(request.as_bytes()).await.unwrap();
    // Whether it waits by now shows only in what becomes of those behind it; until then they wait themselves, and give up.
    let turned_away = async {
        loop {
            let mut third = Client::of(&proxy).await;
            third.0.write_all(request.as_bytes()).await.unwrap();
            if let Ok(head) = timeout(Duration::from_millis(200), until(&mut third.0, "\r\n\r\n")).await {
                break head;
            }
        }
    };
    let head = timeout(LONG, turned_away).await.unwrap();
    assert_eq!(head, "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n");
    upstream.write_all(OK).await.unwrap();
    until(&mut clients[0].0, "\r\n\r\nok").await;
    // On the same connection, now that it is free.
    until(&mut upstream, "\r\n\r\n").await;
    upstream.write_all(OK).await.unwrap();
    until(&mut clients[1].0, "\r\n\r\nok").await;
    assert!(proxy.worker.counters().get(Outcome::UpstreamBusy) >= 1);
}

#[tokio::test]
async fn a_full_upstream_is_passed_over_while_another_is_free() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = Recorder::start(OK).await;
    let mut setup = Setup::to(free.address);
    setup.routes = vec![("/", vec![vec![listener.local_addr().unwrap(), free.address]])];
    setup.balance = Balance::RoundRobin;
    setup.upstream_limits =
        Some(UpstreamLimits { requests: 1, connections: None, pending: 0, wait: Duration::ZERO });
    let proxy = setup.start().await;
    let mut stuck = Client::of(&proxy).await;
    let request = format!("GET / HTTP/1.1\r\nHost: {API}\r\n\r\n");
    stuck.0.write_all(request.as_bytes()).await.unwrap();
    let (_upstream, _) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
    let mut client = Client::of(&proxy).await;
    for _ in 0..10 {
        assert_eq!(client.get("").await, 200);
    }
    assert_eq!(free.requests(), 10);
}

#[tokio::test]
async fn a_reload_keeps_connections() {
    let upstream = Recorder::start(OK).await;
    let proxy = running(Balance::LeastLoaded, vec![vec![upstream.address]]).await;
    let mut client = Client::of(&proxy).await;
    assert_eq!(client.get("").await, 200);
    proxy.reload(&proxy.model);
    assert_eq!(client.get("").await, 200);
    assert_eq!(upstream.connections().len(), 1);
    let mut model = proxy.model.clone();
    model.endpoints.iter_mut().for_each(|endpoint| endpoint.routes.clear());
    proxy.reload(&model);
    assert_eq!(proxy.worker.pool().kept(), 0, "nobody has them any more");
}

#[tokio::test]
async fn connections_to_an_upstream_are_bounded_and_lent_from_worker_to_worker() {
    let upstream = Recorder::start(OK).await;
    let mut setup = Setup::to(upstream.address);
    setup.upstream_limits =
        Some(UpstreamLimits { requests: 1, connections: Some(1), pending: 10, wait: LONG });
    setup.workers = 2;
    let proxy = setup.start().await;
    let other = proxy.another().await;
    for _ in 0..3 {
        for address in [proxy.https, other] {
            let mut client = Client(proxy.tls(address, API).await);
            assert_eq!(client.get("").await, 200);
        }
    }
    assert_eq!(upstream.connections().len(), 1, "the one that the other worker has kept");
}
