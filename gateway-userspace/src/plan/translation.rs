//! An instance's source NAT as the kernel's table: from which address, to whom, by which ports.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use gateway_ebpf::{
    address::Address,
    layout,
    snat::layout::{
        BLOCK_ACTIVE, BLOCK_DRAINING, BLOCK_NONE, BLOCK_PORTS, Life, PORT_BLOCKS, RETURN_TO_DIP, SERVED,
        SNAT_VIPS, Table, Vip, port_of, tick, vip_slot,
    },
};
use ipnet::IpNet;
use network_types::ip::IpProto;
use serde::{Deserialize, Serialize};

use super::{Error, sources};

/// Eight ports of a public VIP, those with the same `port >> 3`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(transparent)]
pub struct PortBlock(pub u16);

impl PortBlock {
    /// How many there are: all are below.
    pub const COUNT: u16 = PORT_BLOCKS as u16;

    /// Whose port this is.
    pub const fn of(port: u16) -> Self {
        Self(port / BLOCK_PORTS as u16)
    }

    /// The first of the eight.
    pub const fn first(self) -> u16 {
        self.0 * BLOCK_PORTS as u16
    }
}

impl fmt::Display for PortBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first(), self.first() + BLOCK_PORTS as u16 - 1)
    }
}

/// What a port is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP
    Tcp,
    /// UDP
    Udp,
    /// Echo requests, which have identifiers.
    Icmp,
}

impl Protocol {
    /// As IANA numbers it; ICMP for IPv4.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => IpProto::Tcp as u8,
            Self::Udp => IpProto::Udp as u8,
            Self::Icmp => IpProto::Icmp as u8,
        }
    }

    /// For people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        }
    }

    /// By IANA's number, ICMPv6 as ICMP.
    pub const fn of(number: u8) -> Option<Self> {
        const TCP: u8 = IpProto::Tcp as u8;
        const UDP: u8 = IpProto::Udp as u8;
        const ICMP: u8 = IpProto::Icmp as u8;
        const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;
        match number {
            TCP => Some(Self::Tcp),
            UDP => Some(Self::Udp),
            ICMP | ICMPV6 => Some(Self::Icmp),
            _ => None,
        }
    }
}

/// What one instance's source NAT goes by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Translation {
    /// The instance's own addresses, one of a family at most.
    pub dips: Vec<IpAddr>,
    /// Who is spoken to from the DIP (R30). What no router forwards is inside without being named: this host, the link, multicast.
    pub inside: Vec<IpNet>,
    /// By public VIP.
    pub leases: BTreeMap<IpAddr, Lease>,
    /// Ports that are served on VIPs, and never leased: what comes for them is not looked at.
    pub served: BTreeSet<(Protocol, u16)>,
    /// Ports of the DIP that clients reach by a balancer in nat mode ([`crate::model::Vips::backend_port`]): what leaves from them is
    /// for the balancer to give its VIP.
    pub backends: BTreeSet<(Protocol, u16)>,
    /// How answers come.
    pub returns: Returns,
    /// When idle flows are over.
    pub lives: Lives,
}

/// Which blocks of a VIP an instance has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lease {
    /// New flows get ports of these.
    pub active: BTreeSet<PortBlock>,
    /// Flows that are there go on, and none begins.
    pub draining: BTreeSet<PortBlock>,
}

/// Which destination answers have when the balancer has passed them on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Returns {
    /// The public VIP (l2, ipip, gue).
    #[default]
    ToVip,
    /// The DIP, and the port as it was (nat).
    ToDip,
}

/// Idle times. The defaults are the least that the standards allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lives {
    /// A TCP connection.
    pub established: Duration,
    /// One that begins or ends.
    pub transitory: Duration,
    /// A UDP flow.
    pub udp: Duration,
    /// A ping.
    pub icmp: Duration,
}

impl Default for Lives {
    fn default() -> Self {
        Self {
            established: Duration::from_secs(2 * 3600 + 4 * 60),
            transitory: Duration::from_secs(4 * 60),
            udp: Duration::from_secs(5 * 60),
            icmp: Duration::from_secs(60),
        }
    }
}

impl Translation {
    /// Makes `next` the table. VIPs that `running` has keep their places there, by which entries name them.
    ///
    /// # Errors
    /// Too many VIPs, ports or networks.
    pub fn write(&self, running: &Table, next: &mut Table) -> Result<(), Error> {
        next.dips = [true, false].map(|is_v4| {
            self.dips.iter().find(|dip| dip.is_ipv4() == is_v4).map_or(Address::default(), |&dip| dip.into())
        });
        next.flags = match self.returns {
            Returns::ToVip => 0,
            Returns::ToDip => RETURN_TO_DIP,
        };
        (next.seed, next.one) = (running.seed, 1);
        let Lives { established, transitory, udp, icmp } = self.lives;
        for (life, idle) in [
            (Life::Established, established),
            (Life::Transitory, transitory),
            (Life::Udp, udp),
            (Life::Icmp, icmp),
        ] {
            // Not a moment less: the tick of the last use may just have begun, and that of now.
            next.lives[life as usize] =
                u64::from(tick(u64::try_from(idle.as_nanos()).unwrap_or(u64::MAX))) + 2;
        }
        ports(&self.served, &mut next.served, "ports that are served on VIPs")?;
        ports(&self.backends, &mut next.backends, "ports that a balancer in nat mode serves")?;
        next.inside = sources::set(self.inside.iter().copied().chain(not_routed()))?;
        self.write_vips(running, next)
    }

    fn write_vips(&self, running: &Table, next: &mut Table) -> Result<(), Error> {
        let place_of = |vip: IpAddr| running.vips.iter().position(|known| known.address == vip.into());
        let mut free: BTreeSet<usize> = (0..SNAT_VIPS).collect();
        for place in self.leases.keys().filter_map(|&vip| place_of(vip)) {
            free.remove(&place);
        }
        // A place that is given up is not given away in the same step: entries may still name it.
        let is_rested = |place: &usize| running.vips[*place].address == Address::default();
        for vip in &mut next.vips {
            (vip.address, vip.count) = (Address::default(), 0);
            vip.active.fill(0);
            vip.states.fill(BLOCK_NONE);
        }
        for (&vip, lease) in &self.leases {
            let place = match place_of(vip) {
                Some(place) => place,
                None => {
                    let place = free.iter().copied().find(is_rested);
                    place.ok_or(Error::NoNumber { what: "public VIPs", limit: SNAT_VIPS as u32 })?
                }
            };
            free.remove(&place);
            lease.write(vip, &mut next.vips[place]);
        }
        let addresses: Vec<_> = (1..)
            .zip(&next.vips)
            .filter(|(_, vip)| vip.address != Address::default())
            .map(|(number, vip)| (number, vip.address))
            .collect();
        next.choices = [true, false].map(|is_v4| {
            let is_fit = |vip: &Vip| vip.count > 0 && address(vip.address).is_ipv4() == is_v4;
            let places = (0_u64..).zip(&next.vips).filter(|(_, vip)| is_fit(vip)).map(|(place, _)| place);
            (0..).zip(places).fold(0, |word, (nth, place)| (word + 1) | (place << (8 + 4 * nth)))
        });
        next.by_address.fill(0);
        next.vip_multiplier = multiplier(&addresses)?;
        for (number, address) in addresses {
            next.by_address[vip_slot(address, next.vip_multiplier)] = number;
        }
        Ok(())
    }
}

impl Lease {
    fn write(&self, address: IpAddr, vip: &mut Vip) {
        vip.address = address.into();
        // Port 0 is none.
        let known = |block: &&PortBlock| (1..PortBlock::COUNT).contains(&block.0);
        for block in self.draining.iter().filter(known) {
            vip.states[usize::from(block.0)] = BLOCK_DRAINING;
        }
        for (place, block) in vip.active.iter_mut().zip(self.active.iter().filter(known)) {
            *place = block.0;
            vip.states[usize::from(block.0)] = BLOCK_ACTIVE;
            vip.count += 1;
        }
    }

    /// What a table says.
    pub fn read(vip: &Vip) -> Self {
        let of = |wanted: u8| {
            let blocks = (0..).zip(&vip.states).filter(move |(_, state)| **state == wanted);
            blocks.map(|(block, _)| PortBlock(block)).collect()
        };
        Self { active: of(BLOCK_ACTIVE), draining: of(BLOCK_DRAINING) }
    }
}

/// The addresses of a table's VIPs, by place.
pub fn vips(table: &Table) -> impl Iterator<Item = (u8, IpAddr, &Vip)> {
    let used = (0..).zip(&table.vips).filter(|(_, vip)| vip.address != Address::default());
    used.map(|(place, vip)| (place, address(vip.address), vip))
}

/// As people write it.
pub fn address(address: Address) -> IpAddr {
    if address.hi == gateway_ebpf::address::V4 {
        Ipv4Addr::from_bits(address.lo as u32).into()
    } else {
        Ipv6Addr::from_bits(u128::from(address.hi) << 64 | u128::from(address.lo)).into()
    }
}

fn ports(
    ports: &BTreeSet<(Protocol, u16)>,
    table: &mut [u32; SERVED],
    what: &'static str,
) -> Result<(), Error> {
    if ports.len() > SERVED {
        return Err(Error::NoNumber { what, limit: SERVED as u32 });
    }
    table.fill(0);
    for (place, &(protocol, port)) in table.iter_mut().zip(ports) {
        *place = port_of(protocol.number(), port);
    }
    Ok(())
}

/// This host, this link, groups and everyone on the link (RFC 6890).
fn not_routed() -> impl Iterator<Item = IpNet> {
    let v4 = [([0, 0, 0, 0], 8), ([127, 0, 0, 0], 8), ([169, 254, 0, 0], 16), ([224, 0, 0, 0], 3)]
        .map(|(network, length)| (IpAddr::from(network), length));
    let v6 = [(0, 127), (0xfe80 << 112, 10), (0xff00 << 112, 8)]
        .map(|(network, length)| (IpAddr::from(Ipv6Addr::from_bits(network)), length));
    v4.into_iter().chain(v6).filter_map(|(network, length)| IpNet::new(network, length).ok())
}

fn multiplier(addresses: &[(u64, Address)]) -> Result<u64, Error> {
    (0..10_000u64)
        .map(|n| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * n + 1))
        .find(|&multiplier| {
            let slots: BTreeSet<_> =
                addresses.iter().map(|&(_, address)| vip_slot(address, multiplier)).collect();
            slots.len() == addresses.len()
        })
        .ok_or(Error::NoNumber { what: "public VIPs", limit: SNAT_VIPS as u32 })
}

const _: () = assert!(layout::family(false) == 1);
