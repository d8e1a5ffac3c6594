//! The host itself.

use super::{seen, unless_balancer};
use crate::doctor::{
    facts::{Facts, Place},
    graph::Outcome,
    report::Finding,
};

/// The first kernel that the programs load on. BPF maps count as the control group's memory since 5.11: no limit of locked memory matters.
const FIRST: (u32, u32) = (6, 1);
/// The first with TCX, by which probes go through the data path.
const TCX: (u32, u32) = (6, 6);
/// Two for a connection, and those that are no client's: below this a few hundred clients are all.
const FEW: u64 = 4096;
/// Seconds: TLS and DNS take more, tokens and tickets do not.
const APART: i64 = 60;

pub(super) fn kernel(facts: &Facts) -> Outcome {
    let &(major, minor) = seen!(facts.host.kernel);
    let running = format!("`uname -r` says {major}.{minor}");
    if (major, minor) < FIRST {
        return Outcome::Found(vec![Finding::error(
            format!("Linux {major}.{minor} is too old for the programs"),
            running,
            "install 6.1 or newer (`apt-get install linux-image-amd64` on Debian 12)",
        )]);
    }
    let lacks = if (major, minor) < TCX { "; probes through the data path and SNAT use clsact" } else { "" };
    Outcome::Fine(format!("Linux {major}.{minor}{lacks}"))
}

pub(super) fn privileges(facts: &Facts) -> Outcome {
    if facts.place.iter().all(|place| *place == Place::Client) {
        return Outcome::Elsewhere("a client needs none".into());
    }
    let missing = seen!(facts.host.missing);
    let findings = match missing.is_empty() {
        true => Vec::new(),
        false => vec![Finding::error(
            format!("this process may not do what the service has to: {} are missing", missing.join(", ")),
            "its effective capabilities (`grep CapEff /proc/self/status`)",
            format!("run as root, or with `AmbientCapabilities={}` in the unit", missing.join(" ")),
        )],
    };
    Outcome::of(findings, "all that is needed")
}

pub(super) fn bpffs(facts: &Facts) -> Outcome {
    if let Some(elsewhere) = unless_balancer(facts) {
        return elsewhere;
    }
    let findings = match *seen!(facts.host.has_bpffs) {
        true => Vec::new(),
        false => vec![Finding::error(
            "there is no bpffs at /sys/fs/bpf, where programs and tables outlive a restart",
            "`stat --file-system --format=%T /sys/fs/bpf` does not say bpf_fs",
            "mount -t bpf bpf /sys/fs/bpf",
        )],
    };
    Outcome::of(findings, "a bpffs is at /sys/fs/bpf")
}

pub(super) fn jit(facts: &Facts) -> Outcome {
    if let Some(elsewhere) = unless_balancer(facts) {
        return elsewhere;
    }
    let findings = match *seen!(facts.host.has_jit) {
        true => Vec::new(),
        false => vec![Finding::warning(
            "BPF programs are interpreted, several times slower",
            "`sysctl net.core.bpf_jit_enable` says 0",
            "sysctl -w net.core.bpf_jit_enable=1",
        )],
    };
    Outcome::of(findings, "programs are compiled")
}

pub(super) fn descriptors(facts: &Facts) -> Outcome {
    if facts.place.iter().all(|place| *place == Place::Client) {
        return Outcome::Elsewhere("a client needs few".into());
    }
    let most = *seen!(facts.host.descriptors);
    let findings = match most < FEW {
        false => Vec::new(),
        true => vec![Finding::warning(
            format!(
                "a process may have {most} descriptors: the proxy serves {} connections at most",
                most / 2
            ),
            "`ulimit -Hn`; each connection takes two",
            "`LimitNOFILE=1048576` in the unit, or `ulimit -Hn 1048576` before the start",
        )],
    };
    Outcome::of(findings, format!("{most} a process"))
}

pub(super) fn clock(facts: &Facts) -> Outcome {
    if let Some(elsewhere) = unless_balancer(facts) {
        return elsewhere;
    }
    let ahead = seen!(facts.clocks);
    if ahead.is_empty() {
        return Outcome::Unknown("no instance tells its time at its probe's port".into());
    }
    let off = ahead.iter().filter(|(_, ahead)| ahead.abs() > APART);
    let finding = |(name, ahead): (&String, &i64)| {
        let how = if *ahead > 0 { "ahead of" } else { "behind" };
        Finding::error(
            format!("the clock of {name} is {} s {how} this host's", ahead.abs()),
            "the `Date` of what it answers at its probe's port",
            "let both follow the same time (`timedatectl set-ntp true`): certificates, tokens and session keys go by it",
        )
    };
    Outcome::of(off.map(finding).collect(), format!("{} agree with this host's, to a minute", ahead.len()))
}
