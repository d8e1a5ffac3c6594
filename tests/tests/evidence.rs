//! What instances tell balancers of their living flows (R12, R83).

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use gateway_userspace::{config, model::Affinity, plan::Served};
use lab::{
    address::{CLIENT, PRIVATE, PRIVATE6, Station},
    config::default_host,
    curl::{Answer, Curl},
    host::Host,
    lab::Lab,
    mode::Mode,
    wait::until,
};
use serde::Deserialize;

const VIPS: [IpAddr; 2] = [IpAddr::V4(PRIVATE), IpAddr::V6(PRIVATE6)];
/// To each VIP.
const CONNECTIONS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize)]
struct Report {
    schema_version: u32,
    instance: String,
    flows: u32,
    buckets: Vec<(u32, u32)>,
}

fn ask(lab: &Lab, from: &Host, number: u8, query: &str) -> Answer {
    let dip = Station::instance(number).v4();
    Curl::url(lab, &format!("http://{dip}:8080/flows{query}")).send(from).unwrap()
}

fn report(lab: &Lab, number: u8) -> Report {
    let answer = ask(lab, &lab.hosts.balancer, number, "?affinity=five-tuple");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{answer:?}");
    let report: Report = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((report.schema_version, report.instance.clone()), (1, format!("gw-{number}")));
    assert_eq!(report.flows, report.buckets.iter().map(|(_, count)| count).sum::<u32>());
    report
}

/// Connections of the client that last until they are dropped, and the buckets that are theirs.
fn connect(lab: &Lab, served: &Served) -> (Vec<TcpStream>, BTreeMap<u32, u32>) {
    let (mut streams, mut buckets) = (Vec::new(), BTreeMap::new());
    for vip in VIPS {
        let to = SocketAddr::new(vip, 443);
        for _ in 0..CONNECTIONS {
            let stream = lab.hosts.client.enter(|| TcpStream::connect(to)).unwrap();
            let bucket = served.bucket(to, stream.local_addr().unwrap(), Affinity::FiveTuple);
            *buckets.entry(bucket.unwrap()).or_default() += 1;
            streams.push(stream);
        }
    }
    (streams, buckets)
}

/// That the instances' reports together are the client's connections, no more and no less.
fn every_connection_is_reported_once(mode: Mode) {
    let lab = Lab::raise(2).unwrap();
    let config = lab.config().forwarding(mode);
    let _running = lab.start(&config).unwrap();
    let model = config::load(&lab.write(&config).unwrap()).unwrap();
    let (streams, expected) = connect(&lab, &Served::of(&model, &[]));
    let reported = || {
        let mut all = BTreeMap::new();
        for (bucket, count) in [1, 2].iter().flat_map(|&number| report(&lab, number).buckets) {
            *all.entry(bucket).or_default() += count;
        }
        all
    };
    // What was said a moment ago is said again for a while.
    assert!(until(PATIENCE, || (reported() == expected).then_some(())).is_some(), "{:?}", reported());
    assert!([1, 2].iter().all(|&number| report(&lab, number).flows > 0));
    // The client's end first: nothing waits on the instances then, once they have closed theirs.
    drop(streams);
    assert!(until(PATIENCE, || reported().is_empty().then_some(())).is_some(), "{:?}", reported());
}

#[test]
fn r12_living_flows_are_reported_by_bucket_l2() {
    every_connection_is_reported_once(Mode::L2);
}

#[test]
fn r12_living_flows_are_reported_by_bucket_nat() {
    every_connection_is_reported_once(Mode::Nat);
}

#[test]
fn r12_living_flows_are_reported_by_bucket_ipip() {
    every_connection_is_reported_once(Mode::Ipip6);
}

#[test]
fn r12_living_flows_are_reported_by_bucket_gue() {
    every_connection_is_reported_once(Mode::Gue4);
}

#[test]
fn flows_are_told_to_balancers_alone() {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config();
    let mut proxy = lab.proxy(&lab.write(&config).unwrap(), "gw-1").unwrap();
    let status = |from, query| ask(&lab, from, 1, query).status;
    assert_eq!(status(&lab.hosts.balancer, "?affinity=source-address"), 200);
    assert_eq!(status(&lab.hosts.balancer, "?affinity=none"), 400);
    // For all others there is nothing.
    let unknown = Curl::url(&lab, &format!("http://{}:8080/unknown", Station::instance(1).v4()));
    let unknown = unknown.send(&lab.hosts.client).unwrap();
    let refused = ask(&lab, &lab.hosts.client, 1, "?affinity=five-tuple");
    assert_eq!((refused.status, &refused.head, refused.body.len()), (404, &unknown.head, 0));
    // Where no balancer is named, whoever is in the subnet may ask.
    config.balancer.address.clear();
    lab.write(&config).unwrap();
    proxy.reload().unwrap();
    assert_eq!(status(&lab.hosts.client, "?affinity=five-tuple"), 200, "{}", CLIENT.v4());
    assert_eq!(status(&lab.hosts.routed, "?affinity=five-tuple"), 404);
    // On a VIP's port it is a path like any other: the service's.
    let on_vip = Curl::https(&lab, &default_host("gateway"), PRIVATE, "/flows?affinity=five-tuple");
    assert_eq!(on_vip.send(lab.instance("gw-1").unwrap()).unwrap().seen().unwrap().service, "gateway");
}
