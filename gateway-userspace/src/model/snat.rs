//! `[snat]`

use std::time::Duration;

/// By which ports of the public VIPs instances' own flows leave (R31, R34), where that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snat {
    /// Ports of each public VIP that each instance has in any case, a multiple of 8.
    pub ports_per_instance: u16,
    /// How long a block beyond these stays without a flow before it is given back.
    pub return_after: Duration,
}

impl Snat {
    /// R34: halved as the instances double.
    pub const fn default_ports(instances: usize) -> u16 {
        match instances {
            0..=50 => 1024,
            51..=100 => 512,
            101..=200 => 256,
            201..=400 => 128,
            401..=800 => 64,
            _ => 32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r34_the_default_is_halved_as_the_pool_doubles() {
        let ports = [1, 50, 51, 100, 101, 200, 201, 400, 401, 800, 801, 4000].map(Snat::default_ports);
        assert_eq!(ports, [1024, 1024, 512, 512, 256, 256, 128, 128, 64, 64, 32, 32]);
    }
}
