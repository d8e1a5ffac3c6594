//! Upstreams by name: a DNS server on loopback whose answers change.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use gateway_userspace::model::{Action, Model, Upstream, UpstreamAddress, UpstreamScheme};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, UdpSocket},
    time::timeout,
};

use crate::support::{API, LONG, Recorder, Running, Setup, until};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const NAME: &str = "orders.internal";

/// What the server says of every name.
#[derive(Clone)]
enum Says {
    Addresses(Vec<IpAddr>),
    NoSuchName,
    ServerFailure,
    /// After a moment.
    Late(Vec<IpAddr>),
}

/// A DNS server of a few lines; its answers live for no time at all.
struct Dns {
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicUsize>,
}

impl Dns {
    async fn start(says: Says) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let says = Arc::new(Mutex::new(says));
        let asked = Arc::new(AtomicUsize::new(0));
        let (now, count) = (Arc::clone(&says), Arc::clone(&asked));
        tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                count.fetch_add(1, Ordering::Relaxed);
                let says = now.lock().unwrap().clone();
                if let Says::Late(_) = says {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                socket.send_to(&answer(&query[..length], &says), from).await.unwrap();
            }
        });
        Self { address, says, asked }
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    /// Until it was asked so many times more.
    async fn asked_again(&self, times: usize) {
        let end = self.asked.load(Ordering::Relaxed) + times;
        let asked = async {
            while self.asked.load(Ordering::Relaxed) < end {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(LONG, asked).await.unwrap();
    }
}

/// RFC 1035, section 4.
fn answer(query: &[u8], says: &Says) -> Vec<u8> {
    let name_end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 1;
    let question = &query[12..name_end + 4];
    let wanted = u16::from_be_bytes([query[name_end], query[name_end + 1]]);
    let (code, addresses): (u8, &[IpAddr]) = match says {
        Says::Addresses(addresses) | Says::Late(addresses) => (0, addresses),
        Says::ServerFailure => (2, &[]),
        Says::NoSuchName => (3, &[]),
    };
    let mut records = Vec::new();
    let mut count = 0_u16;
    for address in addresses {
        let (kind, data) = match address {
            IpAddr::V4(v4) => (1_u16, v4.octets().to_vec()),
            IpAddr::V6(v6) => (28, v6.octets().to_vec()),
        };
        if kind == wanted {
            count += 1;
            records.extend([0xc0, 12]);
            records.extend(kind.to_be_bytes());
            records.extend([0, 1, 0, 0, 0, 0]);
            records.extend((data.len() as u16).to_be_bytes());
            records.extend(data);
        }
    }
    let mut response = query[..2].to_vec();
    response.extend([0x81, 0x80 | code, 0, 1]);
    response.extend(count.to_be_bytes());
    response.extend([0, 0, 0, 0]);
    response.extend(question);
    response.extend(records);
    response
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Upstreams at these addresses, on one port.
async fn on_one_port<const N: usize>(addresses: [&str; N]) -> (u16, [Recorder; N]) {
    'port: loop {
        let free = TcpListener::bind((addresses[0], 0)).await.unwrap().local_addr().unwrap().port();
        let mut all = Vec::new();
        for address in addresses {
            // Somebody else may have it by now, or there.
            let Ok(listener) = TcpListener::bind((address, free)).await else { continue 'port };
            all.push(Recorder::on(listener, OK));
        }
        return (free, all.try_into().unwrap_or_else(|_| panic!("one for each")));
    }
}

fn named(model: &Model, dns: &Dns, port: u16) -> Model {
    let mut model = model.clone();
    model.proxy.resolver = vec![dns.address];
    for route in model.endpoints.iter_mut().flat_map(|endpoint| &mut endpoint.routes) {
        let Action::Forward(backend) = &mut route.action else { continue };
        backend.locations[0].upstream = vec![Upstream {
            scheme: UpstreamScheme::Http,
            address: UpstreamAddress::Name { host: NAME.to_owned(), port },
            tls: None,
        }];
    }
    model
}

/// A proxy whose only upstream has a name.
async fn proxy(dns: &Dns, port: u16) -> Running {
    let proxy = Setup::to(([127, 0, 0, 1], port).into()).start().await;
    proxy.reload(&named(&proxy.model, dns, port));
    proxy
}

/// Of a request on a connection of its own.
async fn head(proxy: &Running) -> String {
    let mut client = proxy.tls(proxy.https, API).await;
    client.write_all(format!("GET / HTTP/1.1\r\nHost: {API}\r\n\r\n").as_bytes()).await.unwrap();
    until(&mut client, "\r\n\r\n").await
}

async fn status(proxy: &Running) -> String {
    head(proxy).await[9..12].to_owned()
}

#[tokio::test]
async fn all_addresses_of_a_name_serve_and_the_first_request_waits_for_them() {
    let (port, upstreams) = on_one_port(["127.0.0.1", "127.0.0.2", "::1"]).await;
    let addresses = ["127.0.0.1", "127.0.0.2", "::1"].map(ip).to_vec();
    let dns = Dns::start(Says::Late(addresses)).await;
    let proxy = proxy(&dns, port).await;
    for _ in 0..60 {
        assert_eq!(status(&proxy).await, "200");
    }
    assert!(upstreams.iter().all(|upstream| upstream.requests() > 0), "A and AAAA");
}

#[tokio::test]
async fn a_change_of_addresses_is_taken_up_without_a_failed_request() {
    let (port, [first, second]) = on_one_port(["127.0.0.1", "127.0.0.2"]).await;
    let dns = Dns::start(Says::Addresses(vec![ip("127.0.0.1")])).await;
    let proxy = proxy(&dns, port).await;
    assert_eq!(status(&proxy).await, "200");
    assert_eq!((first.requests(), second.requests()), (1, 0));
    dns.say(Says::Addresses(vec![ip("127.0.0.2")]));
    let moved = async {
        while second.requests() == 0 {
            assert_eq!(status(&proxy).await, "200");
        }
    };
    timeout(LONG, moved).await.unwrap();
    let before = first.requests();
    for _ in 0..20 {
        assert_eq!(status(&proxy).await, "200");
    }
    assert_eq!(first.requests(), before, "nobody asks the old address any more");
    assert_eq!(proxy.worker.pool().kept(), 1, "and its connections are ended");
}

#[tokio::test]
async fn a_request_on_its_way_outlives_its_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let dns = Dns::start(Says::Addresses(vec![ip("127.0.0.1")])).await;
    let proxy = proxy(&dns, port).await;
    let mut client = proxy.tls(proxy.https, API).await;
    client.write_all(format!("GET / HTTP/1.1\r\nHost: {API}\r\n\r\n").as_bytes()).await.unwrap();
    let (mut upstream, _) = timeout(LONG, listener.accept()).await.unwrap().unwrap();
    until(&mut upstream, "\r\n\r\n").await;
    dns.say(Says::Addresses(vec![ip("127.0.0.9")]));
    dns.asked_again(6).await;
    upstream.write_all(OK).await.unwrap();
    until(&mut client, "\r\n\r\nok").await;
}

#[tokio::test]
async fn a_name_without_an_address_gets_503_until_it_has_one() {
    for says in [Says::NoSuchName, Says::ServerFailure, Says::Addresses(vec![])] {
        let (port, [upstream]) = on_one_port(["127.0.0.1"]).await;
        let dns = Dns::start(says).await;
        let proxy = proxy(&dns, port).await;
        let answer = head(&proxy).await;
        assert_eq!(answer, "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n");
        dns.say(Says::Addresses(vec![ip("127.0.0.1")]));
        let resolved = async { while status(&proxy).await != "200" {} };
        timeout(LONG, resolved).await.unwrap();
        assert_eq!(upstream.requests(), 1);
    }
}

#[tokio::test]
async fn the_last_addresses_serve_while_the_dns_fails() {
    for says in [Says::NoSuchName, Says::ServerFailure, Says::Addresses(vec![])] {
        let (port, [upstream]) = on_one_port(["127.0.0.1"]).await;
        let dns = Dns::start(Says::Addresses(vec![ip("127.0.0.1")])).await;
        let proxy = proxy(&dns, port).await;
        assert_eq!(status(&proxy).await, "200");
        dns.say(says);
        dns.asked_again(4).await;
        assert_eq!(status(&proxy).await, "200");
        // A reload goes on with what is known, too.
        proxy.reload(&named(&proxy.model, &dns, port));
        assert_eq!(status(&proxy).await, "200");
        assert_eq!(upstream.requests(), 3);
    }
}

#[tokio::test]
async fn an_address_that_refuses_costs_no_request() {
    let (port, [upstream]) = on_one_port(["127.0.0.1"]).await;
    let dns = Dns::start(Says::Addresses(["127.0.0.1", "127.0.0.3"].map(ip).to_vec())).await;
    let proxy = proxy(&dns, port).await;
    for _ in 0..30 {
        assert_eq!(status(&proxy).await, "200");
    }
    assert_eq!(upstream.requests(), 30);
}
