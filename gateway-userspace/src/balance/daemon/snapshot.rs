//! The state of the moment, for those who ask.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Instant, SystemTime},
};

use gateway_ebpf::layout::BUCKETS;

use super::{Daemon, Port, follow::Reach};
use crate::{
    model::InstanceName,
    net::mac_text,
    plan::{Plan, Scope},
    status::{
        Apply, Configuration, Dip, Drain, Endpoint, FirstEnd, Flows, Instance, Interface, Outcome, Override,
        SCHEMA_VERSION, Snat, SnatDestination, SnatVip, State as Word, Status, Time, Vip, VipKind, WayWord,
        Windows, address_table,
    },
};

impl Daemon<'_> {
    pub(super) fn status(&self) -> Status {
        let model = self.state.model();
        let mut trouble = Vec::new();
        if self.behind {
            trouble.push("the kernel's tables could not be brought up to date, which is tried again; the log has the reason".into());
        }
        trouble.extend(self.disbelief());
        let counters = self.dataplane.counters().map_err(anyhow::Error::from);
        if let Err(error) = &counters {
            trouble.push(format!("the counters cannot be read: {error:#}"));
        }
        let mut status = Status {
            schema_version: SCHEMA_VERSION,
            version: env!("CARGO_PKG_VERSION").into(),
            service: model.service.name.clone(),
            mode: model.service.mode,
            forwarding: model.balancer.forwarding,
            affinity: model.balancer.affinity,
            state: Word::Serving,
            trouble,
            since: self.since,
            generation: self.generation,
            configuration: Configuration {
                file: self.args.config.display().to_string(),
                last_apply: self.last_apply.clone(),
            },
            program: self.program.clone(),
            interfaces: self.ports.iter().map(interface).collect(),
            vips: self.ports.iter().flat_map(|port| self.vips_on(port)).collect(),
            // Once they are judged.
            public_ip_addresses: Vec::new(),
            private_ip_addresses: Vec::new(),
            endpoints: self.endpoints(),
            address_table: address_table(model),
            instances: self.instances(),
            windows: self.open_windows(),
            counters: counters.ok(),
        };
        // Private ones first, whatever interface they are on.
        status.vips.sort_by_key(|vip| vip.kind == VipKind::Public);
        status.judge();
        status
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        let mut endpoints = Endpoint::all(self.state.model());
        let said: Vec<_> = self
            .plan
            .numbers
            .iter()
            .filter_map(|(name, &number)| Some((name, &self.windows.report(number)?.certificates)))
            .collect();
        for endpoint in &mut endpoints {
            let ends = said.iter().filter_map(|(name, ends)| Some((*ends.get(&endpoint.role)?, *name)));
            endpoint.first_end = ends
                .min()
                .map(|(end, name)| FirstEnd { expires: Time::of_unix(end), instance: name.0.clone() });
        }
        endpoints
    }

    fn vips_on(&self, port: &Port) -> Vec<Vip> {
        let vips = &self.state.model().vip;
        let on = vips.on(port.side).into_iter();
        on.map(|address| {
            let reason = match () {
                () if !port.is_there() => Some(format!("the interface {} is gone", port.link.name)),
                () if !port.link.carrier => Some(format!("{} is down or has no carrier", port.link.name)),
                () => port.vips.trouble_of(address).map(ToOwned::to_owned),
            };
            Vip {
                address,
                kind: if vips.private.contains(&address) { VipKind::Private } else { VipKind::Public },
                interface: port.link.name.clone(),
                ports: ports(&self.plan, address),
                udp_ports: udp_ports(&self.plan, address),
                ready: reason.is_none(),
                reason,
            }
        })
        .collect()
    }

    pub(super) fn instances(&self) -> Vec<Instance> {
        let mut buckets: BTreeMap<u16, u32> = BTreeMap::new();
        for word in &self.plan.ring {
            *buckets.entry(word.current()).or_default() += 1;
        }
        let shares = self.state.shares();
        let written = self.state.model().instances.iter().map(|one| &one.name);
        let removed = self.state.drains().map(|(name, _)| name);
        let removed = removed.filter(|name| self.state.model().instance(&name.0).is_none());
        written
            .chain(removed)
            .map(|name| {
                let share = shares.get(name).copied().unwrap_or_default();
                let number = self.plan.numbers.get(name);
                let owned = number.and_then(|number| buckets.get(number)).copied().unwrap_or_default();
                self.instance(name, number.copied(), share, owned)
            })
            .collect()
    }

    fn instance(&self, name: &InstanceName, number: Option<u16>, share: u16, buckets: u32) -> Instance {
        let written = self.state.model().instance(&name.0);
        let overridden = written.filter(|_| self.state.is_overridden(name));
        let drain = self.state.drains().find(|(one, _)| *one == name);
        Instance {
            name: name.0.clone(),
            dips: self.dips(name),
            weight: written.map(|one| one.weight),
            share,
            admin_state: self.state.admin_state(name),
            overridden: overridden.map(|one| Override { file: one.admin_state }),
            health: self.health(name),
            data_path: self.data_path(name),
            buckets,
            bucket_percent: f64::from(buckets) * 100.0 / BUCKETS as f64,
            flows: number
                .and_then(|number| self.windows.report(number))
                .map(|report| Flows { living: report.flows, asked: past_time(report.begun) }),
            snat: self.snat(name),
            drain: drain.map(|(_, end)| Drain { ends: end.map(wall_time) }),
        }
    }

    fn snat(&self, name: &InstanceName) -> Option<Snat> {
        self.state.model().snat.as_ref()?;
        let (at, report) = self.state.leases().report(name)?;
        let vips = report.vips.iter().map(|(&vip, one)| SnatVip {
            vip,
            allocated: one.allocated,
            used: one.used,
            busiest: one.busiest,
        });
        let top = report.top.iter().map(|top| SnatDestination {
            protocol: top.protocol.clone(),
            destination: top.place(),
            flows: top.flows,
            failed: top.failed,
        });
        Some(Snat {
            asked: past_time(*at),
            vips: vips.collect(),
            failed: report.failed.clone(),
            top: top.collect(),
        })
    }

    fn open_windows(&self) -> Windows {
        let plan = &self.plan;
        let moved = plan.ring.iter().filter(|word| word.is_moved()).count();
        // There are 65,537.
        let waiting = self.windows.open().map(|(why, buckets)| (why.to_owned(), buckets as u32));
        Windows {
            buckets: moved as u32,
            waiting: waiting.collect(),
            affinity_switch: plan.config.affinity != plan.config.affinity_before,
        }
    }

    fn dips(&self, name: &InstanceName) -> Vec<Dip> {
        let is_local = self.local.as_ref() == Some(name);
        let hops: BTreeMap<_, _> = self.state.hops_of(name).collect();
        let written = self.state.model().instance(&name.0).map(|one| one.dip.clone());
        let dips = written.unwrap_or_else(|| hops.keys().copied().collect());
        dips.into_iter()
            .map(|address| {
                let way = self.state.way(name, address);
                let interface = |index| self.ports.iter().find(|port| port.link.index == index);
                let (word, failed_since) = match self.reach(name, address) {
                    Reach::Local => (WayWord::Local, None),
                    Reach::Resolved => (WayWord::Resolved, None),
                    Reach::Resolving => (WayWord::Resolving, None),
                    Reach::Failed(since) => (WayWord::Failed, Some(past_time(since))),
                    Reach::NoRoute => (WayWord::NoRoute, None),
                };
                Dip {
                    address,
                    way: word,
                    failed_since,
                    resolved: is_local || way.is_some(),
                    next_hop: hops.get(&address).map(|hop| hop.neighbour),
                    mac: way.map(|way| mac_text(way.mac)),
                    interface: way
                        .and_then(|way| interface(way.interface))
                        .map(|port| port.link.name.clone()),
                    mtu: way.map(|way| way.mtu),
                }
            })
            .collect()
    }
}

/// The start is one too.
pub(super) fn started() -> Apply {
    Apply { ok: true, outcome: Outcome::Applied, time: Time::now(), by: "start".into(), error: None }
}

fn interface(port: &Port) -> Interface {
    Interface {
        name: port.link.name.clone(),
        index: port.link.index,
        side: port.side,
        xdp: port.mode,
        carrier: port.link.carrier,
        present: port.is_there(),
    }
}

fn ports(plan: &Plan, vip: IpAddr) -> Vec<u16> {
    let port = |scope: &Scope| match *scope {
        Scope::Tcp(address, port) if address == vip => Some(port),
        _ => None,
    };
    plan.scopes.keys().filter_map(port).collect()
}

fn udp_ports(plan: &Plan, vip: IpAddr) -> Vec<u16> {
    let port = |scope: &Scope| match *scope {
        Scope::Udp(address, port) if address == vip => Some(port),
        _ => None,
    };
    plan.scopes.keys().filter_map(port).collect()
}

/// Of a moment not long ago.
fn past_time(instant: Instant) -> Time {
    let ago = instant.elapsed();
    SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH).into()
}

fn wall_time(instant: Instant) -> Time {
    let left = instant.saturating_duration_since(Instant::now());
    (SystemTime::now() + left).into()
}
