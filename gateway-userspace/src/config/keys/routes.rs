//! `[[endpoint]] routes` and the tables in it.

use super::Fallback::{Described, Required, Written};
use super::Kind::{Duration, Inner, Pairs, Switch, Text, Texts, Whole};
use super::Table;
use super::tables::{HOUR, key};

/// What becomes of requests below a path.
pub(super) const ROUTES: Table = Table {
    name: "endpoint.routes",
    heading: "[[endpoint]] routes",
    meaning: "Requests below a path and where they go (R71). Routes of the same path are locations, of which the nearest that \
              is in service serves (R72). A route with many keys reads better as `[[endpoint.routes]]`.",
    keys: &[
        key(
            "path",
            Text("a path"),
            Required,
            r#""/orders""#,
            "Matches whole segments: `/orders` matches `/orders` and `/orders/1`, not `/ordersx`. A trailing `/` means nothing.",
        ),
        key(
            "upstream",
            Texts("an upstream"),
            Described("required, unless there is a `redirect`"),
            r#"["http://10.0.1.20:8080", "http://10.0.1.21:8080"]"#,
            "`http://HOST:PORT` or `https://HOST:PORT`, HTTP/2 by `h2c://` (plain, prior knowledge) and `h2://` (over TLS); HOST is an IP address or a DNS name. \
             A name stands for each address that it has (A and AAAA), and is followed as these change. Over TLS the upstream's certificate has to name HOST and be trusted by the system \
             (`SSL_CERT_FILE`: by that file), unless `tls` says otherwise. At most 64 for a path.",
        ),
        key(
            "location",
            Text("any text"),
            Described("not set"),
            r#""on-premises""#,
            "For people: where the upstreams stand.",
        ),
        key(
            "priority",
            Whole(1, 100),
            Written("1"),
            "2",
            "Among routes of the same path: 1 is the nearest; the next one serves while nothing nearer is in service (R72).",
        ),
        key(
            "health",
            Inner("endpoint.routes.health"),
            Described("not probed"),
            r#"{ path = "/healthz" }"#,
            "How this route's upstreams are probed; who is down gets no requests while others of the path are up.",
        ),
        key(
            "limits",
            Inner("endpoint.routes.limits"),
            Described("none"),
            "{ requests = 200 }",
            "What each of this route's upstreams gets at once from an instance.",
        ),
        key(
            "tls",
            Inner("endpoint.routes.tls"),
            Described("what the system trusts, HOST as name, no certificate shown"),
            r#"{ ca = "tls/internal-ca.pem", server_name = "orders.internal" }"#,
            "How TLS is spoken to this route's upstreams, which are `https` then. Connections are shared among routes that say the same.",
        ),
        key(
            "balance",
            Text("`least-loaded`, `round-robin`, `hash-header:NAME` or `hash-cookie:NAME`"),
            Written(r#""least-loaded""#),
            r#""hash-cookie:session""#,
            "Which of the nearest upstreams gets a request. `least-loaded`: of two taken at random the one with fewer requests in flight; \
             `hash-…`: the same value of the field or cookie, the same upstream as long as it is in service; a request without \
             it as with `least-loaded`. Of the path: at its first route.",
        ),
        key(
            "strip_prefix",
            Switch,
            Written("false"),
            "true",
            "Whether upstreams see the path without the route's: `/orders/1?x` as `/1?x`, with `X-Forwarded-Prefix: /orders`. They get it with \
             `.`, `..` and percent-encoded letters resolved; a path that could be read in two ways below `/` is answered with 400. Of the path: \
             at its first route.",
        ),
        key(
            "max_body",
            Text("a size"),
            Described("none"),
            r#""10MiB""#,
            "The most bytes of a request's body; more gets 413, before anything is sent where the request says so itself. Of the path: at its first route.",
        ),
        key(
            "request_headers",
            Inner("endpoint.routes.request_headers"),
            Described("as they are"),
            r#"{ set = { X-Team = "orders" }, remove = ["Cookie"] }"#,
            "What is changed of requests' header fields. Of the path: at its first route.",
        ),
        key(
            "response_headers",
            Inner("endpoint.routes.response_headers"),
            Described("as they are"),
            r#"{ set = { Strict-Transport-Security = "max-age=31536000" }, remove = ["Server"] }"#,
            "What is changed of answers' header fields. Of the path: at its first route.",
        ),
        key(
            "redirect",
            Inner("endpoint.routes.redirect"),
            Described("none"),
            r#"{ to = "https://www.contoso.com/new", status = 308 }"#,
            "In place of `upstream`: clients are led to another place.",
        ),
    ],
};

/// Probes of upstreams.
pub(super) const HEALTH: Table = Table {
    name: "endpoint.routes.health",
    heading: "[[endpoint]] routes.health",
    meaning: "A GET to each upstream, from each instance, on a connection of its own. Over https the certificate is verified.",
    keys: &[
        key("path", Text("a path"), Required, r#""/healthz""#, "What is asked for."),
        key(
            "host",
            Text("a host name"),
            Described("the upstream's address"),
            r#""orders.contoso.com""#,
            "The request's `Host`; over https also the name asked for in TLS (SNI).",
        ),
        key("status", Text("status codes"), Written(r#""200-399""#), r#""200-299, 401""#, "Good answers."),
        key("interval", Duration(100, HOUR), Written(r#""2s""#), r#""2s""#, "From one probe to the next."),
        key(
            "timeout",
            Duration(10, HOUR),
            Written(r#""1s""#),
            r#""1s""#,
            "How long an answer may take; at most the interval.",
        ),
        key(
            "rise",
            Whole(1, 100),
            Written("2"),
            "2",
            "Good answers in a row that bring an upstream into service.",
        ),
        key("fall", Whole(1, 100), Written("3"), "3", "Bad answers in a row that take it out."),
    ],
};

/// Probes of what is passed through.
pub(super) const CONNECT_HEALTH: Table = Table {
    name: "endpoint.health",
    heading: "[[endpoint]] health",
    meaning: "A connection to each upstream of `passthrough`, from each instance: nothing is said on it.",
    keys: &[
        key("interval", Duration(100, HOUR), Written(r#""2s""#), r#""2s""#, "From one probe to the next."),
        key(
            "timeout",
            Duration(10, HOUR),
            Written(r#""1s""#),
            r#""1s""#,
            "How long a connection may take; at most the interval.",
        ),
        key(
            "rise",
            Whole(1, 100),
            Written("2"),
            "2",
            "Connections in a row that bring an upstream into service.",
        ),
        key("fall", Whole(1, 100), Written("3"), "3", "Failures in a row that take it out."),
    ],
};

/// What an upstream gets at once.
pub(super) const LIMITS: Table = Table {
    name: "endpoint.routes.limits",
    heading: "[[endpoint]] routes.limits",
    meaning: "For each upstream and instance, all cores together. Who is turned away gets 503 and `Retry-After`.",
    keys: &[
        key(
            "requests",
            Whole(1, 65_535),
            Described("required, unless there is `connections`"),
            "200",
            "Requests in flight. Who has as many gets another one only if all others of the nearest have too.",
        ),
        key(
            "connections",
            Whole(1, 65_535),
            Described("as many as there are requests"),
            "100",
            "Connections, kept ones among them. Over HTTP/1.1 each request in flight has one of its own, so that there are no more of these either; not for HTTP/2, where requests share them.",
        ),
        key(
            "pending",
            Whole(0, 65_535),
            Written("100"),
            "100",
            "Requests that wait for one in flight to end.",
        ),
        key("wait", Duration(0, HOUR), Written(r#""1s""#), r#""1s""#, "How long they wait at most."),
    ],
};

/// TLS to upstreams.
pub(super) const TLS: Table = Table {
    name: "endpoint.routes.tls",
    heading: "[[endpoint]] routes.tls",
    meaning: "TLS towards upstreams, and in their probes. `gateway check` reads the files; a reload takes up changed ones for new connections.",
    keys: &[
        key(
            "ca",
            Text("a path"),
            Described("what the system trusts"),
            r#""tls/internal-ca.pem""#,
            "PEM certificates of those who may have issued an upstream's, in place of the system's.",
        ),
        key(
            "server_name",
            Text("a host name"),
            Described("the upstream's HOST"),
            r#""orders.internal""#,
            "The name that is asked for (SNI) and that the certificate has to have.",
        ),
        key(
            "certificate",
            Inner("endpoint.routes.tls.certificate"),
            Described("none"),
            r#"{ chain = "tls/client.pem", key = "tls/client.key" }"#,
            "What upstreams are shown that ask for a certificate (mTLS).",
        ),
    ],
};

/// What upstreams are shown.
pub(super) const TLS_CERTIFICATE: Table = Table {
    name: "endpoint.routes.tls.certificate",
    heading: "[[endpoint]] routes.tls.certificate",
    meaning: "PEM files. Relative paths are relative to the folder of the configuration file.",
    keys: &[
        key(
            "chain",
            Text("a path"),
            Required,
            r#""tls/client.pem""#,
            "The leaf first, then the intermediate certificates.",
        ),
        key("key", Text("a path"), Required, r#""tls/client.key""#, "PKCS#8, PKCS#1 or SEC1, not encrypted."),
    ],
};

/// Another place to ask.
pub(super) const REDIRECT: Table = Table {
    name: "endpoint.routes.redirect",
    heading: "[[endpoint]] routes.redirect",
    meaning: "Leads clients to another place.",
    keys: &[
        key("to", Text("a URL"), Required, r#""https://www.contoso.com/new""#, "Where to."),
        key(
            "status",
            Whole(301, 308),
            Written("307"),
            "308",
            "308 and 307 keep the method, 301 and 302 turn most into GET; 308 and 301 are for ever, and clients remember them.",
        ),
        key(
            "append",
            Switch,
            Written("false"),
            "true",
            "Whether what lies below the route's path, and the query, follow `to`.",
        ),
    ],
};

/// Fields of requests.
pub(super) const REQUEST_HEADERS: Table = Table {
    name: "endpoint.routes.request_headers",
    heading: "[[endpoint]] routes.request_headers",
    meaning: "After the proxy's own changes, so `X-Forwarded-For` and the like can be changed too; not fields of one connection or of framing.",
    keys: &[
        key(
            "set",
            Pairs("a field and its value"),
            Described("none"),
            r#"{ X-Team = "orders", Host = "orders.internal" }"#,
            "In place of what a request has of these.",
        ),
        key("remove", Texts("a field's name"), Written("[]"), r#"["Cookie"]"#, "All of these; not `Host`."),
    ],
};

/// Fields of answers.
pub(super) const RESPONSE_HEADERS: Table = Table {
    name: "endpoint.routes.response_headers",
    heading: "[[endpoint]] routes.response_headers",
    meaning: "Of answers of the route's upstreams, and of its redirect; the proxy's own answers (502 and the like) stay as they are.",
    keys: &[
        key(
            "set",
            Pairs("a field and its value"),
            Described("none"),
            r#"{ Strict-Transport-Security = "max-age=31536000" }"#,
            "In place of what an answer has of these.",
        ),
        key(
            "remove",
            Texts("a field's name"),
            Written("[]"),
            r#"["Server", "X-Powered-By"]"#,
            "All of these.",
        ),
    ],
};
