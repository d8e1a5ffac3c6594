//! `[probe]`

use std::{fmt, ops::RangeInclusive, time::Duration};

use super::HTTPS_PORT;

/// How instances are probed, and what follows (R81, R82).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is asked.
    pub kind: ProbeKind,
    /// In which version of HTTP.
    pub version: ProbeVersion,
    /// Which way it goes.
    pub via: Via,
    /// Asked on the instance's DIP; the proxy answers there.
    pub port: u16,
    /// Asked on the VIPs, where probes go there.
    pub vip_port: u16,
    /// The request's path, for http and https.
    pub path: String,
    /// The request's `Host`, and with https the name asked for in TLS; the instance's address where there is none.
    pub host: Option<String>,
    /// Which answers are good.
    pub status: StatusCodes,
    /// With https: whether the certificate has to be trusted and to name the host.
    pub verify: bool,
    /// From one probe to the next.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Good answers in a row that make an instance healthy.
    pub rise: u16,
    /// Bad ones in a row that make it unhealthy.
    pub fall: u16,
    /// What becomes of the flows of an instance that is down.
    pub on_down: OnDown,
    /// What becomes of new flows where all instances are down.
    pub all_down: AllDown,
    /// If more than this share of the instances is down, in per cent, the probes are not believed. 100: they always are.
    pub panic: u8,
    /// In which time a returning instance comes to its weight.
    pub slow_start: Duration,
    /// From one connection through the VIP to the next, beside probes that go another way. None: there are none.
    pub availability: Option<Duration>,
}

impl Probe {
    /// Whether connections are made through the VIP, as clients make them.
    pub fn uses_data_path(&self) -> bool {
        self.via == Via::Vip || self.availability.is_some()
    }
}

impl Default for Probe {
    /// What holds where the file says nothing.
    fn default() -> Self {
        Self {
            kind: ProbeKind::Http,
            version: ProbeVersion::Http11,
            via: Via::Instance,
            port: 8080,
            vip_port: HTTPS_PORT,
            path: "/status-0123456789abcdef".to_owned(),
            host: None,
            status: StatusCodes::default(),
            verify: false,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(1),
            rise: 2,
            fall: 3,
            on_down: OnDown::Auto,
            all_down: AllDown::Refuse,
            panic: 100,
            slow_start: Duration::ZERO,
            availability: None,
        }
    }
}

/// How a probe's request is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeVersion {
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

/// R81
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeKind {
    /// A connection.
    Tcp,
    /// A GET over plain HTTP.
    Http,
    /// A GET over TLS.
    Https,
}

impl fmt::Display for ProbeKind {
    /// As written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Https => "https",
        })
    }
}

/// Where a probe goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// To the instance's own address.
    Instance,
    /// To the VIP, as clients' packets go.
    Vip,
}

/// R82: what becomes of established flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDown {
    /// They go on.
    Keep,
    /// They are answered with RST.
    Reset,
    /// Reset where nothing answers at the instance's address, kept where something does.
    Auto,
}

/// R82: what becomes of new flows where all instances are down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AllDown {
    /// Dropped.
    Refuse,
    /// Spread as if all were up.
    AllUp,
}

/// Status codes of HTTP, as ranges that are not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusCodes(pub Vec<RangeInclusive<u16>>);

impl StatusCodes {
    /// Whether it is one of them.
    pub fn has(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.contains(&status))
    }
}

impl Default for StatusCodes {
    /// Success and redirection.
    fn default() -> Self {
        Self(vec![200..=399])
    }
}

impl fmt::Display for StatusCodes {
    /// As written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, range) in self.0.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { ", " })?;
            write!(f, "{}", range.start())?;
            if range.end() != range.start() {
                write!(f, "-{}", range.end())?;
            }
        }
        Ok(())
    }
}
