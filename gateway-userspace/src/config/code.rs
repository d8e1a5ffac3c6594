//! The stable codes of everything that can be wrong with a file: one table, from which the code and its documentation
//! come. A number is never given to another meaning: 7 is none any more.

use std::fmt;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The file is refused.
    Fault,
    /// The file is taken; something in it may not do what its author expects.
    Warning,
}

macro_rules! codes {
    ($($name:ident = $number:literal, $severity:ident, $title:literal, $remedy:literal;)*) => {
        /// What is wrong, as a stable code: `C012`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u16)]
        pub enum Code {
            $(#[doc = $title] $name = $number,)*
        }

        impl Code {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Whether the file is refused for it.
            pub fn severity(self) -> Severity {
                match self { $(Self::$name => Severity::$severity,)* }
            }

            /// What is wrong, in a few words.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// What is behind it and what to do, for the documentation.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$name => $remedy,)* }
            }
        }
    };
}

codes! {
    Unreadable = 1, Fault, "file cannot be read",
        "Check the path given with `--config` and the file's permissions; the file must be UTF-8.";
    Syntax = 2, Fault, "not valid TOML",
        "The caret is where the parser stopped understanding. Strings need quotes, lists brackets, tables a header.";
    UnknownKey = 3, Fault, "unknown key or table",
        "Mostly a slip of the pen; the nearest known key is suggested. Unknown keys are refused so that none is silently ignored.";
    WrongType = 4, Fault, "wrong type",
        "For example a string where a number is expected: `weight = 50`, not `weight = \"50\"`.";
    MissingKey = 5, Fault, "missing key",
        "A key without a default has to be there, and a list that must not be empty needs an entry.";
    UnknownWord = 6, Fault, "unknown value",
        "The key takes one of a few words only.";
    OutOfRange = 8, Fault, "out of range",
        "A number, a duration or the length of a list is below its least or above its greatest value.";
    BadDuration = 9, Fault, "not a duration",
        "Write a number with its unit: `500ms`, `2s`, `1h 30m`, `1d`.";
    BadAddress = 10, Fault, "not an IP address",
        "Write a plain IPv4 or IPv6 address, without a prefix length or port (`balancer.admin` has a port).";
    BadPrefix = 11, Fault, "not a network prefix",
        "Write an address and a length: `10.0.0.0/24`, `fd00::/64`.";
    HostBits = 12, Fault, "prefix with host bits set",
        "`10.0.0.5/24` names a host, not a network; the network meant is suggested.";
    GivenTwice = 13, Fault, "given twice",
        "Remove one of the two; the first one is shown beside it.";
    ServiceName = 14, Fault, "service name",
        "R5: it begins with a letter, goes on with letters, digits and hyphens, does not end with a hyphen and has at most 50 characters, because it becomes a label of host names.";
    VipOutsideSubnet = 15, Fault, "private VIP outside the subnet",
        "R10: a private VIP is claimed on the link of `network.subnet`; an address from elsewhere would never be asked for there.";
    ReservedAddress = 16, Fault, "address that no host can have",
        "R10: network and broadcast addresses, the subnet-router anycast address, loopback, multicast, unspecified, link-local and IPv4-mapped addresses.";
    AddressClash = 17, Fault, "address with two uses",
        "R10: a VIP is neither an instance's DIP nor a VIP of the other kind, and a balancer's own address is none of them.";
    DipOutsideSubnet = 18, Fault, "DIP outside the subnet",
        "R33: an instance's own address comes from `network.subnet`.";
    DipTaken = 19, Fault, "DIP of another instance",
        "R33: a DIP belongs to one instance.";
    DipFamilyTwice = 20, Fault, "two DIPs of one address family",
        "R33: an instance has one DIP a family, so at most one IPv4 and one IPv6 address.";
    InstanceName = 21, Fault, "instance name",
        "Letters, digits, `-`, `_` and `.`, beginning with a letter or digit, at most 63 characters.";
    InterfaceName = 22, Fault, "interface name",
        "What `ip link` shows: 1 to 15 bytes without spaces, `/` and `:`.";
    HostName = 23, Fault, "host name",
        "RFC 1123: labels of letters, digits and inner hyphens, at most 63 characters each and 253 in all; names in other scripts as `xn--…`.";
    HostIsAddress = 24, Fault, "IP address as host name",
        "R40: nothing is served to a bare IP, in whatever spelling.";
    Wildcard = 25, Fault, "wildcard",
        "R44: `*` stands for the whole first label and nothing else: `*.api.contoso.com`.";
    HostTaken = 26, Fault, "name on two roles",
        "R44: a name leads to one role; keep it at one of them.";
    NoHost = 27, Fault, "endpoint without a name",
        "With `default_host = false` an endpoint needs at least one name in `hosts`.";
    NoRoute = 28, Fault, "endpoint without a route",
        "Its requests would lead nowhere; give it `routes`.";
    RoutePath = 29, Fault, "route path",
        "It begins with `/` and has no `?`, `#`, spaces, empty segments or dot segments.";
    Upstream = 30, Fault, "upstream",
        "Write `http://HOST:PORT`, HOST being an IP address (IPv6 in brackets) or a DNS name, without a path: the request's path is kept.";
    ProbePort = 31, Fault, "probe port taken",
        "Ports 80, 443 and 3443 serve clients, and so do those that stand for them with `nat`; probes need one of their own.";
    ProbePath = 32, Fault, "probe path",
        "It begins with `/` and has visible ASCII characters only.";
    ProbeTimeout = 33, Fault, "probe timeout above its interval",
        "A probe has to be over before the next one begins.";
    DefaultCertificate = 34, Fault, "no certificate for clients without SNI",
        "`no_sni = \"default-certificate\"` shows the certificate of the `gateway` endpoint, so there has to be one.";
    Interfaces = 35, Fault, "the balancer's interfaces",
        "R14: either `interface`, or both `inside` and `outside`, which are two different ones.";
    BalancerAddress = 36, Fault, "a balancer's own address",
        "With `ipip`, `gue` and `nat` instances have to know their balancers: `balancer.address` has at least one address of each family that DIPs have, from `network.*`.";
    BackendPort = 37, Fault, "too many VIPs for nat",
        "With `nat` each VIP has ports of its own on the instances (its port + 10,000 on the first private VIP, + 20,000 on the first public one, + 20,000 more on each next one of the kind and family), and there are only 65,535.";
    DipFamilyMissing = 38, Fault, "no DIP of a VIP's address family",
        "With `nat` an address takes another's place, so an instance needs a DIP of each address family that VIPs have.";
    ProbeStatus = 39, Fault, "status codes of a probe",
        "Codes and ranges of HTTP status codes, separated by commas: `200-299, 401`.";
    CertificateUnreadable = 40, Fault, "certificate or key cannot be read",
        "Relative paths are relative to the folder of the configuration file. `gateway check` needs to be able to read the files.";
    CertificateNotPem = 41, Fault, "not a PEM certificate or key",
        "The chain file holds `BEGIN CERTIFICATE` blocks, leaf first; the key file one `BEGIN PRIVATE KEY` (or RSA, EC) block, not encrypted.";
    KeyMismatch = 42, Fault, "key does not fit the certificate",
        "The key file belongs to another certificate, or the leaf is not the chain file's first certificate.";
    NameNotCovered = 43, Fault, "certificate does not cover a name",
        "Clients would refuse it. Have it issued with that name among its subject alternative names; the common name does not count.";
    CertificateExpired = 44, Fault, "certificate not valid now",
        "It has expired or is not valid yet; renew it, or check the host's clock.";
    ProbeVip = 45, Fault, "probe through the VIP",
        "It goes to a port of the private VIPs, as a client's connection would: `https` to 443 or 3443 with a `host` that is served there, `http` to 80, `tcp` to any of them. And each instance needs a DIP of each address family that private VIPs have.";
    EndpointMode = 46, Fault, "key of another mode of endpoint",
        "With `mode = \"passthrough\"` TLS ends at the upstream: the endpoint has `upstream` (`tcp://HOST:PORT`) and `proxy_protocol`, and neither certificate nor routes, which an endpoint without it has.";
    ClientCertificate = 47, Fault, "clients' certificates",
        "`client_certificate` says whether clients show certificates of the authorities in `client_ca`, a PEM file with one at least.";
    ModeKey = 49, Fault, "key that this mode has no use for",
        "R1: with `mode = \"none\"` the service listens on the instances' own addresses. There are no VIPs, and no balancer that would keep anyone out, spread flows or probe instances: a firewall has to, where that is wanted.";
    FieldName = 50, Fault, "name of a field or cookie",
        "Letters, digits and ``!#$%&'*+-.^_`|~`` (a token of RFC 9110, section 5.6.2).";
    LaterRoute = 51, Fault, "key of a path at a later route",
        "Routes of the same path are locations of one set of upstreams. What holds for the path is written at the first of them.";
    FieldRefused = 52, Fault, "field that a route cannot change",
        "Fields of one connection (`Connection`, `Upgrade`, `TE` …) and of framing (`Content-Length`, `Transfer-Encoding`) are the proxy's. `Host` can be set in requests, not removed.";
    FieldValue = 53, Fault, "value of a field",
        "Visible ASCII characters with spaces between them, at most 4,096.";
    RedirectTarget = 54, Fault, "target of a redirect",
        "A whole URL of http or https, without a user's name or a fragment; with `append = true` without a query too.";
    RouteKeys = 55, Fault, "keys of a route that do not go together",
        "A route with `redirect` has no upstream and nothing that is said of one, and its path is given once. `strip_prefix` needs a path to strip.";
    UpstreamTls = 56, Fault, "TLS of an upstream without TLS",
        "What `tls` says would not be done for an upstream that is `http`: write `https`, or remove it.";
    AdminUnreachable = 57, Fault, "an API that instances do not reach",
        "A `management` endpoint without routes leads to `balancer.admin`. With several instances that has to be an address that other hosts reach, not a loopback one (which is the default).";
    BadSize = 58, Fault, "not a size",
        "Write a number with its unit: `512KiB`, `10MiB`, `1GiB`, `0B`.";
    NoEndpoint = 61, Warning, "no endpoint",
        "Without an `[[endpoint]]` the instances answer to no name at all.";
    NoManagement = 62, Warning, "public VIP without a management endpoint",
        "In internal mode the public VIP lets in TCP 3443 for the `management` endpoint only (R20), so nothing will be reachable on it.";
    ProbeKey = 63, Warning, "key of another kind of probe",
        "A `tcp` probe asks for nothing, and only `https` sees a certificate; probes with `via = \"vip\"` are counted as what `availability` would count, and without either nothing goes to `vip_port`. Change `probe.kind` or `probe.via`, or remove the key.";
    AdminWithoutTokens = 70, Warning, "an API that nobody can use",
        "`balancer.admin` is not a loopback address, so whoever asks there needs a token of the file `balancer.tokens`, and there is none; the same holds for a `management` endpoint that leads to it. The Unix socket on the balancer's host works all the same.";
    DnsForward = 72, Fault, "DNS forwarded to ourselves",
        "`dns.forward` names who knows all other names. A VIP or an instance there would ask itself, and the question would go round.";
    DnsPort = 73, Fault, "the name server's port is taken",
        "With `dns.serve` port 53 of the private VIPs answers DNS, and so does what stands for it with `nat` (10053 on the first private VIP). Give the other one another port.";
    DnsKey = 74, Warning, "key of a name server that is off",
        "`dns.forward` and `dns.rate` are for who answers DNS: the instances where `dns.serve` is on, and `gateway dns serve` on a host of its own.";
    Snat = 75, Fault, "SNAT without what it takes",
        "R31, R34: outbound flows leave with the address of a public VIP, by ports that balancers lease to instances: so there has to be a public VIP and, with several instances, `balancer.address`, from where leases are taken and by which balancers share the ports.";
    SnatFamily = 76, Warning, "no public VIP of a DIP's address family",
        "R31: a packet keeps its family, so outbound flows of that one leave with the instances' own addresses, and their answers only come back where these are routed.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "C{:03}", *self as u16)
    }
}
