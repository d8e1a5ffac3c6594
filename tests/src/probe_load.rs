//! What probes cost: the CPU of a balancer with hundreds of instances, all of them addresses of one host.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use nix::unistd::{SysconfVar, sysconf};
use serde::Serialize;

use crate::{
    config::{Config, Instance},
    gateway::Gateway,
    lab::Lab,
    probed::{Answer, Answerer},
    wait::eventually,
};

/// Where the addresses begin: in no other network of the lab.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 0, 128, 1);
const PORT: u16 = 8080;
/// For all instances to be up.
const READY: Duration = Duration::from_secs(60);

/// What was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Load {
    /// Instances.
    pub instances: u16,
    /// tcp, http
    pub kind: String,
    /// From one probe of an instance to the next, in seconds.
    pub interval: f64,
    /// How long was measured, in seconds.
    pub seconds: f64,
    /// Probes that came in that time.
    pub probes: u64,
    /// CPU time of the balancer, in per cent of one core.
    pub cpu_percent: f64,
    /// The same with next to no probes: what watching so many instances costs without them.
    pub idle_percent: f64,
}

/// Measures for so long, twice.
///
/// # Errors
/// The lab cannot be raised, or not all instances come up.
pub fn measure(instances: u16, kind: &str, interval: Duration, period: Duration) -> anyhow::Result<Load> {
    let lab = Lab::raise(1)?;
    let host = &lab.hosts.instances[0];
    let addresses: Vec<_> =
        (0..instances).map(|n| Ipv4Addr::from_bits(FIRST.to_bits() + u32::from(n))).collect();
    host.ip(addresses.iter().map(|address| format!("address add {address}/32 dev eth0")))?;
    lab.hosts.balancer.ip(["route add 10.0.128.0/17 dev eth0"])?;
    let answerer = Answerer::start(host, PORT, Answer::Status(200))?;
    let with = |interval: Duration| config(&lab, &addresses, kind, interval);

    let balancer = lab.balance(&lab.write(&with(interval))?)?;
    let up = || balancer.log().matches(" is up: ").count() >= usize::from(instances);
    ensure!(eventually(READY, up), "not all instances are up:\n{}", balancer.log());
    let before = answerer.asked();
    let (cpu_percent, seconds) = cpu(&balancer, period)?;
    let probes = answerer.asked() - before;
    drop(balancer);

    let balancer = lab.balance(&lab.write(&with(Duration::from_secs(3_600)))?)?;
    let (idle_percent, _) = cpu(&balancer, period)?;
    let (kind, interval) = (kind.to_owned(), interval.as_secs_f64());
    Ok(Load { instances, kind, interval, seconds, probes, cpu_percent, idle_percent })
}

fn config(lab: &Lab, addresses: &[Ipv4Addr], kind: &str, interval: Duration) -> Config {
    let mut config = lab.config();
    config.network.subnet[0] = "10.0.0.0/16".to_owned();
    config.instance = addresses
        .iter()
        .enumerate()
        .map(|(place, address)| Instance {
            name: format!("gw-{}", place + 1),
            dip: vec![IpAddr::V4(*address)],
            weight: 100,
            admin_state: "auto".to_owned(),
        })
        .collect();
    config.probe.kind = Some(kind.to_owned());
    config.probe.port = Some(PORT);
    config.probe.interval = Some(humantime::format_duration(interval).to_string());
    config
}

/// CPU time of a process over a while, in per cent of one core, and how long that was in seconds.
fn cpu(balancer: &Gateway, period: Duration) -> anyhow::Result<(f64, f64)> {
    let ticks = sysconf(SysconfVar::CLK_TCK)?.context("the kernel does not say how long a tick is")? as f64;
    let used = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", balancer.id()))?;
        // Behind the name, which may have spaces: state is the first field, user and system time the 12th and 13th.
        let (_, fields) = stat.rsplit_once(')').context("a stat file without a name")?;
        let times = fields.split_whitespace().skip(11).take(2).map(str::parse::<f64>);
        anyhow::Ok(times.sum::<Result<f64, _>>()? / ticks)
    };
    let (begin, before) = (Instant::now(), used()?);
    thread::sleep(period);
    let (seconds, after) = (begin.elapsed().as_secs_f64(), used()?);
    Ok(((after - before) * 100.0 / seconds, seconds))
}
