//! Examples.

use std::{
    collections::BTreeMap,
    time::{Duration, UNIX_EPOCH},
};

use gateway_ebpf::{layout::BUCKETS, note::Settled, reason::Reason};

use super::*;
use crate::{
    dataplane::{Answers, Dropped, Forwarded, Shown},
    model::AdminState,
};

/// Nothing is wrong: three instances are up.
pub(crate) fn serving() -> Status {
    let mut status = full();
    status.state = State::Serving;
    status.trouble.clear();
    for vip in &mut status.vips {
        (vip.ready, vip.reason) = (true, None);
    }
    status.configuration.last_apply.ok = true;
    status.configuration.last_apply.outcome = Outcome::Applied;
    status.configuration.last_apply.error = None;
    status.instances = (1..=3).map(|n| instance(&format!("gw-{n}"), 11 + n)).collect();
    status
}

/// With every field.
pub(crate) fn full() -> Status {
    let vip = |address: &str, kind| Vip {
        address: address.parse().unwrap(),
        kind,
        interface: "eth0".into(),
        ports: if kind == VipKind::Private { vec![53, 80, 443, 3443] } else { vec![3443] },
        udp_ports: if kind == VipKind::Private { vec![53] } else { vec![] },
        ready: true,
        reason: None,
    };
    let mut lame = instance("gw-2", 12);
    lame.share = 0;
    lame.overridden = Some(Override { file: AdminState::Up });
    let health = lame.health.as_mut().unwrap();
    (health.state, health.last_error) = (HealthWord::Down, Some("503 Service Unavailable".into()));
    let mut silent = instance("gw-3", 13);
    silent.buckets = 0;
    silent.dips[0] = Dip {
        mac: None,
        interface: None,
        mtu: None,
        resolved: false,
        way: WayWord::Failed,
        failed_since: Some(time(990)),
        ..silent.dips[0].clone()
    };
    let mut drained = instance("gw-4", 14);
    (drained.weight, drained.admin_state, drained.share, drained.buckets) = (None, None, 0, 0);
    drained.drain = Some(Drain { ends: Some(time(4600)) });
    let mut status = Status {
        schema_version: SCHEMA_VERSION,
        version: "0.1.0".into(),
        service: "contoso".into(),
        mode: Mode::Internal,
        forwarding: Forwarding::L2,
        affinity: Affinity::FiveTuple,
        state: State::Degraded,
        trouble: vec!["gw-2 is down".into()],
        since: time(1000),
        generation: 7,
        configuration: Configuration {
            file: "/etc/gateway/gateway.toml".into(),
            last_apply: Apply {
                ok: false,
                outcome: Outcome::Refused,
                time: time(2000),
                by: "SIGHUP".into(),
                error: Some("/etc/gateway/gateway.toml:3:1: C012 unknown key `wieght`".into()),
            },
        },
        program: Program { id: 53, tag: "0123456789abcdef".into() },
        interfaces: vec![Interface {
            name: "eth0".into(),
            index: 2,
            side: Side::Both,
            xdp: XdpMode::Native,
            carrier: true,
            present: true,
        }],
        vips: vec![vip("10.0.0.5", VipKind::Private), vip("203.0.113.5", VipKind::Public)],
        public_ip_addresses: vec![[203, 0, 113, 5].into()],
        private_ip_addresses: vec![[10, 0, 0, 5].into()],
        endpoints: vec![Endpoint {
            role: "gateway".into(),
            hosts: vec!["contoso.azure-api.net".into(), "*.api.contoso.com".into()],
            certificates: vec![
                Certificate {
                    file: "/etc/gateway/tls/api.pem".into(),
                    expires: Some(time(864_000)),
                    reason: None,
                },
                Certificate {
                    file: "/etc/gateway/tls/old.pem".into(),
                    expires: None,
                    reason: Some("it cannot be read on this host".into()),
                },
            ],
            first_end: Some(FirstEnd { expires: time(777_600), instance: "gw-2".into() }),
        }],
        address_table: vec![Seen {
            connection: "a client inside → private VIP 10.0.0.5".into(),
            observer: "the instance".into(),
            source: "the client's own address".into(),
        }],
        instances: vec![instance("gw-1", 11), lame, silent, drained],
        windows: Windows {
            buckets: 21_845,
            waiting: [("living-flows".into(), 45), ("no-answer".into(), 21_800)].into(),
            affinity_switch: false,
        },
        counters: Some(counters()),
    };
    status.vips[1].ready = false;
    status.vips[1].reason = Some("eth0: 203.0.113.5 is already used".into());
    status
}

fn instance(name: &str, host: u8) -> Instance {
    Instance {
        name: name.into(),
        dips: vec![Dip {
            address: [10, 0, 0, host].into(),
            resolved: true,
            way: WayWord::Resolved,
            failed_since: None,
            next_hop: Some([10, 0, 0, host].into()),
            mac: Some(format!("02:00:00:00:00:{host:02x}")),
            interface: Some("eth0".into()),
            mtu: Some(1500),
        }],
        weight: Some(100),
        share: 100,
        admin_state: Some(AdminState::Auto),
        overridden: None,
        health: Some(Health {
            state: HealthWord::Up,
            since: time(1001),
            last_error: None,
            succeeded: 500,
            failed: 3,
            transitions: 2,
            rise: 4,
            slow_start: Some(SlowStart { step: 3, steps: 8 }),
            history: vec![ProbeResult {
                time: time(1999),
                seconds: 0.002,
                error: Some("timed out after 1s".into()),
            }],
        }),
        data_path: Some(DataPath {
            tried: 90,
            answered: 89,
            last_error: Some("timed out after 1s".into()),
            vips: vec![VipPath {
                vip: "10.0.0.5:443".into(),
                tried: 90,
                answered: 89,
                recent: 0.984_375,
                seconds: Some(0.000_5),
                last_error: Some("timed out after 1s".into()),
            }],
        }),
        buckets: BUCKETS as u32 / 3,
        bucket_percent: 33.3,
        flows: Some(Flows { living: 12, asked: time(1998) }),
        snat: Some(Snat {
            asked: time(1999),
            vips: vec![SnatVip { vip: [203, 0, 113, 5].into(), allocated: 1024, used: 700, busiest: 600 }],
            failed: [("snat-port".to_owned(), 7)].into(),
            top: vec![SnatDestination {
                protocol: "tcp".into(),
                destination: "198.51.100.7:443".into(),
                flows: 600,
                failed: 7,
            }],
        }),
        drain: None,
    }
}

fn counters() -> Counters {
    let forwarded = |name: &str| Forwarded { name: name.into(), packets: 1000, bytes: 64_000, syns: 10 };
    let dropped = |name: &str, reason: Reason| Dropped {
        name: name.into(),
        reason: reason.name().into(),
        packets: 5,
        meaning: reason.meaning().into(),
        remedy: reason.remedy().into(),
        sample: Some(Shown {
            time: time(1500).to_string(),
            interface: "eth0".into(),
            length: 54,
            line: "10.0.7.7:50000 > 203.0.113.5:443 TCP SYN len 54, no-service".into(),
            hex: "00".into(),
        }),
    };
    Counters {
        schema_version: 1,
        services: vec![
            forwarded("10.0.0.5:443"),
            forwarded("[fd00:0:0:1::5]:443"),
            forwarded("203.0.113.5:3443"),
        ],
        instances: vec![forwarded("gw-1"), forwarded("gw-2")],
        drops: vec![dropped("203.0.113.5", Reason::ALL[0]), dropped("(no VIP)", Reason::ALL[1])],
        answers: Answers { echo: 1, error: 2, reset: 3, limited: 4 },
        steering: Settled::ALL.into_iter().map(|(_, name)| (name.into(), 1)).collect::<BTreeMap<_, _>>(),
    }
}

fn time(seconds: u64) -> Time {
    (UNIX_EPOCH + Duration::from_secs(1_790_000_000 + seconds)).into()
}
