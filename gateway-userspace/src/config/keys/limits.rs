//! `[proxy.limits]`

use super::Fallback::{Described, Written};
use super::Kind::{Duration, Whole};
use super::Table;
use super::tables::{HOUR, key};

/// Of phases that a client or an upstream draws out.
const MOMENT: u64 = 100;

/// What clients may have and send, and how long phases may take.
pub(super) const LIMITS: Table = Table {
    name: "proxy.limits",
    heading: "[proxy.limits]",
    meaning: "What clients may have and send, and how long each phase may take ([proxy.md](proxy.md#limits)). Numbers of connections and requests are an \
              instance's, shared out evenly among its cores. A change takes a restart of the proxy (SIGUSR2: without losing a connection).",
    keys: &[
        key(
            "connections",
            Whole(16, 10_000_000),
            Described("32,768 for each core"),
            "20000",
            "Clients' connections; never more than half of the descriptors that may be open allow. More are closed at once.",
        ),
        key(
            "connections_per_source",
            Whole(1, 10_000_000),
            Described("4,096 for each core"),
            "500",
            "The same of one IPv4 address or IPv6 /64. Many clients may be behind one address.",
        ),
        key(
            "requests",
            Whole(1, 10_000_000),
            Described("as many as come"),
            "5000",
            "Requests in flight to upstreams. Who finds as many gets 503 and `Retry-After`.",
        ),
        key(
            "queue_wait",
            Duration(10, HOUR),
            Written(r#""100ms""#),
            r#""50ms""#,
            "How long what a core has to do may wait for it. While it does for longer, a growing share of new requests gets 503 and `Retry-After`, so that the others stay fast.",
        ),
        key(
            "head_bytes",
            Whole(4_096, 262_144),
            Written("32768"),
            "16384",
            "Of a request's head; more gets 431.",
        ),
        key(
            "target_bytes",
            Whole(1_024, 65_536),
            Written("8192"),
            "4096",
            "Of a request's target; more gets 414. At most `head_bytes`.",
        ),
        key(
            "handshake",
            Duration(MOMENT, HOUR),
            Written(r#""10s""#),
            r#""5s""#,
            "TLS handshake, from accept.",
        ),
        key(
            "first_byte",
            Duration(MOMENT, HOUR),
            Written(r#""20s""#),
            r#""5s""#,
            "First byte of the first request.",
        ),
        key(
            "head",
            Duration(MOMENT, HOUR),
            Written(r#""10s""#),
            r#""5s""#,
            "A request's head, from its first byte.",
        ),
        key(
            "idle",
            Duration(MOMENT, HOUR),
            Written(r#""1m 15s""#),
            r#""30s""#,
            "Between two requests of a connection.",
        ),
        key(
            "request_body",
            Duration(MOMENT, HOUR),
            Written(r#""30s""#),
            r#""1m""#,
            "Without a byte of a request's body; 408.",
        ),
        key(
            "response",
            Duration(MOMENT, HOUR),
            Written(r#""30s""#),
            r#""1m""#,
            "Without the client taking a byte of an answer.",
        ),
        key(
            "upstream_connect",
            Duration(MOMENT, HOUR),
            Written(r#""5s""#),
            r#""2s""#,
            "A connection to an upstream, TLS included; 504.",
        ),
        key(
            "upstream_answer",
            Duration(MOMENT, HOUR),
            Written(r#""1m""#),
            r#""5m""#,
            "An upstream's answer, from the request's last byte; 504.",
        ),
        key(
            "upstream_body",
            Duration(MOMENT, HOUR),
            Written(r#""1m""#),
            r#""5m""#,
            "Without a byte of an answer's body, or without the upstream taking one of a request.",
        ),
        key(
            "upstream_idle",
            Duration(MOMENT, HOUR),
            Written(r#""30s""#),
            r#""10s""#,
            "How long an unused connection to an upstream is kept: less than the upstream does.",
        ),
    ],
};
