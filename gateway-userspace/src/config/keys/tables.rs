//! The tables themselves.

use super::Fallback::{Described, Required, Written};
use super::Kind::{Duration, Inner, Inners, Switch, Text, Texts, Whole, Word};
use super::{Fallback, Key, Kind, Table, routes};

const SECOND: u64 = 1_000;
pub(super) const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;

pub(super) const fn key(
    name: &'static str,
    kind: Kind,
    default: Fallback,
    example: &'static str,
    meaning: &'static str,
) -> Key {
    Key { name, kind, default, meaning, example }
}

/// The file itself: its top-level tables.
pub const ROOT: Table = Table {
    name: "",
    heading: "",
    meaning: "",
    keys: &[
        key("service", Inner("service"), Required, "", "Names and mode"),
        key("network", Inner("network"), Required, "", "What counts as inside"),
        key("vip", Inner("vip"), Required, "", "The virtual addresses"),
        key("balancer", Inner("balancer"), Required, "", "How packets are spread"),
        key("instance", Inners("instance"), Required, "", "The hosts that serve"),
        key("probe", Inner("probe"), Described("as below"), "", "How instances are probed"),
        key("endpoint", Inners("endpoint"), Described("none"), "", "Roles, their names and routes"),
        key("proxy", Inner("proxy"), Described("as below"), "", "How the proxy answers"),
        key("snat", Inner("snat"), Described("as below"), "", "Source addresses of outbound flows"),
        key("dns", Inner("dns"), Described("as below"), "", "Records for the names"),
    ],
};

/// All tables, in the order in which they are documented.
pub const TABLES: &[Table] = &[
    Table {
        name: "service",
        heading: "[service]",
        meaning: "What the service is called and who may reach it.",
        keys: &[
            key(
                "name",
                Text("a service name"),
                Required,
                r#""contoso""#,
                "Default host names are made from it. A letter, then letters, digits and inner hyphens, at most 50 (R5).",
            ),
            key(
                "suffix",
                Text("a host name"),
                Written(r#""azure-api.net""#),
                r#""azure-api.net""#,
                "The domain suffix of the default host names (R42).",
            ),
            key(
                "mode",
                Word(&["internal", "external", "none"]),
                Written(r#""internal""#),
                r#""internal""#,
                "Who reaches the endpoints (R1, R2). `external` and `none` are not supported yet.",
            ),
        ],
    },
    Table {
        name: "network",
        heading: "[network]",
        meaning: "The prefixes from which a private VIP is answered (R2, R14).",
        keys: &[
            key(
                "subnet",
                Texts("a network prefix"),
                Required,
                r#"["10.0.0.0/24", "fd00:0:0:1::/64"]"#,
                "The private VIPs and the DIPs come from here (R10, R33). Inside.",
            ),
            key("vnet", Texts("a network prefix"), Written("[]"), r#"["10.0.0.0/16"]"#, "Inside."),
            key(
                "peered",
                Texts("a network prefix"),
                Written("[]"),
                r#"["10.8.0.0/16"]"#,
                "Inside too: peered networks, VPN.",
            ),
        ],
    },
    Table {
        name: "vip",
        heading: "[vip]",
        meaning: "The virtual addresses, at most 8 of a kind.",
        keys: &[
            key(
                "private",
                Texts("an IP address"),
                Required,
                r#"["10.0.0.5", "fd00:0:0:1::5"]"#,
                "Answered from inside on 443, 80 and 3443 (R10, R13, R14). At least one.",
            ),
            key(
                "public",
                Texts("an IP address"),
                Written("[]"),
                r#"["203.0.113.5"]"#,
                "Lets in the management endpoint on TCP 3443 and nothing else (R20).",
            ),
        ],
    },
    Table {
        name: "balancer",
        heading: "[balancer]",
        meaning: "How packets reach the instances.",
        keys: &[
            key(
                "interface",
                Text("an interface name"),
                Described("required, unless there are two"),
                r#""eth0""#,
                "Where clients' packets arrive; the program is attached here.",
            ),
            key(
                "inside",
                Text("an interface name"),
                Described("not set"),
                r#""eth1""#,
                "In place of `interface`, with `outside`: private VIPs are claimed here (R14).",
            ),
            key(
                "outside",
                Text("an interface name"),
                Described("not set"),
                r#""eth0""#,
                "In place of `interface`, with `inside`: public VIPs are claimed here; what comes here for a private VIP is dropped (R14).",
            ),
            key(
                "forwarding",
                Word(&["l2", "ipip", "gue", "nat"]),
                Written(r#""l2""#),
                r#""l2""#,
                "How a packet travels to its instance. `l2`: with another destination MAC, on the same link; `ipip` and `gue`: inside another packet, across routers too; `nat`: with another destination address, and the replies come back through the balancer.",
            ),
            key(
                "address",
                Texts("an IP address"),
                Described("none; required unless `forwarding` is `l2`"),
                r#"["10.0.0.2", "fd00:0:0:1::2"]"#,
                "The own addresses of all balancers of the service, one at least of each family that DIPs have. `ipip`, `gue`: instances unpack what comes from here and nothing else; `nat`: the instances' replies go here.",
            ),
            key(
                "affinity",
                Word(&["five-tuple", "three-tuple", "source-address"]),
                Written(r#""five-tuple""#),
                r#""five-tuple""#,
                "Which fields of a packet choose the instance (R80): `five-tuple` all addresses and ports, `three-tuple` addresses and protocol, `source-address` the addresses alone.",
            ),
            key(
                "management_sources",
                Texts("a network prefix"),
                Written("[]"),
                r#"["198.51.100.0/24"]"#,
                "Who may reach the public VIP's port 3443 (R20f); empty: everyone.",
            ),
            key(
                "drain",
                Duration(0, 30 * DAY),
                Written(r#""1h""#),
                r#""1h""#,
                "How long an instance that is `down` or gone may keep its flows (R83).",
            ),
            key(
                "admin",
                Text("an IP address with port"),
                Written(r#""127.0.0.1:9180""#),
                r#""127.0.0.1:9180""#,
                "Where the API listens over TCP. Without tokens only a loopback address can be read from, and nothing can be changed. A change takes a restart.",
            ),
            key(
                "tokens",
                Text("a path"),
                Described("none"),
                r#""tokens""#,
                "The file of tokens for the API over TCP, one a line, as `gateway token` prints them; read anew for each request. Its mode keeps others out (0600 or 0640). Relative to the folder of this file.",
            ),
            key(
                "seed",
                Text("any text"),
                Described("the service's name"),
                r#""contoso""#,
                "Seeds ring and flow hash; the same on every balancer of a service, which then choose alike.",
            ),
        ],
    },
    Table {
        name: "instance",
        heading: "[[instance]]",
        meaning: "A host that runs the proxy; at least one, at most 4,000.",
        keys: &[
            key(
                "name",
                Text("an instance name"),
                Required,
                r#""gw-1""#,
                "Unique. Letters, digits, `-`, `_` and `.`, at most 63.",
            ),
            key(
                "dip",
                Texts("an IP address"),
                Required,
                r#"["10.0.0.11", "fd00:0:0:1::11"]"#,
                "Its own addresses, at most one a family, from the subnet (R33).",
            ),
            key(
                "weight",
                Whole(1, 65_535),
                Written("100"),
                "100",
                "Its share of new flows against the others' (R11).",
            ),
            key(
                "admin_state",
                Word(&["auto", "up", "down"]),
                Written(r#""auto""#),
                r#""auto""#,
                "`auto`: the probe decides; `up`: in service whatever it says, for hosts that answer no probe too; `down`: no new flows (R83).",
            ),
        ],
    },
    Table {
        name: "probe",
        heading: "[probe]",
        meaning: "How the balancer probes instances, each on a connection of its own (R81), and what follows (R82).",
        keys: &[
            key(
                "kind",
                Word(&["tcp", "http", "https"]),
                Described("`http`; with `via = \"vip\"` `https`, or `http` on port 80"),
                r#""http""#,
                "A connection, a GET, or a GET over TLS. `gateway proxy` answers all three on `port`.",
            ),
            key(
                "via",
                Word(&["instance", "vip"]),
                Written(r#""instance""#),
                r#""instance""#,
                "`instance`: from the balancer's own address to the instance's. `vip`: to the VIPs, the way of a client's packets, and the instance has to answer at the first private VIP of each address family. [operations.md](operations.md#probes-through-the-data-path) says what that needs.",
            ),
            key(
                "port",
                Whole(1, 65_535),
                Written("8080"),
                "8080",
                "On the instance's DIP; not 80, 443 or 3443, nor with `nat` a port that stands for one of them.",
            ),
            key(
                "vip_port",
                Whole(1, 65_535),
                Written("443"),
                "443",
                "On the VIPs, with `via = \"vip\"` and `availability`: 443, 3443, or 80 where it is served.",
            ),
            key(
                "path",
                Text("a path"),
                Written(r#""/status-0123456789abcdef""#),
                r#""/status-0123456789abcdef""#,
                "What is asked for (R46), with `http` and `https`.",
            ),
            key(
                "host",
                Text("a host name"),
                Described(
                    "the instance's address; with `via = \"vip\"` the first name that is served on `vip_port`",
                ),
                r#""contoso.azure-api.net""#,
                "The request's `Host`; with `https` also the name asked for in TLS (SNI).",
            ),
            key(
                "status",
                Text("status codes"),
                Written(r#""200-399""#),
                r#""200-299, 401""#,
                "Answers that are good: codes and ranges, separated by commas.",
            ),
            key(
                "verify",
                Switch,
                Written("false"),
                "false",
                "With `https`: whether the certificate has to name `host` and to be trusted by the system (`SSL_CERT_FILE`: by that file). Otherwise any will do: a probe asks whether an instance works, and one certificate that expires must not take all of them out.",
            ),
            key(
                "interval",
                Duration(100, HOUR),
                Written(r#""2s""#),
                r#""2s""#,
                "From one probe to the next.",
            ),
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
                "Good answers in a row that make an instance healthy.",
            ),
            key("fall", Whole(1, 100), Written("3"), "3", "Bad answers in a row that make it unhealthy."),
            key(
                "on_down",
                Word(&["keep", "reset", "auto"]),
                Written(r#""auto""#),
                r#""auto""#,
                "What becomes of the flows of an instance that is down (R82). `keep`: they go on; `reset`: they are answered with RST; `auto`: reset once nothing answers at its address, kept while something does, be it a refusal.",
            ),
            key(
                "all_down",
                Word(&["refuse", "all-up"]),
                Written(r#""refuse""#),
                r#""refuse""#,
                "New flows where all instances are down (R82). `refuse`: dropped; `all-up`: spread as if all were up.",
            ),
            key(
                "panic",
                Whole(1, 100),
                Written("100"),
                "50",
                "If more than this share of the probed instances is down at once, in per cent, the probes are not believed: all instances count as up, whatever `all_down` says. 100: the probes are always believed.",
            ),
            key(
                "slow_start",
                Duration(0, HOUR),
                Written(r#""0s""#),
                r#""30s""#,
                "How long an instance that returns, or is added while others serve, takes to come to its weight, in eight steps. `0s`: at once.",
            ),
            key(
                "availability",
                Duration(1_000, HOUR),
                Described("none: only probes with `via = \"vip\"` are counted"),
                r#""10s""#,
                "Every so often a TCP connection through each private VIP to each instance, in band and whatever its health (R84): what share of them comes about is in status and metrics. With `via = \"vip\"` the probes are such connections themselves.",
            ),
        ],
    },
    Table {
        name: "endpoint",
        heading: "[[endpoint]]",
        meaning: "A role, its names, its certificate and where its requests go; one a role, besides those with `mode = \"passthrough\"`.",
        keys: &[
            key(
                "role",
                Word(&["gateway", "portal", "developer", "management", "scm"]),
                Required,
                r#""gateway""#,
                "R42. Only `management` is served on port 3443.",
            ),
            key(
                "hosts",
                Texts("a host name"),
                Written("[]"),
                r#"["api.contoso.com", "*.api.contoso.com"]"#,
                "Custom names; `*.` matches one label (R44).",
            ),
            key(
                "default_host",
                Switch,
                Written("true"),
                "true",
                "Whether it answers to its default name too (not with `passthrough`, unless it is written): `contoso.azure-api.net` for `gateway`, `contoso.portal.azure-api.net` for `portal` and so on (R42, R44).",
            ),
            key(
                "mode",
                Word(&["terminate", "passthrough"]),
                Written(r#""terminate""#),
                r#""passthrough""#,
                "Where TLS ends. `terminate`: here. `passthrough`: at `upstream`, by the name asked for in the ClientHello; any number of such endpoints, beside the role's own.",
            ),
            key(
                "certificate",
                Inner("endpoint.certificate"),
                Described("required, but for `passthrough`"),
                r#"{ chain = "tls/api.pem", key = "tls/api.key" }"#,
                "What is shown to clients of these names (R45).",
            ),
            key(
                "routes",
                Inners("endpoint.routes"),
                Described("required, but for `passthrough`"),
                r#"[{ path = "/", upstream = ["http://10.0.1.20:8080"] }]"#,
                "Where requests go; the longest matching path wins. (Without routes `management` will lead to `balancer.admin`: not supported yet.)",
            ),
            key(
                "upstream",
                Texts("an upstream"),
                Described("required with `passthrough`"),
                r#"["tcp://10.0.1.40:443", "tcp://10.0.1.41:443"]"#,
                "With `passthrough`: where connections go, `tcp://HOST:PORT`. Of two taken at random the one with fewer connections; if it takes none, another one. At most 64.",
            ),
            key(
                "proxy_protocol",
                Word(&["none", "v2"]),
                Written(r#""none""#),
                r#""v2""#,
                "With `passthrough`: what upstreams are told of the client, in front of its bytes. `v2`: the client's address and the VIP's, in the PROXY protocol.",
            ),
        ],
    },
    Table {
        name: "endpoint.certificate",
        heading: "[[endpoint]] certificate",
        meaning: "PEM files. Relative paths are relative to the folder of the configuration file. `gateway check` reads them.",
        keys: &[
            key(
                "chain",
                Text("a path"),
                Required,
                r#""tls/api.pem""#,
                "The leaf first, then the intermediate certificates.",
            ),
            key(
                "key",
                Text("a path"),
                Required,
                r#""tls/api.key""#,
                "PKCS#8, PKCS#1 or SEC1, not encrypted.",
            ),
        ],
    },
    routes::ROUTES,
    routes::HEALTH,
    routes::LIMITS,
    routes::TLS,
    routes::TLS_CERTIFICATE,
    routes::REDIRECT,
    routes::REQUEST_HEADERS,
    routes::RESPONSE_HEADERS,
    Table {
        name: "proxy",
        heading: "[proxy]",
        meaning: "How the proxy answers.",
        keys: &[
            key(
                "no_sni",
                Word(&["reject", "default-certificate"]),
                Written(r#""reject""#),
                r#""reject""#,
                "What a client without a usable SNI gets (R40): the fatal alert `unrecognized_name`, or the `gateway` endpoint's certificate.",
            ),
            key(
                "http",
                Word(&["redirect", "serve", "off"]),
                Written(r#""redirect""#),
                r#""redirect""#,
                "What port 80 of the VIPs does (R13): a redirect to https; `serve`: what port 443 serves, in plain text for whoever is in between to \
                 read; `off`: it is closed.",
            ),
            key(
                "proxy_protocol_from",
                Texts("a network prefix"),
                Written("[]"),
                r#"["10.0.3.0/28"]"#,
                "Proxies whose connections begin with the PROXY protocol, version 1 or 2: the client that they name counts as the client. From these it is required, from others it is never read. Not for the probe's port.",
            ),
            key(
                "resolver",
                Texts("an IP address, with or without a port"),
                Described("as `/etc/resolv.conf` says"),
                r#"["10.0.0.2"]"#,
                "Who is asked for the addresses of upstreams that have names. `/etc/hosts` goes first in any case; search domains are those of \
                 `/etc/resolv.conf` where it is in use. Both are read at each reload.",
            ),
            key(
                "access_log",
                Inner("proxy.access_log"),
                Described("none is written"),
                r#"{ path = "/var/log/gateway/access.log" }"#,
                "A line for each request.",
            ),
            key(
                "metrics_sources",
                Texts("a prefix"),
                Written("[]"),
                r#"["10.0.3.0/24"]"#,
                "Who may read an instance's metrics, `http://DIP:probe.port/metrics`, besides its balancers (`balancer.address`, or where \
                 that is empty `network.subnet`).",
            ),
        ],
    },
    Table {
        name: "proxy.access_log",
        heading: "[proxy.access_log]",
        meaning: "Lines are written some at a time, within a second; where the disk is slower than requests come, lines are lost and \
                  counted, and no request waits. A file that was put away (logrotate) is made anew within a second, without a signal.",
        keys: &[
            key(
                "path",
                Text("a path"),
                Required,
                r#""/var/log/gateway/access.log""#,
                "The file, mode 0640 where it is made. Relative to this file's folder.",
            ),
            key(
                "format",
                Word(&["json", "combined"]),
                Written(r#""json""#),
                r#""combined""#,
                "An object a line, or what Apache and nginx call combined.",
            ),
            key(
                "query",
                Switch,
                Written("false"),
                "true",
                "Whether query strings are written, also those of `Referer`. They may have secrets in them.",
            ),
        ],
    },
    Table {
        name: "snat",
        heading: "[snat]",
        meaning: "Source addresses of outbound flows (R30 to R34).",
        keys: &[
            key("enabled", Switch, Written("false"), "false", "`true` is not supported yet."),
            key(
                "ports_per_instance",
                Whole(8, 64_000),
                Written("1024"),
                "1024",
                "Preallocated SNAT ports, a multiple of 8 (R34).",
            ),
        ],
    },
    Table {
        name: "dns",
        heading: "[dns]",
        meaning: "Records for the names (R50 to R54).",
        keys: &[
            key("serve", Switch, Written("false"), "false", "`true` is not supported yet."),
            key(
                "forward",
                Texts("an IP address"),
                Written("[]"),
                r#"["10.0.0.2"]"#,
                "Where other questions go. Not supported yet.",
            ),
        ],
    },
];
