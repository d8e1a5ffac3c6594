//! The bucket of a connection, told from the instance's end of it.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

use gateway_ebpf::{
    address::{self, Flow},
    steer,
};
use network_types::ip::IpProto;

use super::{affinity_mask, services, services::ServedPort, vip_salt};
use crate::model::{Affinity, Model};

/// What an instance serves for the VIPs, and how each balancer steers what comes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// By the address at the instance's end.
    services: HashMap<SocketAddr, Service>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Service {
    salt: u64,
    /// The VIP's port.
    port: u16,
}

impl Served {
    /// The VIPs' services; with `nat` also the ports of `dips`, the instance's own addresses, that stand for them.
    pub fn of(model: &Model, dips: &[IpAddr]) -> Self {
        let mut all = HashMap::new();
        // Of UDP there is nothing that lives: it follows its bucket's owner of now.
        let tcp = services::ports(model).filter(|served| served.protocol == IpProto::Tcp);
        for ServedPort { vip, port, .. } in tcp {
            let service = Service { salt: vip_salt(&model.balancer.seed, vip), port };
            all.insert(SocketAddr::new(vip, port), service);
            if let Some(backend) = services::backend_port(model, vip, port) {
                let same_family = dips.iter().filter(|dip| dip.is_ipv4() == vip.is_ipv4());
                all.extend(same_family.map(|dip| (SocketAddr::new(*dip, backend), service)));
            }
        }
        Self { services: all }
    }

    /// The bucket of a client's connection to `local`. None: that is no VIP's service.
    pub fn bucket(&self, local: SocketAddr, client: SocketAddr, affinity: Affinity) -> Option<u32> {
        let service = self.services.get(&local)?;
        let flow = Flow {
            source: client.ip().into(),
            ports: address::ports(client.port(), service.port),
            protocol: IpProto::Tcp as u8,
        };
        Some(steer::bucket_of(flow.hash(service.salt, affinity_mask(affinity))))
    }
}

#[cfg(test)]
mod tests {
    use gateway_ebpf::{host::HostTables, layout::Bucket, pipeline::balance};

    use super::super::tests::{desired, model, syn};
    use super::*;
    use crate::{model::AdminState, model::Forwarding, plan::plan};

    #[test]
    fn the_bucket_is_the_one_by_which_the_pipeline_steers() {
        for affinity in [Affinity::FiveTuple, Affinity::ThreeTuple, Affinity::SourceAddress] {
            let mut model = model(&[("gw-1", 100, AdminState::Auto), ("gw-2", 100, AdminState::Auto)]);
            model.balancer.affinity = affinity;
            let served = Served::of(&model, &[]);
            let plan = plan(&desired(model), None).unwrap();
            let [one, other] =
                [1, 2].map(|n| plan.numbers.values().copied().find(|&number| number == n).unwrap());
            for (last, vip, port) in
                [(7, [10, 0, 0, 5], 443), (8, [10, 0, 0, 5], 80), (9, [203, 0, 113, 5], 3443)]
            {
                let source = [10, 0, 7, last];
                let client = SocketAddr::new(source.into(), 50_000);
                let bucket = served.bucket(SocketAddr::new(vip.into(), port), client, affinity).unwrap();
                // All buckets are one instance's, and this one the other's.
                let mut tables = HostTables::from(&plan);
                tables.block.ring.fill(Bucket::settled(one).0);
                tables.block.ring[bucket as usize] = Bucket::settled(other).0;
                balance(&mut syn(source, vip, port), &tables);
                let counters = tables.counters.borrow();
                assert_eq!(counters.instances.keys().copied().collect::<Vec<_>>(), [other], "{affinity:?}");
            }
        }
    }

    #[test]
    fn with_nat_an_instances_own_ports_stand_for_the_vips() {
        let mut model = model(&[("gw-1", 100, AdminState::Auto)]);
        model.balancer.forwarding = Forwarding::Nat;
        let dip: IpAddr = "10.0.0.11".parse().unwrap();
        let served = Served::of(&model, &[dip]);
        let bucket = |local: &str| {
            let client = "10.0.7.7:50000".parse().unwrap();
            served.bucket(local.parse().unwrap(), client, Affinity::FiveTuple)
        };
        for (vip, own) in [
            ("10.0.0.5:443", "10.0.0.11:10443"),
            ("10.0.0.5:80", "10.0.0.11:10080"),
            ("203.0.113.5:3443", "10.0.0.11:23443"),
        ] {
            assert!(bucket(vip).is_some() && bucket(vip) == bucket(own), "{vip} {own}");
        }
        for other in ["10.0.0.11:443", "10.0.0.11:8080", "203.0.113.5:443", "10.0.0.5:22"] {
            assert_eq!(bucket(other), None, "{other}");
        }
    }
}
