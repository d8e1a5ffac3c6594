//! The host itself, and the clocks of others.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aya::util::KernelVersion;
use caps::{CapSet, Capability};
use nix::sys::{
    resource::{Resource, getrlimit},
    statfs::{BPF_FS_MAGIC, statfs},
};

use super::path::AT_ONCE;
use crate::{
    doctor::facts::{Host, Seen},
    model::{Instance, Model},
};

/// What `gateway balance` and `gateway proxy` need together.
const NEEDED: [Capability; 4] =
    [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW, Capability::CAP_BPF, Capability::CAP_PERFMON];
const JIT: &str = "/proc/sys/net/core/bpf_jit_enable";
/// Of an instance's answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Of an answer without a body.
const HEAD: u64 = 8192;

pub(super) fn look() -> Host {
    Host {
        kernel: kernel(),
        missing: missing(),
        has_bpffs: Seen::Seen(statfs("/sys/fs/bpf").is_ok_and(|fs| fs.filesystem_type() == BPF_FS_MAGIC)),
        has_jit: has_jit(),
        descriptors: getrlimit(Resource::RLIMIT_NOFILE).map(|(_, hard)| hard).into(),
    }
}

fn kernel() -> Seen<(u32, u32)> {
    // `KernelVersion` does not tell its parts.
    let release = match (KernelVersion::current(), fs::read_to_string("/proc/sys/kernel/osrelease")) {
        (Ok(_), Ok(release)) => release,
        (Err(error), _) => return Seen::Unseen(error.to_string()),
        (_, Err(error)) => return Seen::Unseen(error.to_string()),
    };
    let mut parts = release.split(['.', '-']).map_while(|part| part.parse().ok());
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => Seen::Seen((major, minor)),
        _ => Seen::Unseen(format!("the kernel calls itself {}", release.trim())),
    }
}

fn missing() -> Seen<Vec<String>> {
    let all = match caps::read(None, CapSet::Effective) {
        Ok(all) => all,
        Err(error) => return Seen::Unseen(error.to_string()),
    };
    // Before CAP_BPF, and since, this one is both.
    let has = |one: &Capability| {
        let is_of_bpf = matches!(one, Capability::CAP_BPF | Capability::CAP_PERFMON);
        all.contains(one) || is_of_bpf && all.contains(&Capability::CAP_SYS_ADMIN)
    };
    Seen::Seen(NEEDED.iter().filter(|one| !has(one)).map(ToString::to_string).collect())
}

/// The setting is shown in the host's own network namespace alone.
fn has_jit() -> Seen<bool> {
    match fs::read_to_string(JIT) {
        Ok(text) => Seen::Seen(text.trim() != "0"),
        Err(error) => Seen::Unseen(format!("{JIT} cannot be read in this network namespace: {error}")),
    }
}

/// By the `Date` of what instances answer to a probe.
pub(super) fn clocks(model: &Model) -> Seen<BTreeMap<String, i64>> {
    let ahead = Mutex::new(BTreeMap::new());
    for some in model.instances.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            for instance in some {
                scope.spawn(|| {
                    let Some(seconds) = ahead_of_us(model, instance) else { return };
                    let mut ahead = ahead.lock().unwrap_or_else(PoisonError::into_inner);
                    ahead.insert(instance.name.to_string(), seconds);
                });
            }
        });
    }
    Seen::Seen(ahead.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn ahead_of_us(model: &Model, instance: &Instance) -> Option<i64> {
    let at = instance.dip.iter().map(|dip| SocketAddr::new(*dip, model.probe.port));
    let time = at.into_iter().find_map(|at| date(at, &model.probe.path))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(time - i64::try_from(now.as_secs()).ok()?)
}

fn date(at: SocketAddr, path: &str) -> Option<i64> {
    let mut stream = TcpStream::connect_timeout(&at, PATIENCE).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut head = Vec::new();
    // Cut off or not: what has come may have it.
    let _read = stream.take(HEAD).read_to_end(&mut head);
    let head = String::from_utf8_lossy(&head).into_owned();
    let date = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("date").then(|| value.trim().to_owned())
    })?;
    Some(jiff::fmt::rfc2822::parse(&date).ok()?.timestamp().as_second())
}
