//! R2, R14: the private VIP is for the networks of the file.

use std::net::IpAddr;

use lab::{
    address::{CLIENT, Net, OUTSIDE, PRIVATE, PRIVATE6, PUBLIC, PUBLIC6, ROUTED, Station},
    config::default_host,
    curl::Curl,
    frame::flag,
    inject::Injector,
    lab::Lab,
    segments::{Arrivals, Service},
};

const VIPS: [IpAddr; 2] = [IpAddr::V4(PRIVATE), IpAddr::V6(PRIVATE6)];

fn address(station: Station, vip: IpAddr) -> IpAddr {
    let [v4, v6] = station.addresses();
    if vip.is_ipv4() { v4 } else { v6 }
}

#[test]
fn r14_a_source_outside_the_networks_reaches_nothing() {
    let lab = Lab::raise(2).unwrap();
    let mut balancer = lab.balance(&lab.write(&lab.config()).unwrap()).unwrap();
    let outside = Injector::new(&lab.hosts.outside, OUTSIDE).unwrap();
    // On the link, but with an address of elsewhere.
    let spoofing = Injector::new(&lab.hosts.client, CLIENT).unwrap();
    let routed = Injector::new(&lab.hosts.routed, ROUTED).unwrap();
    let arrivals = Arrivals::listen(&lab).unwrap();
    for vip in VIPS {
        for port in [80, 443, 3443] {
            let service = Service { vip, port };
            for (injector, station) in [(&outside, OUTSIDE), (&spoofing, Station::new(Net::Outside, 9))] {
                for flags in [flag::SYN, flag::ACK, flag::RST] {
                    let segment = |from| service.segment(injector, (address(station, vip), from), flags, b"");
                    injector.send((4000..4010).map(segment)).unwrap();
                }
            }
            assert_eq!(arrivals.until_now(service).unwrap().packets, 0, "{vip}:{port}\n{}", balancer.log());
            // The same from inside passes, so silence above is not for want of a working path.
            let segment = service.segment(&routed, (address(ROUTED, vip), 4000), flag::SYN, b"");
            routed.send([segment]).unwrap();
            arrivals.expect(service, 1).unwrap();
        }
    }
    // Two VIPs, three ports, two senders, three kinds of segment, ten of each.
    let counters = lab.counters(&mut balancer).unwrap();
    assert_eq!(counters.dropped("source"), 2 * 3 * 2 * 3 * 10, "{:?}", counters.drops);
    assert_eq!(counters.forwarded(), 6, "{:?}", counters.instances);
}

#[test]
fn r14_a_real_client_outside_gets_no_answer() {
    let lab = Lab::raise(1).unwrap();
    let _running = lab.start(&lab.config()).unwrap();
    for vip in VIPS {
        let curl = Curl::https(&lab, &default_host("gateway"), vip, "/");
        let inside = curl.send(&lab.hosts.routed).unwrap();
        assert_eq!(inside.status, 200, "{inside:?}");
        let outside = curl.with(["--connect-timeout", "1"]).send(&lab.hosts.outside).unwrap();
        assert_eq!((outside.status, outside.exit), (0, 28), "{outside:?}");
    }
}

#[test]
fn r13_the_private_vip_answers_ping_and_the_public_one_does_not() {
    let lab = Lab::raise(1).unwrap();
    let mut balancer = lab.balance(&lab.write(&lab.config()).unwrap()).unwrap();
    // ping compares the data that comes back, and its kernel has checked the sums.
    for vip in VIPS {
        for host in [&lab.hosts.client, &lab.hosts.routed] {
            let ping = host.run(&format!("ping -n -c 3 -i 0.01 -W 5 -s 1400 {vip}")).unwrap();
            assert!(ping.ok() && !ping.text().contains("wrong"), "{vip}: {}", ping.text());
        }
    }
    for vip in [IpAddr::from(PUBLIC), PUBLIC6.into()] {
        let ping = lab.hosts.outside.run(&format!("ping -n -c 1 -W 1 {vip}")).unwrap();
        assert!(!ping.ok() && ping.text().contains(" 0 received"), "{vip}: {}", ping.text());
    }
    let counters = lab.counters(&mut balancer).unwrap();
    assert_eq!((counters.answers.echo, counters.dropped("icmp-echo")), (12, 2), "{:?}", counters.drops);
}
