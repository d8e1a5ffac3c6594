//! A lab with SNAT, and what its balancer says of it.

use std::{collections::BTreeSet, env, path::Path, process::Command, time::Duration};

use lab::{address::Station, control, lab::Lab, wait};
use serde_json::Value;

/// For ports to be leased and given back.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An instance, as the balancer's status has it.
pub(crate) fn instance(lab: &Lab, config: &Path, name: &str) -> Value {
    let status = control::json(&lab.hosts.balancer, "status", config).unwrap();
    let all = status["instances"].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).cloned().unwrap_or_default()
}

/// How many ports of a public VIP it says it has; 0 where it has said nothing.
pub(crate) fn allocated(lab: &Lab, config: &Path, name: &str, vip: &str) -> u64 {
    let one = instance(lab, config, name);
    let vips = one["snat"]["vips"].as_array().cloned().unwrap_or_default();
    vips.iter().find(|one| one["vip"] == vip).and_then(|one| one["allocated"].as_u64()).unwrap_or_default()
}

/// Waits until it has that many.
#[track_caller]
pub(crate) fn has_ports(lab: &Lab, config: &Path, name: &str, vip: &str, ports: u64) {
    let has = || allocated(lab, config, name, vip) == ports;
    assert!(
        wait::eventually(PATIENCE, has),
        "{name} has {} ports of {vip}, not {ports}",
        allocated(lab, config, name, vip)
    );
}

/// Blocks of a public VIP that an instance holds, as it tells a balancer.
pub(crate) fn held(lab: &Lab, name: &str, vip: &str) -> BTreeSet<u16> {
    let number = lab.hosts.instances.iter().position(|host| host.name() == name).unwrap();
    let [dip, _] = Station::instance(number as u8 + 1).addresses();
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--fail", "--data", r#"{"schema_version":1,"vips":{}}"#]);
    curl.arg(format!("http://{dip}:8080/snat"));
    let output = lab.hosts.balancer.run_command(curl).unwrap();
    assert!(output.ok(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let ranges: Vec<(u16, u16)> = serde_json::from_value(report["vips"][vip]["held"].clone()).unwrap();
    ranges.into_iter().flat_map(|(first, last)| first..=last).collect()
}

/// How often something is done that can be done any number of times.
pub(crate) fn rounds(default: usize) -> usize {
    env::var("GATEWAY_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
