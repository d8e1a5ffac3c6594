//! R20: the public VIP has one door, the management endpoint on TCP 3443.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use lab::{
    address::{OUTSIDE, PUBLIC, PUBLIC6},
    config::default_host,
    curl::Curl,
    knock,
    lab::{Lab, ROLES},
    scan,
    tls::{UNRECOGNIZED_NAME, client_hello, exchange},
};

const VIPS: [IpAddr; 2] = [IpAddr::V4(PUBLIC), IpAddr::V6(PUBLIC6)];

fn every_port(vip: IpAddr) {
    let lab = Lab::raise(2).unwrap();
    let mut running = lab.start(&lab.config().probed()).unwrap();
    let scan = scan::ports(&lab.hosts.outside, OUTSIDE, vip, 3443).unwrap();
    assert_eq!(scan.open, BTreeSet::from([3443]));
    assert_eq!(scan.refused, BTreeSet::new(), "a closed port is silent");
    let counters = lab.counters(&mut running.balancer).unwrap();
    assert_eq!(counters.dropped("no-service"), 65_534, "{:?}", counters.drops);
}

#[test]
fn r20a_of_all_65535_tcp_ports_only_3443_answers() {
    every_port(PUBLIC.into());
}

#[test]
fn r20a_of_all_65535_tcp_ports_only_3443_answers_over_ipv6() {
    every_port(PUBLIC6.into());
}

#[test]
fn r20b_other_protocols_get_no_answer() {
    let lab = Lab::raise(2).unwrap();
    let mut running = lab.start(&lab.config().probed()).unwrap();
    for vip in VIPS {
        assert_eq!(knock::knock(&lab.hosts.outside, OUTSIDE, vip, 3443).unwrap(), []);
    }
    // Of each family: five of UDP, an echo, five of other protocols.
    let counters = lab.counters(&mut running.balancer).unwrap();
    let counted = ["no-service", "icmp-echo", "protocol"].map(|reason| counters.dropped(reason));
    assert_eq!(counted, [10, 2, 10], "{:?}", counters.drops);
}

#[test]
fn r20cd_3443_serves_the_management_name_and_refuses_all_others() {
    let lab = Lab::raise(2).unwrap();
    let _running = lab.start(&lab.config().probed()).unwrap();
    for vip in VIPS {
        let at = SocketAddr::new(vip, 3443);
        let management = default_host("management");
        let answer = Curl::new(&lab, "https", &management, at, "/x").send(&lab.hosts.outside).unwrap();
        assert_eq!(answer.seen().unwrap().service, "management");
        let others = ROLES.iter().map(|role| default_host(role)).filter(|name| *name != management);
        let names = others.map(Some).chain([Some("nobody.example".to_owned()), Some(vip.to_string()), None]);
        for name in names {
            let alert = exchange(&lab.hosts.outside, at, &client_hello(name.as_deref())).unwrap();
            assert_eq!(alert, UNRECOGNIZED_NAME, "{name:?} at {at}");
        }
        // The right name in the handshake, another in the request.
        let curl = Curl::new(&lab, "https", &management, at, "/");
        let answer = curl
            .with(["-H", &format!("Host: {}", default_host("gateway"))])
            .send(&lab.hosts.outside)
            .unwrap();
        assert_eq!(answer.status, 421, "{answer:?}");
    }
}

#[test]
fn r20f_management_sources_close_3443_and_sighup_opens_it() {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config();
    config.balancer.management_sources = vec!["192.0.2.0/24".to_owned()];
    let mut running = lab.start(&config).unwrap();
    let management =
        |vip| Curl::new(&lab, "https", &default_host("management"), SocketAddr::new(vip, 3443), "/");
    for vip in VIPS {
        let shut = management(vip).with(["--connect-timeout", "1"]).send(&lab.hosts.outside).unwrap();
        assert_eq!((shut.status, shut.exit), (0, 28), "{shut:?}");
    }
    let outside = [format!("{}/32", OUTSIDE.v4()), format!("{}/128", OUTSIDE.v6())];
    config.balancer.management_sources.extend(outside);
    lab.write(&config).unwrap();
    running.balancer.reload().unwrap();
    for vip in VIPS {
        let open = management(vip).send(&lab.hosts.outside).unwrap();
        assert_eq!(open.status, 200, "{open:?}");
    }
}
