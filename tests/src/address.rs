//! Who has which address: the numbers of the picture in the crate's documentation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// The private VIPs.
pub const PRIVATE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
/// See [`PRIVATE`].
pub const PRIVATE6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, 5);
/// The public VIPs.
pub const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);
/// See [`PUBLIC`].
pub const PUBLIC6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 5);

/// The router, on the LAN.
pub const ROUTER: Station = Station::new(Net::Lan, 1);
/// The balancer.
pub const BALANCER: Station = Station::new(Net::Lan, 2);
/// A client on the link.
pub const CLIENT: Station = Station::new(Net::Lan, 99);
/// A client in a peered network, behind the router.
pub const ROUTED: Station = Station::new(Net::Peered, 20);
/// A client behind a tunnel, in a lab that has one.
pub const BRANCH: Station = Station::new(Net::Branch, 20);
/// A host of the internet.
pub const OUTSIDE: Station = Station::new(Net::Outside, 7);

/// The networks of the lab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Net {
    /// VIPs, DIPs, balancer, a client.
    Lan,
    /// The upstream services.
    Services,
    /// A peered network with a client.
    Peered,
    /// Another peered network, which a tunnel leads to.
    Branch,
    /// The internet.
    Outside,
}

impl Net {
    /// All of them; the router has the number 1 in each.
    pub const ALL: [Self; 5] = [Self::Lan, Self::Services, Self::Peered, Self::Branch, Self::Outside];

    /// The router's interface to it.
    pub const fn interface(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Services => "services",
            Self::Peered => "peered",
            Self::Branch => "branch",
            Self::Outside => "outside",
        }
    }
}

/// A host's place: its network and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Station {
    /// The network.
    pub net: Net,
    /// The last part of its addresses, spelled with the same decimal digits in IPv4 and IPv6.
    pub number: u8,
}

impl Station {
    /// The host of that number.
    pub const fn new(net: Net, number: u8) -> Self {
        Self { net, number }
    }

    /// The n-th instance, from 1.
    pub const fn instance(n: u8) -> Self {
        Self::new(Net::Lan, 10 + n)
    }

    /// Its address in a /24.
    pub const fn v4(self) -> Ipv4Addr {
        let [a, b, c] = match self.net {
            Net::Lan => [10, 0, 0],
            Net::Services => [10, 0, 1],
            Net::Peered => [10, 8, 0],
            Net::Branch => [10, 8, 1],
            Net::Outside => [198, 51, 100],
        };
        Ipv4Addr::new(a, b, c, self.number)
    }

    /// Its address in a /64.
    pub const fn v6(self) -> Ipv6Addr {
        let [a, b, c, d] = match self.net {
            Net::Lan => [0xfd00, 0, 0, 1],
            Net::Services => [0xfd00, 0, 0, 2],
            Net::Peered => [0xfd00, 0, 8, 1],
            Net::Branch => [0xfd00, 0, 8, 2],
            Net::Outside => [0x2001, 0xdb8, 0x100, 0],
        };
        // ::11 is written for 10.0.0.11, so that a reader sees at once who it is.
        let digits = self.number as u16;
        Ipv6Addr::new(a, b, c, d, 0, 0, 0, digits / 100 * 256 + digits / 10 % 10 * 16 + digits % 10)
    }

    /// Both.
    pub const fn addresses(self) -> [IpAddr; 2] {
        [IpAddr::V4(self.v4()), IpAddr::V6(self.v6())]
    }

    /// Its Ethernet address: locally administered, with the IPv4 address inside.
    pub const fn mac(self) -> Mac {
        let [a, b, c, d] = self.v4().octets();
        [2, 0, a, b, c, d]
    }
}

/// As `ip` writes it.
pub fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_spell_the_same_number() {
        for number in [1, 11, 20, 99, 123] {
            let station = Station::new(Net::Lan, number);
            assert!(station.v4().to_string().ends_with(&format!(".{number}")));
            assert!(station.v6().to_string().ends_with(&format!("::{number}")) || number == 1);
        }
        assert_eq!(Station::instance(1).v6().to_string(), "fd00:0:0:1::11");
    }
}
