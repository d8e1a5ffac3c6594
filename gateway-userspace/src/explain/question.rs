//! What is asked: a packet by its ends, and the request in it.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use clap::ValueEnum;
use gateway_ebpf::headers::{TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A packet, and the request in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The client.
    pub from: End,
    /// A VIP, or whatever address.
    pub to: End,
    /// What is above IP.
    pub protocol: Protocol,
    /// Of TCP.
    pub flags: Flags,
    /// Bytes of the IP packet; None: its headers alone.
    pub size: Option<u16>,
    /// By which interface of the balancer it comes; None: by the one that leads to those who may reach the VIP.
    pub interface: Option<String>,
    /// The host name in the request.
    pub host: Option<String>,
    /// That of TLS, where it is another one; empty: none.
    pub sni: Option<String>,
    /// Begins with `/`.
    pub path: String,
}

/// An address, and a port where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The address.
    pub ip: IpAddr,
    /// The port, if one was named.
    pub port: Option<u16>,
}

impl FromStr for End {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(end) = text.parse::<SocketAddr>() {
            return Ok(Self { ip: end.ip(), port: Some(end.port()) });
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        let ip = bare.parse().map_err(|_| "an IP address and a port: 10.0.0.99:40000 or [fd00::99]:40000")?;
        Ok(Self { ip, port: None })
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.ip, port).fmt(f),
            None => self.ip.fmt(f),
        }
    }
}

/// What is above IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// A segment.
    Tcp,
    /// A datagram.
    Udp,
    /// An echo request.
    Icmp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Icmp => "ICMP echo request",
        })
    }
}

/// TCP's, of those that decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    const NAMES: [(&'static str, u8); 4] =
        [("syn", TCP_SYN), ("ack", TCP_ACK), ("rst", TCP_RST), ("fin", TCP_FIN)];

    /// By name, in the order above.
    pub fn names(self) -> Vec<&'static str> {
        Self::NAMES.iter().filter(|(_, bit)| self.0 & bit != 0).map(|(name, _)| *name).collect()
    }
}

impl Default for Flags {
    fn default() -> Self {
        Self(TCP_SYN)
    }
}

impl FromStr for Flags {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut flags = 0;
        for word in text.split([',', '+']).map(str::trim).filter(|word| !word.is_empty()) {
            let known = Self::NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
            flags |= known.ok_or_else(|| format!("`{word}` is none of syn, ack, rst, fin"))?.1;
        }
        Ok(Self(flags))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_flags_are_read_as_people_write_them() {
        let end = |text: &str| text.parse::<End>().map(|end| end.to_string());
        for (text, shown) in [
            ("10.0.0.5:443", "10.0.0.5:443"),
            ("10.0.0.5", "10.0.0.5"),
            ("[fd00::5]:443", "[fd00::5]:443"),
            ("[fd00::5]", "fd00::5"),
            ("fd00::5", "fd00::5"),
        ] {
            assert_eq!(end(text).as_deref(), Ok(shown));
        }
        for wrong in ["", "gateway", "10.0.0.5:", "10.0.0.5:99999"] {
            assert!(end(wrong).is_err(), "{wrong}");
        }
        assert_eq!("syn,ACK".parse::<Flags>().unwrap().names(), ["syn", "ack"]);
        assert_eq!("".parse::<Flags>().unwrap().names(), [""; 0]);
        assert!("psh".parse::<Flags>().unwrap_err().contains("syn, ack, rst, fin"));
    }
}
