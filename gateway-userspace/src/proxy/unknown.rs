//! R41: the client learns nothing; the operator's log has what was asked for and the nearest configured name.

use std::{
    fmt,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{host::Asked, routes::Routes};

/// So many lines may come at once …
const BURST: u32 = 10;
/// … and one more each so often: scanners of the internet must not fill the log.
const INTERVAL: Duration = Duration::from_secs(6);
/// The longest host name there is (RFC 1035); longer ones are cut in the log.
const LONGEST: usize = 253;

/// A log of names that are not served, limited in rate.
#[derive(Debug)]
pub struct UnknownLog(Mutex<Bucket>);

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

#[derive(Debug)]
struct Bucket {
    tokens: u32,
    filled: Instant,
    suppressed: u64,
}

impl Default for UnknownLog {
    fn default() -> Self {
        Self(Mutex::new(Bucket { tokens: BURST, filled: Instant::now(), suppressed: 0 }))
    }
}

impl UnknownLog {
    /// Logs one line, unless there were too many lately.
    pub fn note(&self, unknown: Unknown<'_>, routes: &Routes) {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        let Some(suppressed) = taken else { return };
        let advice = match unknown.asked {
            Asked::Name(name) => advice(name, routes),
            Asked::Address | Asked::Nothing => String::new(),
        };
        let more = if suppressed > 0 {
            format!(" ({suppressed} more like this were not logged)")
        } else {
            String::new()
        };
        log::info!("not served: {unknown}{advice}{more}");
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

impl Bucket {
    /// A token, worth the number of lines suppressed since the last one.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let intervals = now.saturating_duration_since(self.filled).as_millis() / INTERVAL.as_millis();
        let intervals = u32::try_from(intervals).unwrap_or(u32::MAX);
        if intervals > 0 {
            self.tokens = self.tokens.saturating_add(intervals).min(BURST);
            self.filled = now;
        }
        let Some(left) = self.tokens.checked_sub(1) else {
            self.suppressed += 1;
            return None;
        };
        self.tokens = left;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_counted_not_logged() {
        let start = Instant::now();
        let mut bucket = Bucket { tokens: BURST, filled: start, suppressed: 0 };
        let logged = (0..100).filter(|_| bucket.take(start).is_some()).count();
        assert_eq!(logged, BURST as usize);
        assert_eq!(bucket.take(start + INTERVAL), Some(90));
        assert_eq!(bucket.take(start + INTERVAL), None);
        assert_eq!(bucket.take(start + 3 * INTERVAL), Some(1));
    }
}
