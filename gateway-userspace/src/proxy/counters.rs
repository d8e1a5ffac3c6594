//! How connections and requests ended, counted per worker and summed at exit.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

macro_rules! outcomes {
    ($($(#[$doc:meta])* $name:ident = $word:literal $text:literal,)*) => {
        /// How a connection or a request ended.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Outcome { $($(#[$doc])* $name,)* }

        impl Outcome {
            /// Each, with its words for people.
            pub const ALL: &[(Self, &str)] = &[$((Self::$name, $text),)*];

            /// For programs.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

outcomes! {
    /// A connection was accepted.
    Connection = "connection" "connections",
    /// A connection was closed at once: too many in all or of its source.
    TooManyConnections = "too_many_connections" "over the connection limit",
    /// A connection was cut, at the end of a drain or of the proxy.
    Cut = "cut" "cut at the end",
    /// A source that has to begin with the PROXY protocol did not.
    ProxyHeaderRefused = "proxy_header_refused" "without a PROXY protocol header",
    /// The ClientHello had no name, or an unknown one.
    NameRefused = "name_refused" "names refused in TLS",
    /// The handshake failed or took too long.
    HandshakeFailed = "handshake_failed" "handshakes failed",
    /// The gate refused a request, or its body never became whole: 400, 405, 408, 413, 414, 417, 431, 501, 505.
    Refused = "refused" "requests refused",
    /// 421
    Misdirected = "misdirected" "misdirected requests",
    /// The status path.
    Status = "status" "status requests",
    /// A balancer asked about flows.
    Observed = "observed" "questions of balancers",
    /// 308
    Redirected = "redirected" "redirects",
    /// 404: no route, or a probe for something else.
    NotFound = "not_found" "without a route",
    /// A connection was passed through to an upstream.
    PassedThrough = "passed_through" "passed through",
    /// An upstream's answer was passed on.
    Forwarded = "forwarded" "forwarded",
    /// 502
    UpstreamFailed = "upstream_failed" "upstream failures",
    /// 504
    UpstreamTimeout = "upstream_timeout" "upstream timeouts",
    /// 503: an upstream's limits, or no address of it is known.
    UpstreamBusy = "upstream_busy" "over an upstream's limits or without its address",
    /// 503: the proxy itself has more to do than time, or as many requests in flight as it may.
    Overloaded = "overloaded" "turned away in overload",
    /// The client was gone, or its connection was cut, before there was an answer.
    Unanswered = "unanswered" "ended before an answer",
}

/// One number an [`Outcome`].
#[derive(Debug, Default)]
pub struct Counters([AtomicU64; Outcome::ALL.len()]);

impl Counters {
    /// One more.
    pub fn count(&self, outcome: Outcome) {
        self.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many so far.
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize].load(Ordering::Relaxed)
    }
}

/// The sum over workers, as a line of text.
pub struct Sum<'a>(pub &'a [&'a Counters]);

impl fmt::Display for Sum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (outcome, text)) in Outcome::ALL.iter().enumerate() {
            let sum: u64 = self.0.iter().map(|counters| counters.get(*outcome)).sum();
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{sum} {text}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_name_every_outcome() {
        let (a, b) = (Counters::default(), Counters::default());
        a.count(Outcome::Forwarded);
        b.count(Outcome::Forwarded);
        let line = Sum(&[&a, &b]).to_string();
        assert!(line.starts_with("0 connections, ") && line.contains(", 2 forwarded, "), "{line}");
    }
}
