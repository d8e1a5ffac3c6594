//! R81, R82, R83: instances are probed, and what follows for new flows and for established ones.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod answers;
mod flows;
mod shares;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use lab::{
    address::PRIVATE,
    config::{Config, default_host},
    gateway::Gateway,
    lab::Lab,
    probed::{Answer, Answerer},
    wait::eventually,
};

/// For what takes a second when nobody else uses the machine.
const SOON: Duration = Duration::from_secs(30);
/// Where the tests' own answer, beside the proxies.
const PORT: u16 = 8081;

/// Instances with a proxy each, and beside each proxy what answers the balancer's probes in its place.
struct Probed {
    // In this order, in which they are dropped: a process whose host is gone is killed and cannot clean up.
    balancer: Gateway,
    _proxies: Vec<Gateway>,
    answerers: BTreeMap<String, Answerer>,
    config: Config,
    lab: Lab,
}

impl Probed {
    fn up(instances: u8, change: impl FnOnce(&mut Config)) -> Self {
        let lab = Lab::raise(instances).unwrap();
        // The proxies have a probe port too, and must not take the other one.
        let path = lab.write(&lab.config()).unwrap();
        let names: Vec<_> = lab.hosts.instances.iter().map(|host| host.name().to_owned()).collect();
        let proxies = names.iter().map(|name| lab.proxy(&path, name).unwrap()).collect();
        let mut config = quick(lab.config());
        config.probe.port = Some(PORT);
        change(&mut config);
        let answerer = |name: &String| {
            let host = lab.instance(name).unwrap();
            (name.clone(), Answerer::start(host, PORT, Answer::Status(200)).unwrap())
        };
        let answerers = names.iter().map(answerer).collect();
        let balancer = lab.balance(&lab.write(&config).unwrap()).unwrap();
        let probed = Self { balancer, _proxies: proxies, answerers, config, lab };
        for name in names {
            says(&probed.balancer, &format!("{name} is up"));
        }
        probed
    }

    fn answer(&self, instance: &str, how: Answer) {
        self.answerers[instance].set(how);
    }

    /// The instances that new flows reach.
    fn taking(&self) -> BTreeSet<String> {
        taking(&self.lab)
    }
}

/// Probes in quick succession. One that fails only because the machine is busy must not matter: it takes four in a row.
fn quick(config: Config) -> Config {
    let mut config = config.probed();
    config.probe.interval = Some("200ms".to_owned());
    config.probe.timeout = Some("200ms".to_owned());
    config.probe.fall = Some(4);
    config
}

/// The instances that new flows reach.
fn taking(lab: &Lab) -> BTreeSet<String> {
    let (client, name) = (&lab.hosts.client, default_host("gateway"));
    lab::flows::spread(lab, client, &name, PRIVATE.into(), 443, 60).unwrap().into_keys().collect()
}

fn named(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Waits until the balancer has said so.
#[track_caller]
fn says(balancer: &Gateway, text: &str) {
    says_again(balancer, text, 1);
}

/// Waits until it has said so that often.
#[track_caller]
fn says_again(balancer: &Gateway, text: &str, times: usize) {
    let said = || balancer.log().matches(text).count();
    assert!(eventually(SOON, || said() >= times), "{} of {times}: {text}\n{}", said(), balancer.log());
}
