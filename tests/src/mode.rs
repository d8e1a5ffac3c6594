//! The ways in which packets reach the instances.

/// One of them. Each carries both families; where there is an outer packet, its family is a choice of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// With another destination MAC.
    L2,
    /// With another destination address.
    Nat,
    /// Inside an IPv4 packet: 4in4 and 6in4.
    Ipip4,
    /// Inside an IPv6 packet: 4in6 and 6in6.
    Ipip6,
    /// Inside UDP over IPv4.
    Gue4,
    /// Inside UDP over IPv6.
    Gue6,
}

impl Mode {
    /// The file's word for it.
    pub const fn forwarding(self) -> &'static str {
        match self {
            Self::L2 => "l2",
            Self::Nat => "nat",
            Self::Ipip4 | Self::Ipip6 => "ipip",
            Self::Gue4 | Self::Gue6 => "gue",
        }
    }

    /// Whether instances are reached by their IPv6 addresses.
    pub const fn outer_is_v6(self) -> bool {
        matches!(self, Self::Ipip6 | Self::Gue6)
    }
}
