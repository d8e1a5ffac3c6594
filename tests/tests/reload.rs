//! R12: established flows survive changes of the instances.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use lab::{
    address::{CLIENT, PRIVATE, PRIVATE6},
    config::{Config, default_host},
    curl::Curl,
    flows,
    frame::flag,
    gateway::{Gateway, gateway},
    inject::Injector,
    lab::Lab,
    process::Process,
    segments::{Arrivals, Got, Service},
    service, wait,
};

/// Flows of the packet tests.
const FLOWS: usize = 3_000;
/// Of one download: about three seconds at a chunk of 64 KiB each 20 ms.
const SIZE: usize = 150 * 64 * 1024;

/// Nothing here takes as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A balancer whose instances are only wires, and bare flows through it.
struct Packets {
    // In this order, in which they are dropped: a balancer whose host is gone is killed and cannot clean up.
    balancer: Gateway,
    lab: Lab,
    injector: Injector,
    arrivals: Arrivals,
    service: Service,
    source: IpAddr,
}

impl Packets {
    fn up(instances: u8, vip: IpAddr, config: impl FnOnce(&mut Config)) -> Self {
        let lab = Lab::raise(instances).unwrap();
        let mut file = lab.config();
        config(&mut file);
        let balancer = lab.balance(&lab.write(&file).unwrap()).unwrap();
        let injector = Injector::new(&lab.hosts.client, CLIENT).unwrap();
        let arrivals = Arrivals::listen(&lab).unwrap();
        let [v4, v6] = CLIENT.addresses();
        let source = if vip.is_ipv4() { v4 } else { v6 };
        Self { balancer, lab, injector, arrivals, service: Service { vip, port: 443 }, source }
    }

    /// One packet of each flow; flows are told apart by their ports, from `first`.
    fn send(&self, first: u16, flags: u8) -> Got {
        let segment = |port| self.service.segment(&self.injector, (self.source, port), flags, b"");
        self.injector.send((first..).take(FLOWS).map(segment)).unwrap();
        self.arrivals
            .expect(self.service, FLOWS)
            .unwrap_or_else(|error| panic!("{error}\n{}", self.balancer.log()))
    }

    fn change(&mut self, config: &Config) {
        self.lab.write(config).unwrap();
        self.balancer.reload().unwrap();
    }

    /// Waits until an instance that was added has buckets: its MAC address has to be resolved first.
    #[track_caller]
    fn joins(&self, name: &str) {
        let buckets = || {
            let mut status = gateway("status").unwrap();
            status.arg("--json").arg("--config").arg(self.lab.folder().join("gateway.toml"));
            let output = self.lab.hosts.balancer.run_command(status).unwrap();
            let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
            let mut instances = status["instances"].as_array()?.iter();
            instances.find(|one| one["name"] == name)?["buckets"].as_u64()
        };
        let joined = wait::eventually(Duration::from_secs(10), || buckets().is_some_and(|n| n > 0));
        assert!(joined, "{}", self.balancer.log());
    }
}

fn adding(vip: IpAddr) {
    let mut packets = Packets::up(4, vip, |file| file.instance.truncate(3));
    let before = packets.send(10_000, flag::SYN);
    assert_eq!(packets.send(10_000, flag::ACK).instances, before.instances);
    packets.change(&packets.lab.config());
    packets.joins("gw-4");
    // Flows of before: each at its instance, though about a quarter of the buckets has a new owner now.
    assert_eq!(packets.send(10_000, flag::ACK | flag::PSH).instances, before.instances);
    // New ones: on all four, and each where it began.
    let new = packets.send(20_000, flag::SYN);
    let owners = new.owners().unwrap();
    assert!(
        owners.len() == 4 && owners.values().all(|flows| flows.abs_diff(FLOWS / 4) < FLOWS / 20),
        "{owners:?}"
    );
    assert_eq!(packets.send(20_000, flag::ACK).instances, new.instances);
    assert_eq!(packets.send(10_000, flag::ACK | flag::FIN).instances, before.instances);
}

#[test]
fn r12_adding_an_instance_moves_no_flow() {
    adding(PRIVATE.into());
}

#[test]
fn r12_adding_an_instance_moves_no_ipv6_flow() {
    adding(PRIVATE6.into());
}

#[test]
fn r12_removing_an_instance_moves_no_flow_of_its_own_or_of_others() {
    let mut packets = Packets::up(3, PRIVATE.into(), |_| ());
    let before = packets.send(10_000, flag::SYN);
    let mut config = packets.lab.config();
    config.instance.remove(1);
    packets.change(&config);
    assert_eq!(packets.send(10_000, flag::ACK).instances, before.instances);
    let new = packets.send(20_000, flag::SYN);
    assert_eq!(new.owners().unwrap().keys().collect::<Vec<_>>(), ["gw-1", "gw-3"]);
    assert_eq!(packets.send(20_000, flag::ACK).instances, new.instances);
}

#[test]
fn r12_renaming_an_instance_moves_no_flow() {
    let mut packets = Packets::up(3, PRIVATE.into(), |_| ());
    let before = packets.send(10_000, flag::SYN);
    let mut config = packets.lab.config();
    config.instance[1].name = "renamed".to_owned();
    packets.change(&config);
    assert_eq!(packets.send(10_000, flag::ACK).instances, before.instances);
}

#[test]
fn r12_draining_and_weighting_move_no_flow_and_several_changes_add_up() {
    let mut packets = Packets::up(4, PRIVATE.into(), |_| ());
    let first = packets.send(10_000, flag::SYN);
    let mut config = packets.lab.config();
    config.instance[0].admin_state = "down".to_owned();
    packets.change(&config);
    let second = packets.send(20_000, flag::SYN);
    // A note is a claim until its flow proves it.
    assert_eq!(packets.send(20_000, flag::ACK).instances, second.instances);
    assert_eq!(second.owners().unwrap().keys().collect::<Vec<_>>(), ["gw-2", "gw-3", "gw-4"]);
    config.instance[0].admin_state = "up".to_owned();
    config.instance[1].weight = 10;
    packets.change(&config);
    let third = packets.send(30_000, flag::SYN);
    assert_eq!(third.owners().unwrap().len(), 4);
    for (port, flows) in [(10_000, first), (20_000, second), (30_000, third)] {
        assert_eq!(packets.send(port, flag::ACK).instances, flows.instances, "flows from port {port}");
    }
}

/// Many downloads through the VIP at once, each on a connection of its own.
fn downloads(lab: &Lab, count: usize) -> Vec<Process> {
    let path = format!("/bytes/{SIZE}?pause=20");
    let curl = Curl::https(lab, &default_host("gateway"), PRIVATE, &path);
    (0..count).map(|_| lab.hosts.client.spawn(curl.command()).unwrap()).collect()
}

fn are_whole(downloads: Vec<Process>) {
    let expected = (0..SIZE as u64).map(service::pattern).collect::<Vec<_>>();
    for mut download in downloads {
        let output = download.wait(Duration::from_secs(60)).unwrap();
        assert!(output.ok(), "{output:?}");
        assert!(output.stdout == expected, "{} of {SIZE} bytes, not those sent", output.stdout.len());
    }
}

/// Waits until every download has begun and none has ended.
fn are_running(downloads: &mut [Process]) {
    for download in downloads.iter_mut() {
        assert!(wait::eventually(Duration::from_secs(10), || download.stdout().len() > 64 * 1024));
    }
    for download in downloads {
        assert!(
            download.ended().unwrap().is_none(),
            "a download ended before the change: {}",
            download.stderr()
        );
    }
}

#[test]
fn r12_downloads_go_on_while_instances_come_and_go() {
    let lab = Lab::raise(4).unwrap();
    let all = lab.config();
    let mut three = all.clone();
    three.instance.truncate(3);
    let mut running = lab.start(&three).unwrap();
    let mut during = downloads(&lab, 12);
    are_running(&mut during);
    // Adding one: its proxy first, then the balancer.
    let path = lab.write(&all).unwrap();
    let added = lab.proxy(&path, "gw-4").unwrap();
    running.balancer.reload().unwrap();
    let vip = PRIVATE.into();
    let spread = flows::spread(&lab, &lab.hosts.client, &default_host("gateway"), vip, 443, 100).unwrap();
    assert_eq!(spread.len(), 4, "{spread:?}");
    // Draining one, removing another.
    let mut changed = all.clone();
    changed.instance[1].admin_state = "down".to_owned();
    changed.instance.remove(0);
    lab.write(&changed).unwrap();
    running.balancer.reload().unwrap();
    let spread = flows::spread(&lab, &lab.hosts.client, &default_host("gateway"), vip, 443, 100).unwrap();
    assert_eq!(spread.keys().collect::<Vec<_>>(), ["gw-3", "gw-4"], "{spread:?}");
    are_whole(during);
    drop(added);
}

/// No signal: the files are looked after.
#[test]
fn r45_a_renewed_certificate_is_taken_up_while_downloads_go_on() {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config();
    let hosts = [default_host("gateway"), "new.contoso.com".to_owned()];
    let endpoint = config.endpoint_mut("gateway");
    endpoint.hosts = vec![hosts[1].clone()];
    endpoint.certificate = lab.authority.leaf("renewed", &hosts[..1]).unwrap().into();
    let running = lab.start(&config).unwrap();
    let mut during = downloads(&lab, 4);
    are_running(&mut during);
    let is_served = || {
        let answer = Curl::https(&lab, "new.contoso.com", PRIVATE, "/").send(&lab.hosts.client);
        answer.is_ok_and(|answer| answer.status == 200)
    };
    assert!(!is_served(), "the certificate does not cover the name yet");
    lab.authority.leaf("renewed", &hosts).unwrap();
    assert!(wait::eventually(PATIENCE, is_served), "{}", running.proxies["gw-1"].log());
    // What cannot be used changes nothing.
    let chain = config.endpoint_mut("gateway").certificate.chain.clone();
    std::fs::write(&chain, "half a certif").unwrap();
    let is_noticed = || running.proxies["gw-1"].log().contains("the certificate in use stays");
    assert!(wait::eventually(PATIENCE, is_noticed), "{}", running.proxies["gw-1"].log());
    assert!(is_served());
    are_whole(during);
}

#[test]
fn r12_downloads_go_on_while_the_proxies_read_their_file_again() {
    let lab = Lab::raise(2).unwrap();
    let mut config = lab.config();
    let mut running = lab.start(&config).unwrap();
    let mut during = downloads(&lab, 4);
    are_running(&mut during);
    let hosts = [default_host("gateway"), "new.contoso.com".to_owned()];
    let endpoint = config.endpoint_mut("gateway");
    endpoint.hosts = vec![hosts[1].clone()];
    endpoint.certificate = lab.authority.leaf("renewed", &hosts).unwrap().into();
    lab.write(&config).unwrap();
    let reloaded: BTreeMap<_, _> =
        running.proxies.iter_mut().map(|(name, proxy)| (name, proxy.reload())).collect();
    assert!(reloaded.values().all(Result::is_ok), "{reloaded:?}");
    let answer = Curl::https(&lab, "new.contoso.com", PRIVATE, "/").send(&lab.hosts.client).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    are_whole(during);
}
