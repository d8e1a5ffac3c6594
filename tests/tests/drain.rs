//! R83: a drain from its begin to its deadline, through balancer and proxy: what is there gets on, is asked to come back elsewhere,
//! and is cut at the end by the instance that has it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use lab::{
    address::PRIVATE,
    config::default_host,
    control,
    curl::Curl,
    host::Host,
    lab::Lab,
    process::Process,
    service,
    wait::{eventually, until},
};

/// Long enough for the proxies to hear of it and for downloads to get on.
const DRAIN: Duration = Duration::from_secs(12);
const PATIENCE: Duration = Duration::from_secs(60);
const CHUNK: usize = 64 * 1024;
/// Of a download: with a pause after each they take half a minute, longer than the drain.
const CHUNKS: usize = 150;
/// Half of them at each of two instances; that one has none happens once in 60,000 times.
const CLIENTS: usize = 16;
const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: contoso.azure-api.net\r\n\r\n";

/// Which local ports of the client are connected to this instance's port.
fn ports(host: &Host, port: u16) -> Vec<u16> {
    let sockets = host.must(&format!("ss -Htn state established sport = :{port}")).unwrap();
    let peers =
        sockets.lines().filter_map(|line| line.split_whitespace().nth(3)?.rsplit(':').next()?.parse().ok());
    peers.collect()
}

/// The client's connections that stay open, by instance.
fn kept(lab: &Lab) -> BTreeMap<String, Vec<TcpStream>> {
    let at = SocketAddr::new(PRIVATE.into(), 80);
    let mut streams: Vec<TcpStream> = lab.hosts.client.enter(|| {
        let connect = |_| TcpStream::connect_timeout(&at, PATIENCE).unwrap();
        (0..CLIENTS).map(connect).collect()
    });
    for stream in &mut streams {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(!is_told_to_close(stream));
    }
    let mut by = BTreeMap::<_, Vec<_>>::new();
    let owned: Vec<_> = lab.hosts.instances.iter().map(|host| (host.name(), ports(host, 80))).collect();
    for stream in streams {
        let port = stream.local_addr().unwrap().port();
        let (name, _) = owned.iter().find(|(_, ports)| ports.contains(&port)).unwrap();
        by.entry((*name).to_owned()).or_default().push(stream);
    }
    assert_eq!(by.len(), lab.hosts.instances.len(), "some at each instance");
    by
}

/// Asks once more, and whether the answer says `Connection: close`.
fn is_told_to_close(stream: &mut TcpStream) -> bool {
    stream.write_all(ASK).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    answer.to_lowercase().contains("connection: close")
}

struct Download {
    process: Process,
    instance: String,
}

/// Downloads that are on their way, and whose they are.
fn downloads(lab: &Lab) -> Vec<Download> {
    let path = format!("/bytes/{}?pause=200", CHUNKS * CHUNK);
    let begin = |_| {
        let known: Vec<_> = lab.hosts.instances.iter().map(|host| ports(host, 443)).collect();
        let curl = Curl::https(lab, &default_host("gateway"), PRIVATE, &path).with(["--max-time", "600"]);
        let process = lab.hosts.client.spawn(curl.command()).unwrap();
        // The one that has a connection more.
        let owner = until(PATIENCE, || {
            let hosts = lab.hosts.instances.iter().zip(&known);
            hosts
                .filter(|(host, known)| ports(host, 443).len() > known.len())
                .map(|(host, _)| host.name())
                .next()
        });
        Download { process, instance: owner.unwrap().to_owned() }
    };
    let all: Vec<_> = (0..CLIENTS).map(begin).collect();
    for download in &all {
        assert!(eventually(PATIENCE, || download.process.stdout().len() > CHUNK));
    }
    all
}

fn instance(lab: &Lab, config: &Path, name: &str) -> serde_json::Value {
    let status = control::json(&lab.hosts.balancer, "status", config).unwrap();
    status["instances"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap().clone()
}

#[test]
fn r83_what_a_drained_instance_has_gets_on_is_told_to_close_and_is_cut_at_the_deadline_by_itself() {
    let lab = Lab::raise(2).unwrap();
    let mut config = lab.config();
    config.balancer.drain = format!("{}s", DRAIN.as_secs());
    let running = lab.start(&config).unwrap();
    let path = lab.write(&config).unwrap();
    let mut kept = kept(&lab);
    let mut downloads = downloads(&lab);
    let is_drained = |download: &Download| download.instance == "gw-1";
    assert!(downloads.iter().any(is_drained) && !downloads.iter().all(is_drained));

    let begun = Instant::now();
    let down = control::gateway(&lab.hosts.balancer, "instance down gw-1", &path).unwrap();
    assert!(down.ok(), "{}", down.stderr);
    let proxy = &running.proxies["gw-1"];
    assert!(
        eventually(PATIENCE, || proxy.log().contains("the balancer drains this instance")),
        "{}",
        proxy.log()
    );
    for (name, streams) in &mut kept {
        // One is left without a request until shortly before the end.
        for stream in streams.iter_mut().skip(1) {
            assert_eq!(is_told_to_close(stream), name == "gw-1", "{name}");
        }
    }
    let status = instance(&lab, &path, "gw-1");
    assert!(status["drain"]["ends"].is_string() && status["override"]["file"] == "up", "{status}");
    assert_eq!((&status["share"], &status["buckets"]), (&0.into(), &0.into()), "{status}");
    // They get on meanwhile.
    for download in &downloads {
        let before = download.process.stdout().len();
        assert!(eventually(PATIENCE, || download.process.stdout().len() > before));
        assert!(begun.elapsed() < DRAIN, "this machine is too slow to show it");
    }

    let mut whole = Vec::new();
    for mut download in downloads.drain(..) {
        if !is_drained(&download) {
            whole.push(download);
            continue;
        }
        let output = download.process.wait(PATIENCE).unwrap();
        let took = begun.elapsed();
        assert!(!output.ok() && output.stdout.len() < CHUNKS * CHUNK, "{}", output.stderr);
        assert!(took + Duration::from_secs(2) >= DRAIN, "cut after {took:?}");
    }
    let cut = begun.elapsed();
    assert!(cut < DRAIN + Duration::from_secs(10), "cut after {cut:?}");
    assert!(proxy.log().contains("the drain is over: cutting "), "{}", proxy.log());
    let idle = kept.get_mut("gw-1").unwrap().remove(0).read(&mut [0]);
    assert_eq!(idle.unwrap(), 0, "it was closed, and not reset");
    let over = "gw-1: the drain is over";
    assert!(eventually(PATIENCE, || running.balancer.log().contains(over)), "{}", running.balancer.log());
    assert!(eventually(PATIENCE, || instance(&lab, &path, "gw-1")["drain"].is_null()));

    // What the other one has goes on.
    for stream in kept.get_mut("gw-2").unwrap() {
        assert!(!is_told_to_close(stream));
    }
    let expected: Vec<u8> = (0..(CHUNKS * CHUNK) as u64).map(service::pattern).collect();
    for mut download in whole {
        let output = download.process.wait(Duration::from_secs(600)).unwrap();
        assert!(output.ok() && output.stdout == expected, "{}: {} bytes", output.stderr, output.stdout.len());
    }
}
