//! The lab itself: what the other tests take for granted.

use std::{
    collections::BTreeSet,
    net::{IpAddr, TcpListener},
    time::Duration,
};

use lab::{
    address::{BALANCER, CLIENT, OUTSIDE, PUBLIC},
    curl::Curl,
    frame::{self, Packet, Tcp, protocol},
    knock,
    lab::Lab,
    scan,
    service::{self, Sunk},
    wire::Wire,
};

#[test]
fn services_answer_every_client_in_both_families() {
    let lab = Lab::raise(1).unwrap();
    for host in [&lab.hosts.client, &lab.hosts.routed, &lab.hosts.instances[0], &lab.hosts.balancer] {
        for name in service::NAMES {
            for at in service::addresses(name).unwrap() {
                let answer = Curl::url(&lab, &format!("http://{at}/x?y=z")).send(host).unwrap();
                assert_eq!(answer.status, 200, "{} {name}: {answer:?}", host.name());
                let seen = answer.seen().unwrap();
                assert_eq!((seen.service.as_str(), seen.path.as_str()), (name, "/x?y=z"));
                assert_eq!(seen.peer.is_ipv4(), at.is_ipv4());
            }
        }
    }
}

#[test]
fn bodies_are_told_apart_by_a_byte() {
    let lab = Lab::raise(1).unwrap();
    let at = service::addresses("gateway").unwrap()[0];
    let answer = Curl::url(&lab, &format!("http://{at}/bytes/300000")).send(&lab.hosts.client).unwrap();
    let expected = (0..300_000).map(service::pattern).collect::<Vec<_>>();
    assert!(answer.body == expected);
    let file = lab.folder().join("body");
    std::fs::write(&file, &expected).unwrap();
    let upload = Curl::url(&lab, &format!("http://{at}/sink"))
        .with(["--data-binary", &format!("@{}", file.display())]);
    let sunk: Sunk = serde_json::from_slice(&upload.send(&lab.hosts.client).unwrap().body).unwrap();
    assert_eq!(sunk, Sunk { bytes: 300_000, fingerprint: service::fingerprint(&expected) });
    assert_ne!(service::fingerprint(&expected[1..]), sunk.fingerprint);
}

#[test]
fn frames_go_where_they_are_addressed() {
    let lab = Lab::raise(1).unwrap();
    let (from, to): (IpAddr, IpAddr) = (CLIENT.v4().into(), BALANCER.v4().into());
    let client = Wire::open(&lab.hosts.client, "eth0").unwrap();
    let segment = Tcp::syn(4000, 9).segment(from, to, b"");
    client.send(&frame::packet(BALANCER.mac(), CLIENT.mac(), from, to, protocol::TCP, &segment)).unwrap();
    let refusal = |bytes: &[u8]| Packet::parse(bytes).filter(|packet| packet.ports == Some((9, 4000)));
    let refused = client.receive(Duration::from_secs(5), refusal).unwrap().expect("an answer");
    assert_eq!(refused.flags, frame::flag::RST | frame::flag::ACK);
}

#[test]
fn a_lab_comes_up_in_seconds_and_two_do_not_meet() {
    let labs = [Lab::raise(3).unwrap(), Lab::raise(3).unwrap()];
    let at = service::addresses("gateway").unwrap()[0];
    for lab in &labs {
        let answer = Curl::url(lab, &format!("http://{at}/")).send(&lab.hosts.client).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    // Same addresses, but each service saw its own lab's client only.
    for lab in &labs {
        assert_eq!(lab.services.seen().len(), 1);
        assert_eq!(lab.hosts.all().count(), 10);
    }
}

#[test]
fn a_scan_and_knocks_hear_every_answer() {
    let lab = Lab::raise(1).unwrap();
    // No gateway: the balancer's own stack holds the address, has one open port and refuses everything else.
    lab.hosts.balancer.ip([format!("address add {PUBLIC}/32 dev eth0")]).unwrap();
    let _listener = lab.hosts.balancer.enter(|| TcpListener::bind((PUBLIC, 3443))).unwrap();
    let scan = scan::ports(&lab.hosts.outside, OUTSIDE, PUBLIC.into(), 3443).unwrap();
    assert_eq!(scan.open, BTreeSet::from([3443]));
    assert_eq!(scan.refused.len(), 65_534);
    let answers = knock::knock(&lab.hosts.outside, OUTSIDE, PUBLIC.into(), 3443).unwrap();
    assert!(answers.iter().any(|packet| packet.protocol == protocol::ICMP), "{answers:?}");
}
