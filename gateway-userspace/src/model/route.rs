//! `[[endpoint]] routes`

use std::{fmt, time::Duration};

use http::{HeaderName, StatusCode};

use super::{FieldChanges, Probe, ProbeKind, ProbeVersion, StatusCodes, Upstream};

/// What becomes of requests below a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Begins with `/`; matches whole segments: `/orders` matches `/orders` and `/orders/1`, not `/ordersx`.
    pub path: String,
    /// Where they go.
    pub action: Action,
    /// Of what clients get from it.
    pub response_headers: FieldChanges,
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// To an upstream.
    Forward(Backend),
    /// Back, with another place to ask.
    Redirect(Redirect),
}

/// Upstreams of a path, and what they see of its requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Backend {
    /// The upstreams by location, the nearest first; at least one.
    pub locations: Vec<Location>,
    /// How one of the upstreams is chosen.
    pub balance: Balance,
    /// Which path they see.
    pub prefix: Prefix,
    /// Of what they see.
    pub request_headers: FieldChanges,
    /// The most bytes of a request's body, if they are bounded.
    pub max_body: Option<u64>,
}

/// What becomes of the route's path in that of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prefix {
    /// It stays.
    #[default]
    Keep,
    /// It is taken off: `/orders/1` below `/orders` becomes `/1`.
    Strip,
}

/// Another place to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// A URL of http or https.
    pub to: String,
    /// 301, 302, 307 or 308.
    pub status: StatusCode,
    /// What of the request goes into it.
    pub rest: Rest,
}

/// What lies below the route's path, and the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rest {
    /// Is left out.
    #[default]
    Drop,
    /// Follows the URL, which has no query.
    Append,
}

impl Route {
    /// The most upstreams of a route.
    pub const MOST_UPSTREAMS: usize = 64;

    /// Of all locations; a redirect has none.
    pub fn upstreams(&self) -> impl Iterator<Item = &Upstream> {
        let backend = match &self.action {
            Action::Forward(backend) => Some(backend),
            Action::Redirect(_) => None,
        };
        backend.into_iter().flat_map(|backend| &backend.locations).flat_map(|location| &location.upstream)
    }
}

impl fmt::Display for Route {
    /// On one line, for people who compare two of them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> ", self.path)?;
        match &self.action {
            Action::Forward(backend) => write!(f, "{backend}")?,
            Action::Redirect(redirect) => write!(f, "{redirect}")?,
        }
        if self.response_headers.is_empty() {
            Ok(())
        } else {
            write!(f, ", answers {}", self.response_headers)
        }
    }
}

impl fmt::Display for Redirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest = if self.rest == Rest::Append { "…" } else { "" };
        write!(f, "{} {}{rest}", self.status.as_u16(), self.to)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, location) in self.locations.iter().enumerate() {
            let or = if place == 0 { "" } else { ", or " };
            write!(f, "{or}{location}")?;
        }
        if self.balance != Balance::LeastLoaded {
            write!(f, " by {}", self.balance)?;
        }
        if self.prefix == Prefix::Strip {
            f.write_str(", prefix stripped")?;
        }
        if let Some(bytes) = self.max_body {
            write!(f, ", bodies of at most {bytes} bytes")?;
        }
        if self.request_headers.is_empty() {
            Ok(())
        } else {
            write!(f, ", requests {}", self.request_headers)
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let upstream: Vec<_> = self.upstream.iter().map(ToString::to_string).collect();
        f.write_str(&upstream.join(" "))?;
        if let Some(name) = &self.name {
            write!(f, " ({name})")?;
        }
        if self.priority != 1 {
            write!(f, " priority {}", self.priority)?;
        }
        if let Some(tls) = self.upstream.iter().find_map(|upstream| upstream.tls.as_ref()) {
            write!(f, "{tls}")?;
        }
        if let Some(check) = &self.health {
            let every = humantime::format_duration(check.interval);
            write!(f, " probed at {} every {every}", check.path)?;
        }
        match &self.limits {
            None => Ok(()),
            Some(UpstreamLimits { requests, connections, pending, .. }) => {
                write!(f, ", {requests} requests and {pending} waiting each")?;
                connections.map_or(Ok(()), |most| write!(f, " on {most} connections"))
            }
        }
    }
}

impl fmt::Display for Balance {
    /// As written in the file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeastLoaded => f.write_str("least-loaded"),
            Self::RoundRobin => f.write_str("round-robin"),
            Self::HashHeader(name) => write!(f, "hash-header:{name}"),
            Self::HashCookie(name) => write!(f, "hash-cookie:{name}"),
        }
    }
}

/// Upstreams that stand together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// 1 is the nearest; the next one serves when nothing nearer is in service (R72).
    pub priority: u16,
    /// For people: where it is.
    pub name: Option<String>,
    /// At least one.
    pub upstream: Vec<Upstream>,
    /// How they are probed, if they are.
    pub health: Option<HealthCheck>,
    /// What each of them gets at once, if that is limited.
    pub limits: Option<UpstreamLimits>,
}

/// What an upstream gets at once from one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Requests in flight; over HTTP/1.1 each is on a connection of its own.
    pub requests: u16,
    /// Connections of HTTP/1.1, kept ones among them, if they are bounded; then there are no more requests in flight.
    pub connections: Option<u16>,
    /// Requests that wait for others to end.
    pub pending: u16,
    /// How long they do.
    pub wait: Duration,
}

/// How upstreams are probed: as instances are, with a GET.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for.
    pub path: String,
    /// The request's `Host`; where there is none the upstream's name, or its address. Over https also the name that the
    /// certificate has to have, unless the upstream's TLS has one of its own.
    pub host: Option<String>,
    /// Which answers are good.
    pub status: StatusCodes,
    /// From one probe to the next.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Good answers in a row that bring an upstream into service.
    pub rise: u16,
    /// Bad ones in a row that take it out.
    pub fall: u16,
}

impl HealthCheck {
    /// As a probe of an upstream.
    pub fn probe(&self, upstream: &Upstream) -> Probe {
        let kind = match upstream.scheme {
            UpstreamScheme::Tcp => ProbeKind::Tcp,
            UpstreamScheme::Http | UpstreamScheme::H2c => ProbeKind::Http,
            UpstreamScheme::Https | UpstreamScheme::H2 => ProbeKind::Https,
        };
        let version = if upstream.scheme.is_http2() { ProbeVersion::Http2 } else { ProbeVersion::Http11 };
        let Self { path, host, status, interval, timeout, rise, fall } = self.clone();
        Probe {
            kind,
            version,
            path,
            host: host.or_else(|| upstream.host().map(str::to_owned)),
            status,
            verify: kind == ProbeKind::Https,
            interval,
            timeout,
            rise,
            fall,
            ..Probe::default()
        }
    }
}

/// How one of several upstreams is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Balance {
    /// Of two taken at random the one with fewer requests in flight.
    #[default]
    LeastLoaded,
    /// One after the other.
    RoundRobin,
    /// The same one for the same value of a request's field.
    HashHeader(HeaderName),
    /// The same one for the same value of a cookie.
    HashCookie(String),
}

/// How an upstream is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UpstreamScheme {
    /// Whatever the client speaks: of passthrough endpoints.
    Tcp,
    /// Plain HTTP/1.1.
    Http,
    /// HTTP/1.1 over TLS.
    Https,
    /// Plain HTTP/2, by prior knowledge (RFC 9113, section 3.3).
    H2c,
    /// HTTP/2 over TLS.
    H2,
}

impl UpstreamScheme {
    /// As written in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Http => "http",
            Self::Https => "https",
            Self::H2c => "h2c",
            Self::H2 => "h2",
        }
    }

    /// Whether it shows a certificate.
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::H2)
    }

    /// Whether a connection is for many requests at once.
    pub fn is_http2(self) -> bool {
        matches!(self, Self::H2c | Self::H2)
    }
}
