//! Instances that are not on the balancer's link: their packets leave inside others, by the host's routes.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{net::IpAddr, time::Duration};

use lab::{
    address::{BALANCER, CLIENT, Net, PRIVATE, PRIVATE6, ROUTER, Station},
    config::Config,
    frame::{self, Packet, Tcp, protocol},
    lab::Lab,
    wait::eventually,
    wire::Wire,
};

/// IPv4 in another packet, in the registry of the IANA.
const IPIP: u8 = 4;
/// IPv6 likewise.
const IPV6: u8 = 41;
/// Routes are read every 5 s, and the machine is shared.
const SOON: Duration = Duration::from_secs(20);

/// The host of the services, which the lab has behind its router.
const INSTANCE: Station = Station::new(Net::Services, 10);

/// Its only instance is behind the router.
fn config(lab: &Lab) -> Config {
    let mut config = lab.config();
    config.balancer.forwarding = "ipip".to_owned();
    config.network.subnet.extend(["10.0.1.0/24".to_owned(), "fd00:0:0:2::/64".to_owned()]);
    config.instance[0].dip = INSTANCE.addresses().to_vec();
    config
}

/// Sends a SYN for `vip` from the client on the link.
fn knock(wire: &Wire, vip: IpAddr) {
    let from = CLIENT.addresses()[usize::from(vip.is_ipv6())];
    let segment = Tcp::syn(40_000, 443).segment(from, vip, b"");
    wire.send(&frame::packet(BALANCER.mac(), CLIENT.mac(), from, vip, protocol::TCP, &segment)).unwrap();
}

/// The outer headers of packets for the instance that have arrived, whoever's they are on the link: the switch shows everybody what is
/// for a host that it does not know yet.
fn outer(wire: &Wire) -> Vec<Packet> {
    let for_instance =
        |frame: &[u8]| Packet::parse(frame).filter(|packet| INSTANCE.addresses().contains(&packet.to));
    wire.arrived(for_instance).unwrap()
}

/// Whether a packet for the instance has arrived that is the client's to pass on.
fn is_passed_to(client: &Wire) -> bool {
    let by_client = |frame: &[u8]| {
        let is_its = frame.starts_with(&CLIENT.mac());
        Packet::parse(frame).filter(|packet| is_its && INSTANCE.addresses().contains(&packet.to))
    };
    !client.arrived(by_client).unwrap().is_empty()
}

#[test]
fn packets_for_an_instance_behind_a_router_get_there_inside_others() {
    let lab = Lab::raise(1).unwrap();
    let running = lab.balance(&lab.write(&config(&lab)).unwrap()).unwrap();
    let (client, instance) =
        (Wire::open(&lab.hosts.client, "eth0").unwrap(), Wire::open(&lab.hosts.services, "eth0").unwrap());
    for (vip, protocol) in [(IpAddr::from(PRIVATE), IPIP), (PRIVATE6.into(), IPV6)] {
        knock(&client, vip);
        let (from, to) = (BALANCER.v4().into(), INSTANCE.v4().into());
        let expected = Packet { from, to, protocol, ports: None, flags: 0 };
        let mut seen = Vec::new();
        let came = eventually(Duration::from_secs(5), || {
            seen.extend(outer(&instance));
            seen.contains(&expected)
        });
        assert!(came, "{vip}: {seen:?}\n{}", running.log());
    }
}

#[test]
fn a_route_that_changes_is_followed() {
    let lab = Lab::raise(1).unwrap();
    let running = lab.balance(&lab.write(&config(&lab)).unwrap()).unwrap();
    let client = Wire::open(&lab.hosts.client, "eth0").unwrap();
    // The client's host is the router now: that the packets come back to it shows by whom they go.
    lab.hosts.balancer.ip([format!("route add {}/32 via {}", INSTANCE.v4(), CLIENT.v4())]).unwrap();
    let came = eventually(SOON, || {
        knock(&client, PRIVATE.into());
        is_passed_to(&client)
    });
    assert!(came, "{}", running.log());
    // Without any route it stays as it was. The one that counts goes last: routes may be read between two of these, and then the
    // default one would be followed.
    let [v4, v6] = ROUTER.addresses();
    lab.hosts
        .balancer
        .ip([
            format!("route delete default via {v4}"),
            format!("route delete default via {v6}"),
            format!("route delete {}/32", INSTANCE.v4()),
        ])
        .unwrap();
    let warned = || running.log().contains("packets go the way they went");
    assert!(eventually(SOON, warned), "{}", running.log());
    assert!(running.log().contains("gw-1 cannot be reached through eth0: there is no route to 10.0.1.10"));
    is_passed_to(&client);
    let comes = eventually(SOON, || {
        knock(&client, PRIVATE.into());
        is_passed_to(&client)
    });
    assert!(comes, "{}", running.log());
}
