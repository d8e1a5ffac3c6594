//! States of instances that are all on the link.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Instant};

use super::State;
pub(super) use crate::testing::model;
use crate::{
    balance::ways::{Hop, Hops},
    model::{InstanceName, Model, Side},
    plan::{Interface, Mac},
    testing::instance,
};

pub(super) const MAC: Mac = [2, 0, 0, 0, 0, 11];
pub(super) const OTHER_MAC: Mac = [2, 0, 0, 0, 0, 12];
pub(super) const LINK: u32 = 2;
pub(super) const INTERFACE: Interface = Interface { index: LINK, mac: [2, 0, 0, 0, 0, 1], side: Side::Both };

pub(super) fn hop(neighbour: IpAddr) -> Hop {
    Hop { interface: LINK, neighbour, mtu: 1500, source: "10.0.0.1".parse().unwrap() }
}

/// Each instance is on the link.
pub(super) fn hops(model: &Model) -> Hops {
    let dips = model.instances.iter().flat_map(|i| i.dip.iter().map(|dip| (i.name.clone(), *dip)));
    dips.map(|key| (key.clone(), hop(key.1))).collect()
}

pub(super) fn state(names: &[&str], now: Instant) -> State {
    let model = model(names);
    let hops = hops(&model);
    State::new(&Arc::new(model), vec![INTERFACE], None, hops, now)
}

pub(super) fn take_up(state: &mut State, model: Model, now: Instant) {
    let hops = hops(&model);
    state.take_up(Arc::new(model), hops, now);
}

/// Where the tables say that each instance is.
pub(super) fn macs(state: &State) -> BTreeMap<InstanceName, Mac> {
    state.desired().ways.into_iter().map(|((name, _), way)| (name, way.mac)).collect()
}

pub(super) fn name(text: &str) -> InstanceName {
    InstanceName(text.into())
}

pub(super) fn dip(of: &str) -> IpAddr {
    instance(of).dip[0]
}
