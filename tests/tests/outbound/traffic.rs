//! R30 to R32: as whom the others see an instance.

use std::{
    net::{IpAddr, SocketAddr},
    process::Command,
};

use lab::{
    address::{OUTSIDE, PUBLIC, PUBLIC6, Station},
    curl::Curl,
    host::Host,
    lab::Lab,
    mirror::Mirror,
    mode::Mode,
    service::{Seen, addresses},
    wait::eventually,
};

use crate::support::{PATIENCE, has_ports};

/// Of the mirror.
const PORT: u16 = 9000;

pub(crate) fn mirror(lab: &Lab) -> Mirror {
    let at = |port| OUTSIDE.addresses().map(|address| SocketAddr::new(address, port));
    Mirror::start(&lab.hosts.outside, &[at(PORT), at(53)].concat()).unwrap()
}

/// As whom the outside sees a TCP client there.
fn seen(lab: &Lab, from: &Host, outside: IpAddr) -> String {
    let answer = Curl::url(lab, &format!("http://{}/", SocketAddr::new(outside, PORT))).send(from).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text().parse::<SocketAddr>().unwrap().ip().to_string()
}

fn dig(from: &Host, outside: IpAddr) -> String {
    let mut dig = Command::new("dig");
    dig.args(["+short", "+tries=2", &format!("@{outside}"), "whoami.test"]);
    dig.arg(if outside.is_ipv4() { "A" } else { "AAAA" });
    from.run_command(dig).unwrap().text().trim().to_owned()
}

fn leaves_by_the_public_vip(mode: Mode) {
    let lab = Lab::raise(2).unwrap();
    let config = lab.config().snat(None).forwarding(mode);
    let path = lab.write(&config).unwrap();
    let running = lab.start(&config).unwrap();
    let _mirror = mirror(&lab);
    let vips: [IpAddr; 2] = [PUBLIC.into(), PUBLIC6.into()];
    for (n, host) in (1..).zip(&lab.hosts.instances) {
        for (outside, vip) in OUTSIDE.addresses().into_iter().zip(vips) {
            has_ports(&lab, &path, host.name(), &vip.to_string(), 1024);
            assert_eq!(seen(&lab, host, outside), vip.to_string(), "{}", running.balancer.log());
            assert_eq!(dig(host, outside), vip.to_string());
            host.must(&format!("ping -n -c 1 -W 5 {outside}")).unwrap();
        }
        // R30: the services are inside.
        for (service, dip) in addresses("orders").unwrap().into_iter().zip(Station::instance(n).addresses()) {
            let answer = Curl::url(&lab, &format!("http://{service}/")).send(host).unwrap();
            let seen: Seen = answer.seen().unwrap();
            assert_eq!(seen.peer, dip);
        }
    }
}

#[test]
fn r31_tcp_udp_and_pings_leave_by_the_public_vip_and_those_inside_by_the_dip_with_l2() {
    leaves_by_the_public_vip(Mode::L2);
}

#[test]
fn r31_tcp_udp_and_pings_leave_by_the_public_vip_and_those_inside_by_the_dip_with_ipip() {
    leaves_by_the_public_vip(Mode::Ipip4);
}

#[test]
fn r31_tcp_udp_and_pings_leave_by_the_public_vip_and_those_inside_by_the_dip_with_gue() {
    leaves_by_the_public_vip(Mode::Gue6);
}

#[test]
fn r31_tcp_udp_and_pings_leave_by_the_public_vip_and_those_inside_by_the_dip_with_nat() {
    leaves_by_the_public_vip(Mode::Nat);
}

#[test]
fn r32_another_list_of_networks_is_gone_by_at_once() {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config().snat(None);
    let path = lab.write(&config).unwrap();
    let mut running = lab.start(&config).unwrap();
    let _mirror = mirror(&lab);
    let (host, [outside, _]) = (lab.instance("gw-1").unwrap(), OUTSIDE.addresses());
    has_ports(&lab, &path, "gw-1", &PUBLIC.to_string(), 1024);
    assert_eq!(seen(&lab, host, outside), PUBLIC.to_string());
    // The longest prefix decides nothing else than whether it is in one of them.
    config.network.peered.push(format!("{outside}/32"));
    lab.write(&config).unwrap();
    running.balancer.reload().unwrap();
    running.proxies.get_mut("gw-1").unwrap().reload().unwrap();
    let [dip, _] = Station::instance(1).addresses();
    assert!(eventually(PATIENCE, || seen(&lab, host, outside) == dip.to_string()));
    config.network.peered.pop();
    lab.write(&config).unwrap();
    running.balancer.reload().unwrap();
    running.proxies.get_mut("gw-1").unwrap().reload().unwrap();
    assert!(eventually(PATIENCE, || seen(&lab, host, outside) == PUBLIC.to_string()));
}

#[test]
fn r22_a_narrow_way_outside_is_told_to_the_instance() {
    let lab = Lab::raise(1).unwrap();
    let config = lab.config().snat(None);
    let path = lab.write(&config).unwrap();
    let _running = lab.start(&config).unwrap();
    let _mirror = mirror(&lab);
    lab.hosts.router.ip(["link set outside mtu 1300"]).unwrap();
    let body = lab.folder().join("body");
    std::fs::write(&body, vec![b'x'; 1 << 20]).unwrap();
    for (outside, vip) in OUTSIDE.addresses().into_iter().zip([PUBLIC.to_string(), PUBLIC6.to_string()]) {
        has_ports(&lab, &path, "gw-1", &vip, 1024);
        let curl = Curl::url(&lab, &format!("http://{}/", SocketAddr::new(outside, PORT)));
        let curl =
            curl.with(["--http1.1", "--header", "Expect:", "--data-binary", &format!("@{}", body.display())]);
        let answer = curl.send(lab.instance("gw-1").unwrap()).unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.text().contains(&vip), "{answer:?}");
    }
}

#[test]
fn r31_one_host_that_is_balancer_and_instance_leaves_by_the_public_vip_too() {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config().snat(None);
    config.instance[0].dip = std::mem::take(&mut config.balancer.address);
    let path = lab.write(&config).unwrap();
    let mut command = lab::gateway::gateway("run").unwrap();
    command.arg("--config").arg(&path);
    let gateway = lab::gateway::Gateway::start(&lab.hosts.balancer, command, lab.folder()).unwrap();
    let _mirror = mirror(&lab);
    for (outside, vip) in OUTSIDE.addresses().into_iter().zip([PUBLIC.to_string(), PUBLIC6.to_string()]) {
        has_ports(&lab, &path, "gw-1", &vip, 1024);
        assert_eq!(seen(&lab, &lab.hosts.balancer, outside), vip, "{}", gateway.log());
    }
}
