//! R34: whose ports are whose, through starts, ends, changes of the file and take-overs.

use std::{collections::BTreeSet, process::Command};

use lab::{
    address::{PUBLIC, PUBLIC6},
    config::Instance,
    control,
    gateway::binary,
    lab::Lab,
    mode::Mode,
    wait::eventually,
};

use crate::support::{PATIENCE, has_ports, held, rounds};

const VIP: &str = "203.0.113.5";
const VIP6: &str = "2001:db8::5";

#[test]
fn r34_each_instance_has_its_ports_and_no_block_is_two_instances() {
    assert_eq!((VIP, VIP6), (&*PUBLIC.to_string(), &*PUBLIC6.to_string()));
    let lab = Lab::raise(3).unwrap();
    let config = lab.config().snat(None);
    let path = lab.write(&config).unwrap();
    let _running = lab.start(&config).unwrap();
    let mut all = BTreeSet::new();
    for name in ["gw-1", "gw-2", "gw-3"] {
        for vip in [VIP, VIP6] {
            has_ports(&lab, &path, name, vip, 1024);
        }
        let held = held(&lab, name, VIP);
        assert_eq!(held.len(), 128);
        all.extend(held);
    }
    assert_eq!(all.len(), 3 * 128);
    assert!(all.iter().all(|&block| block >= 128 && block != 3443 / 8));
    let shown = control::gateway(&lab.hosts.balancer, "status", &path).unwrap().text();
    assert!(shown.contains("ALLOCATED") && shown.contains("1,024"), "{shown}");
}

#[test]
fn r34_ports_are_leased_in_every_mode() {
    for mode in [Mode::L2, Mode::Ipip4, Mode::Gue6, Mode::Nat] {
        let lab = Lab::raise(1).unwrap();
        let config = lab.config().snat(Some(64)).forwarding(mode);
        let path = lab.write(&config).unwrap();
        let _running = lab.start(&config).unwrap();
        has_ports(&lab, &path, "gw-1", VIP, 64);
        has_ports(&lab, &path, "gw-1", VIP6, 64);
        let port = held(&lab, "gw-1", VIP).first().unwrap() * 8;
        let mut explain = Command::new(binary().unwrap());
        let line = format!("explain --json --from 198.51.100.7:53 --to {VIP}:{port} --proto udp");
        explain.args(line.split(' '));
        let told = lab.hosts.balancer.run_command(explain).unwrap().text();
        assert!(told.contains(&format!("port {port} is leased to gw-1")), "{mode:?}: {told}");
        assert_eq!(told.contains("with the same port"), mode == Mode::Nat, "{mode:?}: {told}");
    }
}

#[test]
fn r12_leases_are_the_same_for_a_balancer_that_is_killed_or_replaced() {
    let lab = Lab::raise(2).unwrap();
    let config = lab.config().snat(Some(256));
    let path = lab.write(&config).unwrap();
    let running = lab.start(&config).unwrap();
    let names = ["gw-1", "gw-2"];
    names.iter().for_each(|name| has_ports(&lab, &path, name, VIP, 256));
    let before = names.map(|name| held(&lab, name, VIP));
    let mut balancer = running.balancer;
    for round in 0..rounds(3) {
        match round % 3 {
            0 => balancer.kill().unwrap(),
            1 => balancer.leave().unwrap(),
            // Tables and all: what instances hold is all there is.
            _ => balancer.stop().unwrap(),
        };
        balancer = lab.balance(&path).unwrap();
        names.iter().for_each(|name| has_ports(&lab, &path, name, VIP, 256));
        assert_eq!(names.map(|name| held(&lab, name, VIP)), before, "{}", balancer.log());
    }
}

#[test]
fn r34_instances_that_come_and_go_move_no_block_of_others() {
    let lab = Lab::raise(3).unwrap();
    let mut config = lab.config().snat(Some(128));
    config.balancer.drain = "1s".to_owned();
    let (third, path) = (config.instance.pop().unwrap(), lab.write(&config).unwrap());
    let mut running = lab.start(&config).unwrap();
    let names = ["gw-1", "gw-2"];
    names.iter().for_each(|name| has_ports(&lab, &path, name, VIP, 128));
    let before = names.map(|name| held(&lab, name, VIP));

    config.instance.push(third);
    lab.write(&config).unwrap();
    let _third = lab.proxy(&path, "gw-3").unwrap();
    running.balancer.reload().unwrap();
    has_ports(&lab, &path, "gw-3", VIP, 128);
    let its = held(&lab, "gw-3", VIP);
    assert_eq!(names.map(|name| held(&lab, name, VIP)), before);
    assert!(before.iter().all(|blocks| blocks.is_disjoint(&its)));

    // It is asked to part with them, and does, since no flow is there.
    config.instance.pop();
    lab.write(&config).unwrap();
    running.balancer.reload().unwrap();
    assert!(eventually(PATIENCE, || held(&lab, "gw-3", VIP).is_empty()), "{}", running.balancer.log());
    assert_eq!(names.map(|name| held(&lab, name, VIP)), before);

    // They rest: a fourth name gets others.
    let mut fourth = Instance::nth(3);
    "gw-4".clone_into(&mut fourth.name);
    config.instance.push(fourth);
    lab.write(&config).unwrap();
    drop(_third);
    let fourth = {
        let mut command = lab::gateway::gateway("proxy").unwrap();
        command.arg("--config").arg(&path).args(["--instance", "gw-4"]);
        lab::gateway::Gateway::start(lab.instance("gw-3").unwrap(), command, lab.folder()).unwrap()
    };
    running.balancer.reload().unwrap();
    has_ports(&lab, &path, "gw-4", VIP, 128);
    let others = held(&lab, "gw-3", VIP);
    assert!(others.is_disjoint(&its), "{}", fourth.log());
}

#[test]
fn r12_leases_stay_through_a_take_over_of_the_instances_process() {
    for mode in [Mode::L2, Mode::Gue4] {
        let lab = Lab::raise(1).unwrap();
        let config = lab.config().snat(Some(128)).forwarding(mode);
        let path = lab.write(&config).unwrap();
        let mut running = lab.start(&config).unwrap();
        has_ports(&lab, &path, "gw-1", VIP, 128);
        let before = held(&lab, "gw-1", VIP);
        let next = lab.next_proxy(&path, "gw-1").unwrap();
        let mut first = running.proxies.remove("gw-1").unwrap();
        assert!(eventually(PATIENCE, || first.has_ended()), "{}", first.log());
        assert_eq!(held(&lab, "gw-1", VIP), before, "{}", next.log());
        has_ports(&lab, &path, "gw-1", VIP, 128);
    }
}

#[test]
fn r34_an_order_is_taken_from_balancers_only() {
    let lab = Lab::raise(1).unwrap();
    let config = lab.config().snat(Some(64));
    let _running = lab.start(&config).unwrap();
    let order = r#"{"schema_version":1,"vips":{"203.0.113.5":{"leased":[[128,135]]}}}"#;
    let ask = |host: &lab::host::Host| {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--data", order]);
        curl.arg("http://10.0.0.11:8080/snat");
        host.run_command(curl).unwrap().text()
    };
    assert_eq!(ask(&lab.hosts.client), "404");
    assert_eq!(ask(&lab.hosts.routed), "404");
    assert_eq!(ask(&lab.hosts.balancer), "200");
}
