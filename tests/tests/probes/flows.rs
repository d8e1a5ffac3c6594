//! R82: what becomes of established flows.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
};

use lab::{address::PRIVATE, probed::Answer};

use super::{Probed, SOON, eventually, named, says};

const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: contoso.azure-api.net\r\n\r\n";

/// Connections from the client through the VIP that stay open, and whose they are.
struct Held {
    streams: BTreeMap<String, Vec<TcpStream>>,
}

impl Held {
    fn open(probed: &Probed, count: usize) -> Self {
        let at = SocketAddr::new(PRIVATE.into(), 80);
        let connect = || {
            let stream = TcpStream::connect_timeout(&at, SOON).unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            stream
        };
        let opened: Vec<_> = probed.lab.hosts.client.enter(|| (0..count).map(|_| connect()).collect());
        let mut streams = BTreeMap::<_, Vec<_>>::new();
        for stream in opened {
            assert!(asks(&stream).is_ok());
            let port = format!(":{} ", stream.local_addr().unwrap().port());
            let owner = probed.lab.hosts.instances.iter().find(|host| {
                let sockets = host.must("ss -Htn state established sport = :80").unwrap();
                sockets.lines().any(|line| format!("{line} ").contains(&port))
            });
            streams.entry(owner.unwrap().name().to_owned()).or_default().push(stream);
        }
        assert_eq!(streams.len(), probed.lab.hosts.instances.len(), "some at each instance");
        Self { streams }
    }

    /// What each of an instance's connections says to another request.
    fn ask(&self, instance: &str) -> Vec<Result<(), io::ErrorKind>> {
        self.streams[instance].iter().map(asks).collect()
    }
}

fn asks(mut stream: &TcpStream) -> Result<(), io::ErrorKind> {
    stream.write_all(ASK).map_err(|error| error.kind())?;
    let mut answer = [0; 1024];
    let read = stream.read(&mut answer).map_err(|error| error.kind())?;
    assert!(answer[..read].starts_with(b"HTTP/1.1 308 "), "{:?}", String::from_utf8_lossy(&answer[..read]));
    Ok(())
}

fn all_go_on(held: &Held, instance: &str) {
    let answers = held.ask(instance);
    assert!(answers.iter().all(Result::is_ok), "{instance}: {answers:?}");
}

fn all_are_reset(held: &Held, instance: &str) {
    let answers = held.ask(instance);
    assert!(
        answers.iter().all(|answer| *answer == Err(io::ErrorKind::ConnectionReset)),
        "{instance}: {answers:?}"
    );
}

#[test]
fn r82_flows_of_an_instance_that_is_down_are_reset_where_the_file_says_so() {
    let probed = Probed::up(2, |config| config.probe.on_down = Some("reset".to_owned()));
    let held = Held::open(&probed, 16);
    probed.answer("gw-2", Answer::Status(503));
    says(&probed.balancer, "gw-2 is down");
    all_are_reset(&held, "gw-2");
    all_go_on(&held, "gw-1");
    assert_eq!(probed.taking(), named(&["gw-1"]));
}

#[test]
fn r82_they_are_kept_where_it_answers_and_reset_once_nothing_answers_at_its_address() {
    let probed = Probed::up(2, |_| ());
    let held = Held::open(&probed, 16);
    probed.answer("gw-2", Answer::Status(503));
    says(&probed.balancer, "gw-2 is down");
    assert_eq!(probed.taking(), named(&["gw-1"]));
    all_go_on(&held, "gw-2");
    probed.lab.instance("gw-2").unwrap().must("ip link set eth0 down").unwrap();
    says(&probed.balancer, "gw-2 is gone: nothing answers at 10.0.0.12");
    all_are_reset(&held, "gw-2");
    all_go_on(&held, "gw-1");
}

#[test]
fn r82_they_are_kept_whatever_happens_where_the_file_says_so() {
    let probed = Probed::up(2, |config| config.probe.on_down = Some("keep".to_owned()));
    let held = Held::open(&probed, 16);
    let host = probed.lab.instance("gw-2").unwrap();
    host.must("ip link set eth0 down").unwrap();
    says(&probed.balancer, "gw-2 is down");
    assert_eq!(probed.taking(), named(&["gw-1"]));
    // Its cable was out for a moment, and the flows are none the wiser.
    host.must("ip link set eth0 up").unwrap();
    assert!(eventually(SOON, || probed.balancer.log().matches("gw-2 is up").count() == 2));
    all_go_on(&held, "gw-2");
    all_go_on(&held, "gw-1");
}
