//! R11: new flows go to the instances in proportion to their weights, and a flow stays where it began.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::net::IpAddr;

use lab::{
    address::{CLIENT, OUTSIDE, PRIVATE, PRIVATE6, PUBLIC},
    config::default_host,
    flows,
    frame::flag,
    inject::Injector,
    lab::Lab,
    segments::{Arrivals, Service},
};

/// 10,000 flows of four packets from one client; the shares, in percent of all flows, must be within 5 points of `weights`.
fn shares(vip: IpAddr, weights: [u32; 3]) {
    let lab = Lab::raise(3).unwrap();
    let mut config = lab.config();
    for (instance, weight) in config.instance.iter_mut().zip(weights) {
        instance.weight = weight;
    }
    // No proxies: the instances' stacks do not have the VIP and stay silent.
    let balancer = lab.balance(&lab.write(&config).unwrap()).unwrap();
    let injector = Injector::new(&lab.hosts.client, CLIENT).unwrap();
    let arrivals = Arrivals::listen(&lab).unwrap();
    let service = Service { vip, port: 443 };
    let [v4, v6] = CLIENT.addresses();
    let source = if vip.is_ipv4() { v4 } else { v6 };
    for flags in [flag::SYN, flag::ACK, flag::ACK | flag::PSH, flag::ACK | flag::FIN] {
        let segment = |port| service.segment(&injector, (source, port), flags, b"");
        injector.send((10_000..20_000).map(segment)).unwrap();
    }
    let got = arrivals.expect(service, 40_000).unwrap_or_else(|error| panic!("{error}\n{}", balancer.log()));
    let owners = got.owners().unwrap();
    assert_eq!(got.instances.len(), 10_000);
    let sum = weights.iter().sum::<u32>();
    for (n, weight) in (1..).zip(weights) {
        let share = owners.get(&format!("gw-{n}")).copied().unwrap_or(0) as f64 / 100.0;
        let wanted = f64::from(weight) * 100.0 / f64::from(sum);
        assert!((share - wanted).abs() <= 5.0, "gw-{n} has {share} %, its weight is {wanted} %: {owners:?}");
    }
}

#[test]
fn r11_equal_weights_give_equal_shares() {
    shares(PRIVATE.into(), [100, 100, 100]);
}

#[test]
fn r11_uneven_weights_give_uneven_shares() {
    shares(PRIVATE.into(), [100, 300, 50]);
}

#[test]
fn r11_ipv6_is_spread_alike() {
    shares(PRIVATE6.into(), [200, 100, 100]);
}

#[test]
fn r11_real_connections_reach_every_instance_and_the_client_sees_one_service() {
    let lab = Lab::raise(3).unwrap();
    let _running = lab.start(&lab.config()).unwrap();
    let name = default_host("gateway");
    for vip in [PRIVATE.into(), PRIVATE6.into()] {
        let spread = flows::spread(&lab, &lab.hosts.client, &name, vip, 443, 300).unwrap();
        // Of 300 flows a third is 100 ± 24 in 99.7 of 100 draws; Maglev's hash is one fixed draw.
        assert!(
            spread.len() == 3 && spread.values().all(|flows| (60..=140).contains(flows)),
            "{vip}: {spread:?}"
        );
    }
}

#[test]
fn r20e_flows_to_the_public_vip_are_spread_too() {
    let lab = Lab::raise(3).unwrap();
    let _running = lab.start(&lab.config()).unwrap();
    let spread =
        flows::spread(&lab, &lab.hosts.outside, &default_host("management"), PUBLIC.into(), 3443, 300)
            .unwrap();
    assert!(spread.len() == 3 && spread.values().all(|flows| (60..=140).contains(flows)), "{spread:?}");
    assert!(
        lab.services.seen().iter().all(|seen| seen.header("x-forwarded-for") == [OUTSIDE.v4().to_string()])
    );
}
