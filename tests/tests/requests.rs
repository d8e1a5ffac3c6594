//! What an upstream gets of a request, and a client of its answer, through balancer and proxy.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::net::IpAddr;

use lab::{
    address::{CLIENT, PRIVATE, PRIVATE6, Station},
    config::default_host,
    curl::Curl,
    lab::{Lab, Running},
    service::{self, Sunk},
};

fn up() -> (Lab, Running) {
    let lab = Lab::raise(1).unwrap();
    let running = lab.start(&lab.config().probed()).unwrap();
    (lab, running)
}

#[test]
fn r30_the_upstream_sees_the_instance_and_in_its_headers_the_client() {
    let (lab, _running) = up();
    let name = default_host("gateway");
    let [dip, _] = Station::instance(1).addresses();
    for (vip, client) in [IpAddr::from(PRIVATE), PRIVATE6.into()].into_iter().zip(CLIENT.addresses()) {
        let lies = [
            "X-Forwarded-For: 6.6.6.6",
            "X-Forwarded-Proto: gopher",
            "X_Forwarded_For: 7.7.7.7",
            "X-Forwarded-Host: evil",
        ];
        let curl = Curl::https(&lab, &name, vip, "/").with(lies.iter().flat_map(|lie| ["-H", lie]));
        let seen = curl.send(&lab.hosts.client).unwrap().seen().unwrap();
        assert_eq!(seen.peer, dip);
        assert_eq!(seen.header("x-forwarded-for"), [client.to_string()]);
        assert_eq!(seen.header("x-forwarded-proto"), ["https"]);
        assert_eq!(seen.header("x-forwarded-host"), [name.as_str()]);
        assert_eq!(seen.header("x_forwarded_for"), [""; 0]);
    }
}

#[test]
fn hop_by_hop_fields_stay_on_their_hop() {
    let (lab, _running) = up();
    let fields =
        ["Connection: close, x-secret", "X-Secret: 1", "Keep-Alive: timeout=9", "TE: deflate", "X-Kept: 2"];
    // HTTP/2 has no Connection that could name a field.
    let curl = Curl::https(&lab, &default_host("gateway"), PRIVATE, "/")
        .with(["--http1.1"])
        .with(fields.iter().flat_map(|field| ["-H", field]));
    let seen = curl.send(&lab.hosts.client).unwrap().seen().unwrap();
    for dropped in ["x-secret", "keep-alive", "te"] {
        assert_eq!(seen.header(dropped), [""; 0], "{dropped}");
    }
    assert_eq!(seen.header("x-kept"), ["2"]);
}

#[test]
fn bodies_stream_both_ways_byte_for_byte() {
    let (lab, _running) = up();
    let name = default_host("gateway");
    let body = (0..5_000_000).map(service::pattern).collect::<Vec<_>>();
    let file = lab.folder().join("body");
    std::fs::write(&file, &body).unwrap();
    let upload = format!("@{}", file.display());
    for chunked in [&[][..], &["-H", "Transfer-Encoding: chunked"]] {
        let curl = Curl::https(&lab, &name, PRIVATE, "/sink")
            .with(["--data-binary", &upload])
            .with(chunked.iter().copied());
        let sunk: Sunk = serde_json::from_slice(&curl.send(&lab.hosts.client).unwrap().body).unwrap();
        assert_eq!(sunk, Sunk { bytes: body.len() as u64, fingerprint: service::fingerprint(&body) });
    }
    let answer = Curl::https(&lab, &name, PRIVATE, "/bytes/5000000").send(&lab.hosts.routed).unwrap();
    assert!(answer.body == body, "{} bytes, exit {}", answer.body.len(), answer.exit);
}

#[test]
fn an_upstream_that_is_not_there_is_a_bad_gateway() {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config();
    config.endpoint_mut("portal").routes[0].upstream = vec!["http://10.0.1.10:9".to_owned()];
    let _running = lab.start(&config).unwrap();
    let answer = Curl::https(&lab, &default_host("portal"), PRIVATE, "/").send(&lab.hosts.client).unwrap();
    assert_eq!((answer.status, answer.body.len()), (502, 0), "{answer:?}");
    let other = Curl::https(&lab, &default_host("gateway"), PRIVATE, "/").send(&lab.hosts.client).unwrap();
    assert_eq!(other.status, 200, "{other:?}");
}
