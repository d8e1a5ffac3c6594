//! Nat mode's way back: whose packets are replies, and what they come from in the clients' eyes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use gateway_ebpf::{
    address::Address,
    layout::{self, FLAG_NAT, Reply},
};
use network_types::ip::IpProto;

use super::{
    Desired, Error, Plan,
    perfect::perfect,
    services,
    services::{Scope, ServedPort},
};
use crate::model::{DNS_PORT, Forwarding, InstanceName, PORTS};

pub(super) struct Tables {
    pub(super) flags: u64,
    pub(super) peers: BTreeMap<u32, Address>,
    pub(super) replies: BTreeMap<u32, Reply>,
    pub(super) peer_multiplier: u64,
    pub(super) reply_multiplier: u64,
}

/// The tables; empty in other modes.
pub(super) fn tables(
    desired: &Desired,
    numbers: &BTreeMap<InstanceName, u16>,
    scopes: &BTreeMap<Scope, u16>,
    running: Option<&Plan>,
) -> Result<Tables, Error> {
    let is_nat = desired.model.balancer.forwarding == Forwarding::Nat;
    let peers: Vec<Address> =
        if is_nat { dips(desired, numbers).into_iter().map(Address::from).collect() } else { Vec::new() };
    // Ports that are closed too: whoever was served there until now may still be told that it is over, and not by the instance's
    // own address.
    let tcp = |vip| PORTS.map(|port| ServedPort { vip, protocol: IpProto::Tcp, port });
    let dns = services::ports(&desired.model).filter(|served| served.port == DNS_PORT);
    let replies: Vec<Reply> = desired
        .model
        .vip
        .all()
        .flat_map(tcp)
        .chain(dns)
        .filter_map(|served| {
            let ServedPort { vip, protocol, port } = served;
            let backend_port = services::backend_port(&desired.model, vip, port)?;
            let key = Reply::key(vip.is_ipv4(), protocol as u8, backend_port);
            let scope = scopes.get(&served.scope()).or(scopes.get(&Scope::Vip(vip)))?;
            Some(Reply { key, vip: vip.into(), port, scope: *scope, pad: 0 })
        })
        .collect();
    let (peer_multiplier, peers) = perfect(
        &peers,
        Address::slot,
        running.map(|plan| plan.config.peer_multiplier),
        "instances' addresses",
    )?;
    let (reply_multiplier, replies) = perfect(
        &replies,
        |reply, multiplier| layout::slot(reply.key, multiplier),
        running.map(|plan| plan.config.reply_multiplier),
        "instances' ports",
    )?;
    let flags = if is_nat { FLAG_NAT } else { 0 };
    Ok(Tables { flags, peers, replies, peer_multiplier, reply_multiplier })
}

/// The addresses of every instance that may have flows, drained and removed ones too.
fn dips(desired: &Desired, numbers: &BTreeMap<InstanceName, u16>) -> BTreeSet<IpAddr> {
    let configured = desired
        .model
        .instances
        .iter()
        .flat_map(|instance| instance.dip.iter().map(|&dip| (&instance.name, dip)));
    let known = desired.ways.keys().map(|(name, dip)| (name, *dip));
    configured.chain(known).filter(|(name, _)| numbers.contains_key(name)).map(|(_, dip)| dip).collect()
}
