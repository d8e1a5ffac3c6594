//! The tables that are asked, with the names of what is in them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use gateway_ebpf::{address::Address, host::HostTables, layout::Interface as Entry};
use nix::net::if_::if_nameindex;

use super::{Error, Question, document::Source, names};
use crate::{
    dataplane::Live,
    model::Model,
    plan::{self, Desired, Interface, Mac, Plan, Way},
};

/// What a file says nothing of.
const MTU: u16 = 1500;

/// Tables, and what they are called.
#[derive(Debug)]
pub struct Known {
    /// For the pipeline.
    pub tables: HostTables,
    /// The same, by name.
    pub plan: Plan,
    /// The interfaces' names, by index.
    pub interfaces: BTreeMap<u32, String>,
    /// Whence they are.
    pub source: Source,
    /// What was taken for granted.
    pub assumed: Vec<String>,
}

impl Known {
    /// Of a program at work.
    pub fn of_program(live: Live, interfaces: BTreeMap<u32, String>) -> Self {
        let Live { tables, plan } = live;
        Self { tables, plan, interfaces, source: Source::Live, assumed: Vec::new() }
    }

    /// Has the packet come in by its interface; and says whose MAC it is sent to.
    pub(super) fn enter(&mut self, question: &Question) -> Result<Mac, Error> {
        let entry = *self.entrance(question)?;
        self.tables.interface = entry.index;
        Ok(names::mac(entry.mac, entry.mac_rest))
    }

    fn entrance(&self, question: &Question) -> Result<&Entry, Error> {
        let mut entries: Vec<_> = self.plan.interfaces.values().collect();
        entries.sort_by_key(|entry| entry.port);
        let named = |name: &str| entries.iter().find(|entry| self.name(entry.index) == name);
        let absent = |name: &str| {
            let present: Vec<_> = entries.iter().map(|entry| self.name(entry.index)).collect();
            Error::Interface { name: name.to_owned(), present: present.join(", ") }
        };
        if let Some(name) = &question.interface {
            return named(name).copied().ok_or_else(|| absent(name));
        }
        let address = Address::from(question.to.ip);
        let sides = self.plan.vips.values().find(|vip| vip.address == address).map_or(!0, |vip| vip.sides);
        let leads_there = entries.iter().find(|entry| entry.sides & sides != 0);
        leads_there.or(entries.first()).copied().ok_or_else(|| absent("that leads to the VIP"))
    }

    /// What an interface is called.
    pub(super) fn name(&self, index: u32) -> String {
        self.interfaces.get(&index).cloned().unwrap_or_else(|| format!("interface {index}"))
    }
}

/// This host's interfaces, by index.
///
/// # Errors
/// The kernel does not list them.
pub fn interfaces() -> nix::Result<BTreeMap<u32, String>> {
    let all = if_nameindex()?;
    Ok(all.iter().map(|one| (one.index(), one.name().to_string_lossy().into_owned())).collect())
}

/// The tables that a file would make, on a host where all is well.
///
/// # Errors
/// The file says more than the tables can hold.
pub fn of_file(model: &Model) -> Result<Known, plan::Error> {
    let sides = model.balancer.interfaces.sides();
    let interfaces: Vec<_> =
        (1..).zip(&sides).map(|(n, (side, _))| Interface { index: n, mac: mac(0, n), side: *side }).collect();
    let names = (1..).zip(sides).map(|(n, (_, name))| (n, name.to_owned())).collect();
    let ways = (1..).zip(&model.instances).flat_map(|(n, instance)| {
        let way = move |dip| Way { interface: 1, mac: mac(1, n), mtu: MTU, source: source(model, dip) };
        instance.dip.iter().map(move |&dip| ((instance.name.clone(), dip), way(dip)))
    });
    let desired = Desired {
        ways: ways.collect(),
        model: Arc::new(model.clone()),
        interfaces,
        local: None,
        ended: BTreeSet::new(),
        gone: BTreeSet::new(),
        shares: BTreeMap::new(),
        leases: BTreeMap::new(),
        node_salt: 0,
        now: 0,
    };
    let plan = plan::plan(&desired, None)?;
    let assumed = vec![
        "every instance is healthy and reached by the first interface".to_owned(),
        format!("the way to each has an MTU of {MTU}"),
        "no bucket is moved".to_owned(),
    ];
    Ok(Known { tables: HostTables::from(&plan), plan, interfaces: names, source: Source::File, assumed })
}

/// Made up: locally administered.
fn mac(kind: u8, n: u32) -> Mac {
    let [_, _, high, low] = n.to_be_bytes();
    [0x02, 0, 0, kind, high, low]
}

/// As an outer header would have it.
fn source(model: &Model, dip: IpAddr) -> IpAddr {
    let mut own = model.balancer.address.iter().copied().filter(|ip| ip.is_ipv4() == dip.is_ipv4());
    let none = if dip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    own.next().unwrap_or(none)
}
