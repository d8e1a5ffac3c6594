//! Which blocks there are to give, and whose they are to give.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::blocks::{Block, Blocks};
use crate::model::{HTTP_PORT, HTTPS_PORT, MANAGEMENT_PORT};

/// Below it are the ports of services as the field knows them.
const FIRST: u16 = 1024;

/// The blocks of a public VIP that are given out: none with a port that is served there in any mode, so that an answer to an
/// outbound flow is never taken for a client's packet.
pub fn pool() -> Blocks {
    let served = [HTTP_PORT, HTTPS_PORT, MANAGEMENT_PORT].map(Block::of);
    (FIRST..=u16::MAX).step_by(8).map(Block::of).filter(|block| !served.contains(block)).collect()
}

/// One balancer's part of the pool. Each gives from its own alone, so that no two give the same block, without asking each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// How many balancers there are.
    balancers: usize,
    /// Which one this is.
    place: usize,
}

impl Share {
    /// Of the balancer that has one of `own`, among `balancers` as the file lists them, for a VIP of that family. Where the file
    /// lists none of that family, those of the other one count; where it lists none at all, there is one balancer.
    ///
    /// None: others are listed, and this one is not.
    pub fn of(balancers: &[IpAddr], own: &[IpAddr], vip: IpAddr) -> Option<Self> {
        let of_family = |v4: bool| balancers.iter().filter(|one| one.is_ipv4() == v4).collect::<Vec<_>>();
        let mut listed = of_family(vip.is_ipv4());
        if listed.is_empty() {
            listed = of_family(!vip.is_ipv4());
        }
        if listed.is_empty() {
            return Some(Self { balancers: 1, place: 0 });
        }
        // The order of the file, which all have alike.
        let place = listed.iter().position(|one| own.contains(one))?;
        Some(Self { balancers: listed.len(), place })
    }

    /// Eights of blocks in turn, so that what is given stays in long ranges.
    pub fn has(self, block: Block) -> bool {
        usize::from(block.index() / 8) % self.balancers == self.place
    }

    /// What of the pool is this balancer's to give.
    pub fn blocks(self) -> Blocks {
        pool().iter().filter(|&block| self.has(block)).collect()
    }

    /// This balancer's part of a number of blocks that all of them give together.
    pub const fn part(self, blocks: usize) -> usize {
        (blocks + self.balancers - 1 - self.place) / self.balancers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn r34_the_pool_has_no_port_that_is_served() {
        let pool = pool();
        for port in [0, 80, 443, 1023, 3440, 3443, 3447] {
            assert!(!pool.contains(Block::of(port)), "{port}");
        }
        for port in [1024, 3439, 3448, 61_440, u16::MAX] {
            assert!(pool.contains(Block::of(port)), "{port}");
        }
        assert_eq!(pool.len() * 8, 65_536 - 1024 - 8);
    }

    #[test]
    fn r74_each_block_is_one_balancers_to_give() {
        let (vip, balancers) =
            ("203.0.113.5".parse().unwrap(), addresses(&["10.0.0.2", "10.0.0.3", "fd00::2"]));
        let share = |own: &[&str]| Share::of(&balancers, &addresses(own), vip);
        let (one, other) = (share(&["10.0.0.2", "192.0.2.1"]).unwrap(), share(&["10.0.0.3"]).unwrap());
        assert!(one.blocks().and(&other.blocks()).is_empty());
        assert_eq!(one.blocks().or(&other.blocks()), pool());
        assert!(one.blocks().len().abs_diff(other.blocks().len()) <= 8);
        assert_eq!((one.part(7) + other.part(7), one.part(1), other.part(1)), (7, 1, 0));
        assert_eq!(share(&["10.0.0.4"]), None);
    }

    #[test]
    fn r74_a_family_without_balancers_of_its_own_counts_the_other_ones() {
        let own = addresses(&["10.0.0.3"]);
        let v6 = "2001:db8::5".parse().unwrap();
        let share = Share::of(&addresses(&["10.0.0.2", "10.0.0.3"]), &own, v6).unwrap();
        assert_eq!(share, Share { balancers: 2, place: 1 });
        assert_eq!(Share::of(&[], &own, v6).unwrap().blocks(), pool());
    }
}
