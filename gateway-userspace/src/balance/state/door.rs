//! Where instances answer the balancer itself.

use std::net::IpAddr;

use super::State;
use crate::model::InstanceName;

impl State {
    /// The address at which an instance is asked, and the one of this host that it knows us by, where there is a choice.
    pub(in crate::balance) fn door(&self, name: &InstanceName) -> Option<(IpAddr, Option<IpAddr>)> {
        let written = self.model.instance(&name.0).map_or(&[][..], |instance| &instance.dip);
        if self.local.as_ref() == Some(name) {
            return written.first().map(|dip| (*dip, None));
        }
        let mut hops: Vec<_> = self.hops_of(name).collect();
        // One that packets go to, in the order of the file.
        hops.sort_by_key(|(dip, _)| {
            let place = written.iter().position(|own| own == dip).unwrap_or(usize::MAX);
            (self.way(name, *dip).is_none(), place)
        });
        let (dip, hop) = hops.first()?;
        // With `l2` there is none: the route decides.
        let is_known = !hop.source.is_unspecified() && hop.source.is_ipv4() == dip.is_ipv4();
        let from = self.model.balancer.address.contains(&hop.source) && is_known;
        Some((*dip, from.then_some(hop.source)))
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Instant};

    use super::*;
    use crate::{
        balance::ways::{Hop, Hops},
        model::Side,
        plan::Interface,
        testing::model,
    };

    #[test]
    fn an_instance_is_asked_where_packets_get_to_it_by_the_address_it_knows() {
        let mut model = model(&["gw-1", "gw-2"]);
        let [first, second]: [IpAddr; 2] = ["fd00:0:0:1::11", "10.0.0.11"].map(|text| text.parse().unwrap());
        let [ours, other]: [IpAddr; 2] = ["10.0.0.1", "fd00:0:0:1::1"].map(|text| text.parse().unwrap());
        model.instances[0].dip = vec![first, second];
        model.balancer.address = vec![ours];
        let name = model.instances[0].name.clone();
        let hop = |neighbour, source| Hop { interface: 2, neighbour, mtu: 1500, source };
        let hops = Hops::from([
            ((name.clone(), first), hop(first, other)),
            ((name.clone(), second), hop(second, ours)),
        ]);
        let interface = Interface { index: 2, mac: [2, 0, 0, 0, 0, 1], side: Side::Both };
        let local = model.instances[1].clone();
        let mut state =
            State::new(&Arc::new(model), vec![interface], Some(local.name.clone()), hops, Instant::now());
        assert_eq!(state.door(&name), Some((first, None)));
        state.learn(2, second, [2, 0, 0, 0, 0, 11]);
        assert_eq!(state.door(&name), Some((second, Some(ours))));
        assert_eq!(state.door(&local.name), Some((local.dip[0], None)));
        assert_eq!(state.door(&InstanceName("gw-9".into())), None);
    }
}
