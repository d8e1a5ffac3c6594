//! What is looked at, and what it means. Pure: from [`Facts`] alone.

mod file;
mod host;
mod link;
mod path;
mod service;
#[cfg(test)]
mod tests;
mod vip;

use super::{
    facts::{Facts, Place},
    graph::{Check, Outcome},
};

/// All checks, each behind those that it needs.
pub const ALL: &[Check] = &[
    Check { id: "file", title: "the configuration file", needs: &[], judge: file::file },
    Check { id: "certificates", title: "certificates and keys", needs: &["file"], judge: file::certificates },
    Check { id: "kernel", title: "the kernel", needs: &[], judge: host::kernel },
    Check { id: "privileges", title: "what this process may do", needs: &[], judge: host::privileges },
    Check { id: "bpffs", title: "the place where programs are kept", needs: &[], judge: host::bpffs },
    Check { id: "jit", title: "the compiler of programs", needs: &[], judge: host::jit },
    Check { id: "descriptors", title: "descriptors for connections", needs: &[], judge: host::descriptors },
    Check { id: "interface", title: "the balancer's interfaces", needs: &["file"], judge: link::interface },
    Check { id: "foreign-xdp", title: "other XDP programs", needs: &["interface"], judge: link::foreign },
    Check {
        id: "balancer",
        title: "the running balancer",
        needs: &["file", "interface"],
        judge: service::balancer,
    },
    Check { id: "xdp-mode", title: "where the program runs", needs: &["interface"], judge: link::mode },
    Check {
        id: "lost-frames",
        title: "frames that the program sends",
        needs: &["interface"],
        judge: link::lost,
    },
    Check {
        id: "other-interfaces",
        title: "ways past the program",
        needs: &["interface"],
        judge: link::others,
    },
    Check { id: "vip-here", title: "the VIPs on this host", needs: &["balancer"], judge: vip::here },
    Check { id: "vip-unique", title: "the VIPs on the link", needs: &["file"], judge: vip::unique },
    Check {
        id: "dip-unique",
        title: "the instances' addresses on the link",
        needs: &["file"],
        judge: vip::dips,
    },
    Check {
        id: "checksums",
        title: "checksums of what this host sends",
        needs: &["file", "vip-unique"],
        judge: link::checksums,
    },
    Check { id: "mtu", title: "the size of packets to instances", needs: &["interface"], judge: path::mtu },
    Check { id: "clock", title: "the instances' clocks", needs: &["file"], judge: host::clock },
    Check {
        id: "listeners",
        title: "the ports of the instance here",
        needs: &["file"],
        judge: service::listeners,
    },
    Check { id: "ways-back", title: "the way of answers", needs: &["file"], judge: path::ways_back },
    Check { id: "instances", title: "the instances", needs: &["balancer"], judge: service::instances },
    Check {
        id: "management",
        title: "port 3443",
        needs: &["balancer", "vip-unique", "checksums"],
        judge: service::management,
    },
    Check { id: "names", title: "the names in the DNS", needs: &["file"], judge: service::names },
];

/// Those that mean something before the first start.
pub const PREFLIGHT: &[&str] = &[
    "file",
    "certificates",
    "kernel",
    "privileges",
    "bpffs",
    "jit",
    "descriptors",
    "interface",
    "foreign-xdp",
    "xdp-mode",
    "other-interfaces",
    "vip-unique",
    "dip-unique",
    "mtu",
];

/// What is the balancer's alone.
fn unless_balancer(facts: &Facts) -> Option<Outcome> {
    unless(facts, Place::Balancer, "no balancer runs on this host (`--as balancer` says that it should)")
}

fn unless(facts: &Facts, place: Place, why: &str) -> Option<Outcome> {
    (!facts.place.contains(&place)).then(|| Outcome::Elsewhere(why.to_owned()))
}

/// `a, b`
fn list<T: ToString>(all: impl IntoIterator<Item = T>) -> String {
    all.into_iter().map(|one| one.to_string()).collect::<Vec<_>>().join(", ")
}

/// The value of a fact, or the outcome of not having it.
macro_rules! seen {
    ($fact:expr) => {
        match &$fact {
            $crate::doctor::facts::Seen::Seen(value) => value,
            $crate::doctor::facts::Seen::Unseen(why) => {
                return $crate::doctor::graph::Outcome::Unknown(why.clone())
            }
        }
    };
}
use seen;
