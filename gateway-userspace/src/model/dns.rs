//! `[dns]`

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{Mode, Model};

/// The port of the DNS, over UDP and TCP.
pub const DNS_PORT: u16 = 53;

/// `[dns]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Whether the instances answer on the private VIPs (R52).
    pub serve: bool,
    /// Whom they ask for names that are not ours; empty: such questions are refused.
    pub forward: Vec<SocketAddr>,
    /// How long resolvers may keep what they have heard.
    pub ttl: Duration,
    /// The servers that NS records name; empty: each name stands for itself.
    pub name_servers: Vec<String>,
    /// Of SOA records; none: the time of the file's last change.
    pub serial: Option<u32>,
    /// Questions a second that one source may ask.
    pub rate: u32,
}

impl Default for Dns {
    fn default() -> Self {
        Self {
            serve: false,
            forward: Vec::new(),
            ttl: Duration::from_mins(1),
            name_servers: Vec::new(),
            serial: None,
            rate: 10_000,
        }
    }
}

impl Model {
    /// What the names lead to: where clients enter (R54).
    pub fn entrances(&self) -> Vec<IpAddr> {
        match self.service.mode {
            Mode::Internal => self.vip.private.clone(),
            Mode::External => self.vip.public.clone(),
            Mode::None => self.instances.iter().flat_map(|instance| &instance.dip).copied().collect(),
        }
    }

    /// Whether questions of the DNS are answered at that VIP: only those who are inside may ask (R3).
    pub fn answers_dns(&self, vip: IpAddr) -> bool {
        self.dns.serve && self.vip.private.contains(&vip)
    }
}
