//! R41: the client learns nothing; the operator's log has what was asked for and the nearest configured name.

use std::{fmt, net::IpAddr};

use super::{host::Asked, rate::Rate, routes::Routes};

/// The longest host name there is (RFC 1035); longer ones are cut in the log.
const LONGEST: usize = 253;

/// A log of names that are not served, limited in rate.
#[derive(Debug, Default)]
pub struct UnknownLog(Rate);

/// A request or handshake that was turned away.
#[derive(Debug, Clone, Copy)]
pub struct Unknown<'a> {
    /// What was asked for.
    pub asked: &'a Asked<'a>,
    /// Who asked.
    pub peer: IpAddr,
    /// `TLS` or `HTTP`.
    pub over: &'static str,
    /// Our port.
    pub port: u16,
}

impl UnknownLog {
    /// Logs one line, unless there were too many lately.
    pub fn note(&self, unknown: Unknown<'_>, routes: &Routes) {
        let Some(suppressed) = self.0.take() else { return };
        let advice = match unknown.asked {
            Asked::Name(name) => advice(name, routes),
            Asked::Address | Asked::Nothing => String::new(),
        };
        log::info!("not served: {unknown}{advice}{suppressed}");
    }
}

/// What the operator might look at.
fn advice(name: &str, routes: &Routes) -> String {
    if let Some(role) = routes.role(name) {
        return format!("; it is a name of the {role} endpoint, but not here");
    }
    let nearest = if name.len() <= LONGEST { routes.nearest(name) } else { None };
    nearest.map(|name| format!("; the nearest configured name is {name}")).unwrap_or_default()
}

impl fmt::Display for Unknown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { asked, peer, over, port } = self;
        match asked {
            // Escaped: a name is whatever the client sent.
            Asked::Name(name) => write!(f, "{:?}", name.chars().take(LONGEST).collect::<String>())?,
            Asked::Address => f.write_str("a bare IP address")?,
            Asked::Nothing => f.write_str("no host name")?,
        }
        write!(f, " over {over} on port {port}, from {peer}")
    }
}
