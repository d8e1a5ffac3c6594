//! The plan as tables of the host: what decides in the kernel decides here too.

use gateway_ebpf::host::HostTables;

use super::{Plan, RING};

impl From<&Plan> for HostTables {
    fn from(plan: &Plan) -> Self {
        let mut tables = Self { config: plan.config, ..Self::default() };
        for (&slot, &vip) in &plan.vips {
            tables.vips[slot as usize] = vip;
        }
        for (&slot, &service) in &plan.services {
            tables.services[slot as usize] = service;
        }
        for (&number, &set) in &plan.sources {
            tables.sources[usize::from(number)] = set;
        }
        for (&number, &instance) in &plan.instances {
            tables.instances[usize::from(number)] = instance;
        }
        tables.rings[RING as usize].clone_from(&plan.ring);
        tables
    }
}
