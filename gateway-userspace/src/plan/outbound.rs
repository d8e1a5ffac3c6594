//! What an instance's source NAT goes by, from its file and its leases (R30, R31).

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;

use super::{
    services,
    translation::{Lease, Lives, Protocol, Returns, Translation},
};
use crate::model::{Forwarding, Instance, Model};

/// Flows of `instance` leave by `leases`, but for those to the networks and to the VIPs themselves.
pub fn outbound(model: &Model, instance: &Instance, leases: BTreeMap<IpAddr, Lease>) -> Translation {
    let served = services::ports(model);
    let public = model.vip.public.iter().flat_map(|&vip| model.ports(vip));
    let backends = served.filter_map(|one| {
        let protocol = Protocol::of(one.protocol as u8)?;
        Some((protocol, services::backend_port(model, one.vip, one.port)?))
    });
    Translation {
        dips: instance.dip.clone(),
        inside: model.network.inside().chain(model.vip.all().map(IpNet::from)).collect(),
        leases,
        served: public.map(|port| (Protocol::Tcp, port)).collect(),
        backends: backends.collect(),
        returns: match model.balancer.forwarding {
            Forwarding::Nat => Returns::ToDip,
            Forwarding::L2 | Forwarding::Ipip | Forwarding::Gue => Returns::ToVip,
        },
        lives: Lives::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::model;

    #[test]
    fn r30_networks_and_vips_are_spoken_to_from_the_dip() {
        let mut model = model(&["gw-1"]);
        model.network.peered.push("10.8.0.0/16".parse().unwrap());
        let inside = outbound(&model, &model.instances[0], BTreeMap::new()).inside;
        let inside: Vec<_> = inside.iter().map(ToString::to_string).collect();
        assert_eq!(inside, ["10.0.0.0/24", "10.8.0.0/16", "10.0.0.5/32", "203.0.113.5/32"]);
    }

    #[test]
    fn r21_what_is_served_is_no_flows_and_with_nat_answers_come_to_the_dip() {
        let mut model = model(&["gw-1"]);
        let of = |model: &Model| outbound(model, &model.instances[0], BTreeMap::new());
        let direct = of(&model);
        assert_eq!(direct.served, [(Protocol::Tcp, 3443)].into());
        assert_eq!((direct.returns, direct.backends.is_empty()), (Returns::ToVip, true));
        model.balancer.forwarding = Forwarding::Nat;
        let nat = of(&model);
        assert_eq!(nat.returns, Returns::ToDip);
        let ports = [10_080, 10_443, 13_443, 23_443].map(|port| (Protocol::Tcp, port));
        assert_eq!(nat.backends, ports.into());
    }
}
