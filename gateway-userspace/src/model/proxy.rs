//! `[proxy]`

use std::{net::SocketAddr, path::PathBuf};

use ipnet::IpNet;

use super::ProxyLimits;

/// `[proxy]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// What a ClientHello without a usable name gets (R40).
    pub no_sni: NoSni,
    /// What port 80 does (R13).
    pub http: PlainHttp,
    /// Whose connections begin with the PROXY protocol.
    pub proxy_protocol_from: Vec<IpNet>,
    /// What clients may have and send, and how long phases may take.
    pub limits: ProxyLimits,
    /// Who is asked for the addresses of upstreams that have names; empty: whom the system asks.
    pub resolver: Vec<SocketAddr>,
    /// From which instances make the keys of session tickets, if they share them.
    pub ticket_secret: Option<PathBuf>,
    /// None: no line is written.
    pub access_log: Option<AccessLog>,
    /// Who may ask an instance for its metrics, besides its balancers.
    pub metrics_sources: Vec<IpNet>,
}

/// `[proxy.access_log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// The file.
    pub path: PathBuf,
    /// What a line looks like.
    pub format: AccessLogFormat,
    /// Whether query strings are written, which may have secrets in them.
    pub query: bool,
}

/// What a line of the access log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// An object.
    Json,
    /// As Apache and nginx have it by that name.
    Combined,
}

/// What port 80 does (R13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainHttp {
    /// It redirects to https.
    Redirect,
    /// It serves what port 443 does, in plain text.
    Serve,
    /// Nothing: it is closed.
    Off,
}

impl PlainHttp {
    /// As written in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::Serve => "serve",
            Self::Off => "off",
        }
    }
}

/// R40
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSni {
    /// The fatal alert unrecognized_name.
    Reject,
    /// The gateway endpoint's certificate.
    DefaultCertificate,
}
