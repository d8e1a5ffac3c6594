//! Each code, shown by a change to the example. In the new text `«` stands where the caret has to be.

use std::collections::BTreeSet;

use super::{EXAMPLE, NONE, check};
use crate::{
    config::code::{Code, Severity},
    model::{ProbeKind, Role, Route},
};

/// Replaces `from`, which is in the example once, by `to`, and wants exactly one finding: `code` at `«`.
#[track_caller]
fn finds(code: Code, from: &str, to: &str) {
    finds_all(&[code], from, to);
}

/// As [`finds`] for several findings, each at its own `«`, in order.
#[track_caller]
fn finds_all(codes: &[Code], from: &str, to: &str) {
    assert_eq!(EXAMPLE.matches(from).count(), 1, "`{from}` has to be in the example once");
    finds_in(codes, &EXAMPLE.replacen(from, to, 1));
}

#[track_caller]
fn finds_in(codes: &[Code], marked: &str) {
    let expected: Vec<_> = codes.iter().copied().zip(marks(marked)).collect();
    assert_eq!(expected.len(), codes.len(), "a mark is missing");
    let text = marked.replace('«', "");

    let (model, report) = check(&text);
    let found: Vec<_> = report.all().map(|f| (f.code(), report.position(f).unwrap_or_default())).collect();
    assert_eq!(found, expected, "\n{}", report.render(&annotate_snippets::Renderer::plain()));
    let refused = codes.iter().any(|code| code.severity() == Severity::Fault);
    assert_eq!(model.is_none(), refused, "a file with faults has no model, one with warnings has");
}

/// Line and column of each `«`, as if none were there.
fn marks(text: &str) -> Vec<(usize, usize)> {
    let mut marks = Vec::new();
    for (line, content) in text.lines().enumerate() {
        let columns = content.chars().enumerate().filter(|(_, c)| *c == '«').map(|(column, _)| column);
        marks.extend(columns.enumerate().map(|(earlier, column)| (line + 1, column + 1 - earlier)));
    }
    marks
}

const MODE: &str = r#"mode   = "internal""#;
const NAME: &str = r#"name   = "contoso" "#;
const SUBNET: &str = r#"subnet = ["10.0.0.0/24", "fd00:0:0:1::/64"]"#;
const VNET: &str = r#"vnet   = ["10.0.0.0/16"]"#;
const PRIVATE: &str = r#"private = ["10.0.0.5", "fd00:0:0:1::5"]"#;
const PUBLIC: &str = r#"public  = ["203.0.113.5"]"#;
const INTERFACE: &str = r#"interface  = "eth0""#;
const FORWARDING: &str = r#"forwarding = "l2""#;
const DRAIN: &str = r#"drain      = "1h""#;
const DIP_2: &str = r#"dip  = ["10.0.0.12", "fd00:0:0:1::12"]"#;
const NAME_2: &str = r#"name = "gw-2""#;
const WEIGHT: &str = "weight = 50 ";
const HOSTS: &str = r#"hosts = ["developer.contoso.com"]"#;
const SCM_ROUTES: &str = r#"routes = [{ path = "/", upstream = ["http://10.0.1.24:8080"] }]"#;
const SCM_CERTIFICATE: &str = r#"certificate = { chain = "tls/scm.pem", key = "tls/scm.key" }"#;
const PROBE: &str = "port = 8080";
const PROBE_TABLE: &str = "kind = \"http\"\nport = 8080\npath = \"/status-0123456789abcdef\"";
const PROXY: &str = "[proxy]";

#[test]
fn syntax() {
    finds(Code::Syntax, NAME, "name   = «contoso ");
    finds(Code::Syntax, DRAIN, "drain      = \"1h\"\n«drain      = \"2h\"");
    finds_all(&[Code::Syntax, Code::Syntax], DRAIN, "drain      = «1h\nseed = «two words");
}

#[test]
fn keys_and_types() {
    finds(Code::UnknownKey, NAME, "name = \"contoso\"\n«sufix = \"contoso.com\" ");
    finds(Code::UnknownKey, PROXY, "[«proxi]\n[proxy]");
    finds(
        Code::UnknownKey,
        SCM_ROUTES,
        r#"routes = [{ path = "/", upstream = ["http://10.0.1.24:8080"], «port = 1 }]"#,
    );
    finds(Code::WrongType, NAME, "name   = «5 ");
    finds(Code::WrongType, WEIGHT, "weight = «\"50\" ");
    finds(Code::WrongType, PRIVATE, r#"private = «"10.0.0.5""#);
    finds(Code::WrongType, PRIVATE, r#"private = ["10.0.0.5", «5]"#);
    finds(Code::WrongType, SCM_CERTIFICATE, "certificate = «5");
    finds(Code::WrongType, SCM_ROUTES, "routes = «\"http://10.0.1.24:8080\"");
    finds(Code::WrongType, SCM_ROUTES, "routes = [«5]");
    finds(Code::MissingKey, "[service]\nname   = \"contoso\"", "«[service]");
    finds(Code::UnknownWord, r#"mode   = "internal""#, "mode   = «\"inside\"");
}

#[test]
fn missing_keys_are_shown_at_their_table() {
    finds(Code::MissingKey, "[balancer]\ninterface  = \"eth0\"", "«[balancer]");
    finds(Code::MissingKey, SUBNET, "subnet = «[]");
    finds(Code::MissingKey, PRIVATE, "private = «[]");
    finds(Code::MissingKey, "[[instance]]\nname = \"gw-2\"", "«[[instance]]");
    finds(Code::MissingKey, DIP_2, "dip = «[]");
    finds(Code::MissingKey, "[[endpoint]]\nrole = \"scm\"", "«[[endpoint]]");
    finds(
        Code::MissingKey,
        "[[endpoint]]\nrole = \"scm\"\ncertificate = { chain = \"tls/scm.pem\", key = \"tls/scm.key\" }",
        "«[[endpoint]]\nrole = \"scm\"",
    );
    finds(Code::MissingKey, SCM_CERTIFICATE, "certificate = «{ chain = \"tls/scm.pem\" }");
    finds(Code::MissingKey, SCM_ROUTES, "routes = [«{ path = \"/\" }]");
    finds(Code::MissingKey, SCM_ROUTES, "routes = [{ path = \"/\", upstream = «[] }]");
}

#[test]
fn numbers_and_durations() {
    finds(Code::OutOfRange, WEIGHT, "weight = «0 ");
    finds(Code::OutOfRange, WEIGHT, "weight = «65536 ");
    finds(Code::OutOfRange, WEIGHT, "weight = «-1 ");
    finds(Code::OutOfRange, WEIGHT, "weight = «9223372036854775807 ");
    finds(Code::OutOfRange, PROBE, "port = «0");
    finds(Code::OutOfRange, DRAIN, "drain      = «\"31d\"");
    finds(Code::OutOfRange, PROXY, "[snat]\nports_per_instance = «1023\n[proxy]");
    finds(Code::BadDuration, DRAIN, "drain      = «\"5\"");
    finds(Code::BadDuration, DRAIN, "drain      = «5");
    finds(Code::BadDuration, DRAIN, "drain      = «\"soon\"");
}

#[test]
fn r5_service_name() {
    for name in ["", "5contoso", "con_toso", "contoso-", "käse", &"a".repeat(51)] {
        finds(Code::ServiceName, NAME, &format!("name = «\"{name}\" "));
    }
}

#[test]
fn prefixes() {
    finds(Code::BadPrefix, VNET, "vnet = [«\"10.0.0.0\"]");
    finds(Code::BadPrefix, VNET, "vnet = [«\"10.0.0.0/33\"]");
    finds_all(&[Code::HostBits, Code::HostBits], VNET, "vnet = [«\"10.0.0.5/16\", «\"fd00::1/64\"]");
}

#[test]
fn r10_vips() {
    finds(Code::BadAddress, PRIVATE, r#"private = [«"10.0.0.500"]"#);
    finds(Code::BadAddress, PRIVATE, r#"private = [«"10.0.0.5/24"]"#);
    finds(Code::BadAddress, PRIVATE, r#"private = [«"10.0.0.5:443"]"#);
    finds(Code::VipOutsideSubnet, PRIVATE, r#"private = ["10.0.0.5", «"10.0.1.5"]"#);
    for reserved in [
        "10.0.0.0",
        "10.0.0.255",
        "fd00:0:0:1::",
        "0.0.0.0",
        "127.0.0.1",
        "224.0.0.1",
        "169.254.0.1",
        "::ffff:10.0.0.5",
        "fe80::1",
    ] {
        finds(Code::ReservedAddress, PRIVATE, &format!("private = [\"10.0.0.5\", «\"{reserved}\"]"));
    }
    finds(Code::ReservedAddress, PUBLIC, r#"public = [«"10.0.0.255"]"#);
    finds(Code::AddressClash, PRIVATE, r#"private = [«"10.0.0.12"]"#);
    finds(Code::AddressClash, PUBLIC, r#"public = [«"10.0.0.12"]"#);
    finds(Code::AddressClash, PUBLIC, r#"public = [«"10.0.0.5"]"#);
    finds(Code::GivenTwice, PRIVATE, r#"private = ["10.0.0.5", «"10.0.0.5"]"#);
    let nine: Vec<_> = (20..29).map(|host| format!("\"10.0.0.{host}\"")).collect();
    finds(Code::OutOfRange, PRIVATE, &format!("private = «[{}]", nine.join(", ")));
}

#[test]
fn r33_dips() {
    finds(Code::DipOutsideSubnet, DIP_2, r#"dip = [«"10.0.1.12"]"#);
    finds(Code::ReservedAddress, DIP_2, r#"dip = [«"10.0.0.255"]"#);
    finds(Code::DipTaken, DIP_2, r#"dip = [«"10.0.0.11"]"#);
    finds(Code::GivenTwice, DIP_2, r#"dip = ["10.0.0.12", «"10.0.0.12"]"#);
    finds(Code::DipFamilyTwice, DIP_2, r#"dip = ["10.0.0.12", «"10.0.0.13"]"#);
}

#[test]
fn instances() {
    finds(Code::GivenTwice, NAME_2, "name = «\"gw-1\"");
    for name in ["", "-gw", "gw 2", "gw/2", &"g".repeat(64)] {
        finds(Code::InstanceName, NAME_2, &format!("name = «\"{name}\""));
    }
    // Two are in the example, 3,999 more are one too many.
    let more: String = (0..3_999)
        .map(|n| {
            let mark = if n == 3_998 { "«" } else { "" };
            format!("{mark}[[instance]]\nname = \"n{n}\"\ndip = [\"fd00:0:0:1::1:{n}\"]\n")
        })
        .collect();
    finds(Code::OutOfRange, "[probe]", &format!("{more}[probe]"));
}

#[test]
fn interface_name() {
    for name in ["", "sixteen-bytes-xx", "eth 0", "eth/0", "eth:0", ".."] {
        finds(Code::InterfaceName, INTERFACE, &format!("interface = «\"{name}\""));
    }
}

#[test]
fn r14_one_interface_or_two_different_ones() {
    finds_in(&[], &EXAMPLE.replace(INTERFACE, "inside = \"eth1\"\noutside = \"eth0\""));
    finds(Code::Interfaces, INTERFACE, "interface = «\"eth0\"\ninside = \"eth1\"\noutside = \"eth0\"");
    finds(Code::Interfaces, INTERFACE, "inside = \"eth0\"\noutside = «\"eth0\"");
    finds(Code::Interfaces, INTERFACE, "inside = «\"eth0\"");
    finds(Code::Interfaces, INTERFACE, "outside = «\"eth0\"");
    finds(Code::InterfaceName, INTERFACE, "inside = «\"eth 0\"\noutside = \"eth0\"");
}

#[test]
fn balancers_own_addresses() {
    let with = |mode: &str, address: &str| format!("forwarding = \"{mode}\"\naddress = {address}");
    for mode in ["l2", "ipip", "gue", "nat"] {
        finds_in(
            &[],
            &EXAMPLE.replace(FORWARDING, &with(mode, r#"["10.0.0.2", "fd00:0:0:1::2", "10.8.0.2"]"#)),
        );
    }
    for mode in ["ipip", "gue", "nat"] {
        finds(Code::BalancerAddress, FORWARDING, &with(mode, r#"«["10.0.0.2"]"#));
        finds(Code::BalancerAddress, FORWARDING, &with(mode, r#"«["fd00:0:0:1::2"]"#));
        finds_all(&[Code::BalancerAddress; 2], FORWARDING, &with(mode, "««[]"));
        let bare = format!("forwarding = \"{mode}\"");
        finds_in(
            &[Code::BalancerAddress; 2],
            &EXAMPLE.replace(FORWARDING, &bare).replace("[balancer]", "««[balancer]"),
        );
    }
    let ipip = |first: &str| with("ipip", &format!(r#"[{first}, "10.0.0.2", "fd00:0:0:1::2"]"#));
    finds(Code::BalancerAddress, FORWARDING, &ipip(r#"«"192.0.2.2""#));
    finds(Code::AddressClash, FORWARDING, &ipip(r#"«"10.0.0.5""#));
    finds(Code::AddressClash, FORWARDING, &ipip(r#"«"203.0.113.5""#));
    finds(Code::AddressClash, FORWARDING, &ipip(r#"«"10.0.0.11""#));
    finds(Code::ReservedAddress, FORWARDING, &ipip(r#"«"10.0.0.255""#));
    finds(Code::GivenTwice, FORWARDING, &with("ipip", r#"["10.0.0.2", «"10.0.0.2", "fd00:0:0:1::2"]"#));
}

#[test]
fn r80_every_affinity_is_taken() {
    for affinity in ["five-tuple", "three-tuple", "source-address"] {
        finds_in(
            &[],
            &EXAMPLE.replace(r#"affinity   = "five-tuple""#, &format!("affinity = \"{affinity}\"")),
        );
    }
}

#[test]
fn nat_needs_ports_and_dips_of_its_own() {
    let nat =
        EXAMPLE.replace(FORWARDING, "forwarding = \"nat\"\naddress = [\"10.0.0.2\", \"fd00:0:0:1::2\"]");
    // Those of the public VIP's closed ports are kept free too: the mode may change.
    for taken in [10_080, 10_443, 13_443, 20_080, 20_443, 23_443] {
        finds_in(&[Code::ProbePort], &nat.replace(PROBE, &format!("port = «{taken}")));
    }
    finds_in(&[], &nat.replace(PROBE, "port = 30443"));
    finds_in(&[], &nat.replace(PROBE, "port = 10053"));
    let dns = nat.replacen(PROXY, "[dns]\nserve = true\n[proxy]", 1);
    finds_in(&[Code::DnsPort], &dns.replace(PROBE, "port = «10053"));
    finds_in(
        &[Code::BackendPort],
        &nat.replace(
            PRIVATE,
            r#"private = ["fd00:0:0:1::5", "10.0.0.5", "10.0.0.6", "10.0.0.7", «"10.0.0.8"]"#,
        ),
    );
    finds_in(
        &[Code::BackendPort],
        &nat.replace(PUBLIC, r#"public = ["203.0.113.5", "203.0.113.6", "203.0.113.7", «"203.0.113.8"]"#),
    );
    finds_in(&[Code::DipFamilyMissing], &nat.replace(DIP_2, r#"dip = «["10.0.0.12"]"#));
    finds_in(&[Code::DipFamilyMissing], &nat.replace(DIP_2, r#"dip = «["fd00:0:0:1::12"]"#));
}

#[test]
fn r40_an_ip_is_no_host_name() {
    for host in [
        "10.0.0.5",
        "10.0.0.5.",
        "[fd00::5]",
        "fd00::5",
        "10.0.0.5:443",
        "0x0a.0.0.5",
        "167772165",
        "0x0a000005",
        "[::1]:443",
        "*.0.0.1",
    ] {
        finds(Code::HostIsAddress, HOSTS, &format!("hosts = [«\"{host}\"]"));
    }
}

#[test]
fn r44_host_names() {
    let label = "a".repeat(64);
    let long = "a.".repeat(127) + "a";
    for host in [
        "",
        ".",
        "a..b",
        "-a.b",
        "a-.b",
        "a_b.c",
        "käse.example",
        "api.contoso.com:443",
        "https://api.contoso.com/",
        ".contoso.com",
        &label,
        &long,
    ] {
        finds(Code::HostName, HOSTS, &format!("hosts = [«\"{host}\"]"));
    }
    for host in ["*", "**.contoso.com", "a.*.contoso.com", "*.*.contoso.com", "a*.contoso.com"] {
        finds(Code::Wildcard, HOSTS, &format!("hosts = [«\"{host}\"]"));
    }
    finds(Code::HostTaken, HOSTS, r#"hosts = [«"API.contoso.com."]"#);
    finds(Code::HostTaken, HOSTS, r#"hosts = [«"*.api.contoso.com"]"#);
    finds(Code::HostTaken, HOSTS, r#"hosts = [«"contoso.portal.azure-api.net"]"#);
    finds(Code::GivenTwice, HOSTS, r#"hosts = ["developer.contoso.com", «"Developer.contoso.com"]"#);
    finds(Code::NoHost, "hosts = [\"developer.contoso.com\"]\ndefault_host = false", "default_host = «false");
}

#[test]
fn r42_one_endpoint_a_role() {
    finds(Code::GivenTwice, "role = \"scm\"", "role = «\"portal\"");
}

#[test]
fn default_names_that_grow_too_long() {
    // 236 characters: room for `contoso.portal.` but not for `contoso.management.`.
    let suffix = [60, 60, 60, 53].map(|length| "a".repeat(length)).join(".");
    let text = EXAMPLE.replace(r#"suffix = "azure-api.net""#, &format!("suffix = \"{suffix}\""));
    let marked = text.replace(r#"role = "management""#, r#"role = «"management""#);
    finds_in(&[Code::HostName], &marked);
}

#[test]
fn r71_routes() {
    finds(Code::NoRoute, SCM_ROUTES, "routes = «[]");
    finds(
        Code::NoRoute,
        "[[endpoint]]\nrole = \"portal\"\ncertificate = { chain = \"tls/portal.pem\", key = \"tls/portal.key\" }\nroutes = [{ path = \"/\", upstream = [\"http://10.0.1.21:8080\"] }]",
        "«[[endpoint]]\nrole = \"portal\"\ncertificate = { chain = \"tls/portal.pem\", key = \"tls/portal.key\" }",
    );
    for path in ["", "orders", "/a?b", "/a#b", "/a b", "/a//b", "/../a", "/ä", "//"] {
        finds(
            Code::RoutePath,
            SCM_ROUTES,
            &format!("routes = [{{ path = «\"{path}\", upstream = [\"http://10.0.1.24:8080\"] }}]"),
        );
    }
    routes_have(
        &[Code::GivenTwice],
        r#"{ path = "/a/", upstream = [U] }, { path = «"/a", upstream = ["http://10.0.1.25:80"] }"#,
    );
}

/// `U` stands for an upstream.
#[track_caller]
fn routes_have(codes: &[Code], routes: &str) {
    let routes = routes.replace('U', r#""http://10.0.1.24:8080""#);
    finds_all(codes, SCM_ROUTES, &format!("routes = [{routes}]"));
}

#[test]
fn r72_routes_of_a_path_are_its_locations() {
    let second = |keys: &str| {
        format!(
            r#"{{ path = "/", upstream = [U] }}, {{ path = "/", upstream = ["http://10.0.1.25:80"]{keys} }}"#
        )
    };
    finds_in(
        &[],
        &EXAMPLE.replace(
            SCM_ROUTES,
            &format!("routes = [{}]", second(", priority = 2").replace('U', r#""http://10.0.1.24:8080""#)),
        ),
    );
    routes_have(&[Code::OutOfRange], &second(", priority = «0"));
    routes_have(&[Code::LaterRoute], &second(r#", priority = 2, balance = «"round-robin""#));
    routes_have(&[Code::GivenTwice], r#"{ path = "/", upstream = [U, «U] }"#);
    routes_have(
        &[Code::GivenTwice],
        r#"{ path = "/", upstream = [U] }, { path = "/", upstream = [«U], location = "west" }"#,
    );
    let many: Vec<_> = (1..=64).map(|port| format!(r#""http://10.0.1.25:{port}""#)).collect();
    routes_have(&[Code::OutOfRange], &format!(r#"{{ path = "/", upstream = [{}, «U] }}"#, many.join(", ")));
}

#[test]
fn fields_of_requests_and_answers() {
    let with = |key: &str, table: &str| format!(r#"{{ path = "/", upstream = [U], {key} = {table} }}"#);
    let both = ["request_headers", "response_headers"];
    for key in both {
        routes_have(
            &[],
            &with(key, r#"{ set = { X-Team = "a b", Server = "" }, remove = ["X-Powered-By"] }"#),
        );
        routes_have(&[Code::WrongType], &with(key, "«true"));
        routes_have(&[Code::WrongType], &with(key, r#"{ set = «["X-Team"] }"#));
        routes_have(&[Code::WrongType], &with(key, "{ set = { X-Team = «1 } }"));
        routes_have(&[Code::UnknownKey], &with(key, r#"{ «add = { X-Team = "a" } }"#));
        for name in ["\"X Team\"", "\"X-Team:\"", "\"\"", "\"ä\""] {
            routes_have(&[Code::FieldName], &with(key, &format!(r#"{{ set = {{ «{name} = "a" }} }}"#)));
            routes_have(&[Code::FieldName], &with(key, &format!("{{ remove = [«{name}] }}")));
        }
        for name in ["Connection", "te", "upgrade", "Transfer-Encoding", "content-length", "Keep-Alive"] {
            routes_have(&[Code::FieldRefused], &with(key, &format!(r#"{{ set = {{ «{name} = "a" }} }}"#)));
            routes_have(&[Code::FieldRefused], &with(key, &format!("{{ remove = [«\"{name}\"] }}")));
        }
        routes_have(&[Code::FieldRefused], &with(key, r#"{ remove = [«"Host"] }"#));
        for value in [" a", "a ", "ä", "a\\nb", "a\\u0000", &"a".repeat(4_097)] {
            routes_have(
                &[Code::FieldValue],
                &with(key, &format!(r#"{{ set = {{ X-Team = «"{value}" }} }}"#)),
            );
        }
        routes_have(&[Code::GivenTwice], &with(key, r#"{ set = { X-Team = "a", «x-team = "b" } }"#));
        routes_have(&[Code::GivenTwice], &with(key, r#"{ set = { X-Team = "a" }, remove = [«"X-TEAM"] }"#));
        let later =
            with(key, "«{}").replace("upstream = [U]", r#"upstream = ["http://10.0.1.25:80"], priority = 2"#);
        routes_have(&[Code::LaterRoute], &format!("{}, {later}", with(key, "{}")));
    }
    routes_have(&[], &with(both[0], r#"{ set = { Host = "orders.internal" } }"#));
    routes_have(&[Code::FieldRefused], &with(both[1], r#"{ set = { «Host = "orders.internal" } }"#));
    routes_have(&[Code::FieldRefused], &with(both[0], r#"{ set = { «Expect = "100-continue" } }"#));
}

#[test]
fn a_prefix_is_stripped() {
    routes_have(&[], r#"{ path = "/a", upstream = [U], strip_prefix = true }"#);
    routes_have(&[], r#"{ path = "/", upstream = [U], strip_prefix = false }"#);
    routes_have(&[Code::RouteKeys], r#"{ path = "/", upstream = [U], strip_prefix = «true }"#);
    routes_have(
        &[Code::LaterRoute],
        r#"{ path = "/a", upstream = [U] }, { path = "/a", upstream = ["http://10.0.1.25:80"], priority = 2, strip_prefix = «true }"#,
    );
}

#[test]
fn upstreams_by_name() {
    let with = |upstream: &str| format!(r#"{{ path = "/", upstream = [{upstream}] }}"#);
    for upstream in ["https://scm.contoso.com:443", "http://SCM.contoso.com.:8080", "http://scm:80"] {
        routes_have(&[], &with(&format!("\"{upstream}\"")));
    }
    for upstream in [
        "http://scm",
        "https://scm.contoso.com",
        "http://scm:0",
        "http://scm:http",
        "http://s_m:80",
        "http://u@scm:80",
    ] {
        routes_have(&[Code::Upstream], &with(&format!("«\"{upstream}\"")));
    }
    routes_have(&[Code::GivenTwice], &with(r#""http://scm:80", «"http://SCM.:80""#));
    let resolver = |list: &str| format!("[proxy]\nresolver = {list}");
    finds_all(&[], PROXY, &resolver(r#"["10.0.0.2", "127.0.0.53", "[fd00::2]:5353", "10.0.0.2:5353"]"#));
    for server in ["dns.contoso.com", "10.0.0.2:0", "0.0.0.0", "224.0.0.1"] {
        finds(Code::BadAddress, PROXY, &resolver(&format!("[«\"{server}\"]")));
    }
}

#[test]
fn tls_to_upstreams() {
    let with =
        |upstream: &str, tls: &str| format!(r#"{{ path = "/", upstream = ["{upstream}"], tls = {tls} }}"#);
    let https = |tls: &str| with("https://10.0.1.24:443", tls);
    routes_have(&[], &https("{}"));
    routes_have(
        &[],
        &https(
            r#"{ ca = "ca.pem", server_name = "scm.internal", certificate = { chain = "c.pem", key = "c.key" } }"#,
        ),
    );
    routes_have(&[Code::HostIsAddress], &https(r#"{ server_name = «"10.0.1.24" }"#));
    routes_have(&[Code::MissingKey], &https(r#"{ certificate = «{ chain = "c.pem" } }"#));
    routes_have(&[Code::UnknownKey], &https(r#"{ «sni = "scm.internal" }"#));
    routes_have(&[Code::UpstreamTls], &with("http://10.0.1.24:80", r#"«{ ca = "ca.pem" }"#));
    let text = format!("routes = [{}]", https(r#"{ ca = "ca.pem", server_name = "Scm.internal" }"#));
    let model = check(&EXAMPLE.replace(SCM_ROUTES, &text)).0.unwrap();
    let upstream = model.endpoints.iter().flat_map(|e| &e.routes).flat_map(Route::upstreams).last().unwrap();
    assert_eq!(upstream.tls_name(), Some("scm.internal"));
    assert_eq!(upstream.tls.as_ref().unwrap().ca, Some("etc/ca.pem".into()));
}

#[test]
fn limits_of_clients_and_phases() {
    let limits = |keys: &str| format!("[proxy]\nlimits = {{ {keys} }}");
    finds_all(
        &[],
        PROXY,
        &limits(r#"connections = 100000, requests = 70000, idle = "30s", upstream_answer = "1h""#),
    );
    finds_all(&[], PROXY, &limits("head_bytes = 4096, target_bytes = 4096"));
    finds(Code::OutOfRange, PROXY, &limits("head_bytes = «4096"));
    finds(Code::OutOfRange, PROXY, &limits("target_bytes = «40000"));
    for key in
        ["connections = «0", "requests = «0", "head_bytes = «1000000", "idle = «\"2h\"", "head = «\"1ms\""]
    {
        finds(Code::OutOfRange, PROXY, &limits(key));
    }
    finds(Code::UnknownKey, PROXY, &limits("«timeout = \"1s\""));
    let with = |size: &str| format!(r#"{{ path = "/a", upstream = [U], max_body = {size} }}"#);
    for size in ["0B", "512 KiB", "10MiB", "1GiB"] {
        routes_have(&[], &with(&format!("\"{size}\"")));
    }
    for size in ["", "10", "10MB", "-1B", "1.5GiB", "MiB", "99999999999GiB"] {
        routes_have(&[Code::BadSize], &with(&format!("«\"{size}\"")));
    }
    routes_have(&[Code::WrongType], &with("«10"));
}

#[test]
fn redirects() {
    let to = |redirect: &str| format!(r#"{{ path = "/old", redirect = {redirect} }}"#);
    for status in [301, 302, 307, 308] {
        routes_have(&[], &to(&format!(r#"{{ to = "https://new.contoso.com/a?b", status = {status} }}"#)));
    }
    routes_have(&[], &to(r#"{ to = "http://new.contoso.com:8080", append = true }"#));
    for status in ["300", "303", "309"] {
        routes_have(
            &[Code::OutOfRange],
            &to(&format!(r#"{{ to = "https://new.contoso.com", status = «{status} }}"#)),
        );
    }
    routes_have(&[Code::MissingKey], &to("«{ status = 301 }"));
    for target in [
        "/new",
        "new.contoso.com",
        "ftp://new.contoso.com",
        "https://a b",
        "https://",
        "https://u@n.com",
        "https://n.com/#a",
    ] {
        routes_have(&[Code::RedirectTarget], &to(&format!(r#"{{ to = «"{target}" }}"#)));
    }
    routes_have(&[Code::RedirectTarget], &to(r#"{ to = «"https://new.contoso.com/?a", append = true }"#));
    for key in [
        "upstream = «[U]",
        "location = «\"west\"",
        "priority = «2",
        "health = «{ path = \"/\" }",
        "limits = «{ requests = 1 }",
        "tls = «{}",
        "balance = «\"round-robin\"",
        "strip_prefix = «true",
        "max_body = «\"1MiB\"",
        "request_headers = «{}",
    ] {
        routes_have(&[Code::RouteKeys], &to(&format!(r#"{{ to = "https://new.contoso.com" }}, {key}"#)));
    }
    let redirect = to(r#"{ to = "https://new.contoso.com" }"#);
    let again = |route: &str| route.replacen("path = ", "path = «", 1);
    routes_have(&[Code::GivenTwice], &format!("{redirect}, {}", again(&redirect)));
    let forward = r#"{ path = "/old", upstream = [U] }"#;
    routes_have(&[Code::GivenTwice], &format!("{redirect}, {}", again(forward)));
    routes_have(&[Code::GivenTwice], &format!("{forward}, {}", again(&redirect)));
}

#[test]
fn health_of_upstreams() {
    let with = |keys: &str| format!(r#"{{ path = "/", upstream = [U], health = {keys} }}"#);
    routes_have(&[], &with(r#"{ path = "/healthz", interval = "500ms", timeout = "500ms" }"#));
    routes_have(&[Code::MissingKey], &with("«{}"));
    routes_have(&[Code::WrongType], &with("«true"));
    routes_have(&[Code::ProbePath], &with(r#"{ path = «"healthz" }"#));
    routes_have(&[Code::ProbeStatus], &with(r#"{ path = "/", status = «"ok" }"#));
    routes_have(&[Code::ProbeTimeout], &with(r#"{ path = "/", timeout = «"3s" }"#));
    routes_have(&[Code::UnknownKey], &with(r#"{ path = "/", «port = 1 }"#));
}

#[test]
fn limits_of_upstreams() {
    let with = |keys: &str| format!(r#"{{ path = "/", upstream = [U], limits = {keys} }}"#);
    routes_have(&[], &with(r#"{ requests = 1, pending = 0, wait = "0s" }"#));
    routes_have(&[], &with("{ connections = 10 }"));
    routes_have(&[], &with("{ connections = 10, requests = 5 }"));
    routes_have(&[Code::OutOfRange], &with("{ connections = «0, requests = 5 }"));
    routes_have(
        &[Code::RouteKeys],
        r#"{ path = "/", upstream = ["h2c://10.0.1.24:80"], limits = { requests = 5, connections = «1 } }"#,
    );
    routes_have(&[Code::MissingKey], &with("«{ pending = 1 }"));
    routes_have(&[Code::OutOfRange], &with("{ requests = «0 }"));
    routes_have(&[Code::BadDuration], &with(r#"{ requests = 1, wait = «"1" }"#));
}

#[test]
fn ways_to_choose_an_upstream() {
    for (balance, code) in [
        ("least-loaded", None),
        ("round-robin", None),
        ("hash-header:X-Id", None),
        ("hash-cookie:session", None),
        ("random", Some(Code::UnknownWord)),
        ("least-loaded:x", Some(Code::UnknownWord)),
        ("hash-header", Some(Code::UnknownWord)),
        ("hash-header:", Some(Code::FieldName)),
        ("hash-header:a b", Some(Code::FieldName)),
        ("hash-cookie:a=b", Some(Code::FieldName)),
    ] {
        let mark = if code.is_some() { "«" } else { "" };
        let codes: Vec<_> = code.into_iter().collect();
        routes_have(&codes, &format!(r#"{{ path = "/", upstream = [U], balance = {mark}"{balance}" }}"#));
    }
}

#[test]
fn upstreams() {
    for upstream in [
        "",
        "10.0.1.24:8080",
        "ftp://10.0.1.24:8080",
        "http://10.0.1.24",
        "http://[fd00::1]",
        "http://10.0.1.24:0",
        "http://10.0.1.24:8080/",
        "http://0.0.0.0:80",
        "http://fd00::1:80",
        "http://a_b:80",
        "http://",
    ] {
        finds(
            Code::Upstream,
            SCM_ROUTES,
            &format!("routes = [{{ path = \"/\", upstream = [«\"{upstream}\"] }}]"),
        );
    }
}

#[test]
fn r81_a_probe_through_the_vip() {
    // As the example has it, with these in place of the table's first lines.
    let with = |lines: &str| EXAMPLE.replacen(PROBE_TABLE, lines, 1);
    let vip = "via = \"vip\"\n";
    for (lines, codes) in [
        (vip.to_owned(), &[][..]),
        (format!("{vip}kind = \"tcp\"\nvip_port = 3443"), &[]),
        (format!("{vip}vip_port = 80"), &[]),
        (format!("{vip}kind = \"https\"\nhost = \"contoso.com\"\nverify = true"), &[]),
        ("availability = \"10s\"\nvip_port = 3443".to_owned(), &[]),
        (format!("{vip}kind = «\"http\""), &[Code::ProbeVip]),
        (format!("{vip}kind = «\"https\"\nvip_port = 80"), &[Code::ProbeVip]),
        (format!("{vip}vip_port = «8080"), &[Code::ProbeVip]),
        ("availability = \"10s\"\nvip_port = «22".to_owned(), &[Code::ProbeVip]),
        (format!("{vip}availability = «\"10s\""), &[Code::ProbeKey]),
        (format!("{vip}kind = \"tcp\"\nverify = «true"), &[Code::ProbeKey]),
    ] {
        finds_in(codes, &with(&lines));
    }
    let one_family = with(vip).replacen(DIP_2, "dip = [«\"10.0.0.12\"]", 1);
    finds_in(&[Code::ProbeVip], &one_family);
    let no_redirect = with(&format!("{vip}vip_port = «80")).replacen("[proxy]", "[proxy]\nhttp = \"off\"", 1);
    finds_in(&[Code::ProbeVip], &no_redirect);

    let (model, _) = check(&with(vip));
    let probe = model.unwrap().probe;
    let expected = (ProbeKind::Https, 443, 8080, Some("contoso.azure-api.net"));
    assert_eq!((probe.kind, probe.vip_port, probe.port, probe.host.as_deref()), expected);
    let (model, _) = check(&with(&format!("{vip}vip_port = 3443")));
    assert_eq!(model.unwrap().probe.host.as_deref(), Some("contoso.management.azure-api.net"));
}

#[test]
fn probe() {
    for port in [80, 443, 3443] {
        finds(Code::ProbePort, PROBE, &format!("port = «{port}"));
    }
    finds(Code::ProbePath, r#"path = "/status-0123456789abcdef""#, "path = «\"status\"");
    finds(Code::ProbeTimeout, PROBE, "timeout = «\"3s\"");
    finds(Code::ProbeTimeout, PROBE, "interval = «\"500ms\"");
    for status in ["", "200,", "20", "600", "299-200", "200–299", "ok", "200-299-301", "+200"] {
        finds(Code::ProbeStatus, PROBE, &format!("status = «\"{status}\""));
    }
    finds(Code::OutOfRange, PROBE, "panic = «0");
    finds(Code::ProbeKey, PROBE, "vip_port = «443");
    finds(Code::ProbeKey, PROBE, "verify = «true");
    let keys = ["status = «\"200\"", "host = «\"contoso.com\"", "verify = «true"];
    for key in keys {
        finds_all(
            &[Code::ProbeKey; 2],
            PROBE_TABLE,
            &format!("kind = \"tcp\"\n{key}\nport = 8080\npath = «\"/\""),
        );
    }
    finds_all(
        &[],
        PROBE_TABLE,
        "kind = \"https\"\nhost = \"contoso.com\"\nstatus = \"204, 300-399\"\nverify = true",
    );
}

#[test]
fn endpoints_that_are_passed_through() {
    let endpoint =
        |keys: &str| format!("[[endpoint]]\nrole = \"gateway\"\nmode = \"passthrough\"\n{keys}\n[proxy]");
    let hosts = "hosts = [\"git.contoso.com\"]";
    let upstream = "upstream = [\"tcp://10.0.1.40:443\"]";
    let well = format!("{hosts}\n{upstream}\nproxy_protocol = \"v2\"");
    finds_all(&[], PROXY, &endpoint(&well));
    finds_all(
        &[],
        PROXY,
        &endpoint(&format!(
            "{well}\n[[endpoint]]\nrole = \"gateway\"\nmode = \"passthrough\"\nhosts = [\"other.contoso.com\"]\n{upstream}"
        )),
    );
    finds(Code::NoHost, PROXY, &endpoint(upstream).replace("role = \"g", "role = «\"g"));
    finds(Code::MissingKey, PROXY, &format!("«{}", endpoint(hosts)));
    finds(Code::EndpointMode, PROXY, &endpoint(&format!("{well}\nroutes = «[]")));
    finds(
        Code::EndpointMode,
        PROXY,
        &endpoint(&format!("{well}\ncertificate = «{{ chain = \"c\", key = \"k\" }}")),
    );
    finds(Code::EndpointMode, PROXY, &endpoint(&format!("{hosts}\nupstream = [«\"https://10.0.1.40:443\"]")));
    finds(
        Code::GivenTwice,
        PROXY,
        &endpoint(&format!("{hosts}\nupstream = [\"tcp://10.0.1.40:443\", «\"tcp://10.0.1.40:443\"]")),
    );
    finds(Code::GivenTwice, PROXY, &endpoint(&format!("hosts = [«\"api.contoso.com\"]\n{upstream}")));
    finds_all(
        &[],
        PROXY,
        &endpoint(&format!(
            "{well}\nbackup = [\"tcp://10.0.1.41:443\"]\nhealth = {{ interval = \"1s\", rise = 1 }}"
        )),
    );
    finds(
        Code::GivenTwice,
        PROXY,
        &endpoint(&format!("{hosts}\n{upstream}\nbackup = [«\"tcp://10.0.1.40:443\"]")),
    );
    finds(Code::UnknownKey, PROXY, &endpoint(&format!("{well}\nhealth = {{ «path = \"/\" }}")));
    finds(
        Code::ProbeTimeout,
        PROXY,
        &endpoint(&format!("{well}\nhealth = {{ interval = \"1s\", timeout = «\"2s\" }}")),
    );
    finds(Code::EndpointMode, SCM_ROUTES, &format!("{SCM_ROUTES}\nhealth = «{{ interval = \"1s\" }}"));
    finds(Code::EndpointMode, SCM_ROUTES, &format!("{SCM_ROUTES}\nupstream = «[\"tcp://10.0.1.40:443\"]"));
    finds(
        Code::EndpointMode,
        SCM_ROUTES,
        "routes = [{ path = \"/\", upstream = [«\"tcp://10.0.1.24:8080\"] }]",
    );
}

#[test]
fn r45_certificates_and_those_of_clients() {
    let pair = "{ chain = \"c\", key = \"k\" }";
    finds_all(&[], SCM_CERTIFICATE, &format!("certificate = [{pair}, {pair}]"));
    finds(Code::MissingKey, SCM_CERTIFICATE, "certificate = «[]");
    finds(Code::MissingKey, SCM_CERTIFICATE, &format!("certificate = [{pair}, «{{ chain = \"c\" }}]"));
    finds(Code::WrongType, SCM_CERTIFICATE, "certificate = «\"tls/scm.pem\"");
    finds_all(&[], SCM_CERTIFICATE, &format!("{SCM_CERTIFICATE}\nclient_ca = \"ca\""));
    let optional = "client_certificate = \"optional\"";
    finds_all(&[], SCM_CERTIFICATE, &format!("{SCM_CERTIFICATE}\nclient_ca = \"ca\"\n{optional}"));
    finds(
        Code::ClientCertificate,
        SCM_CERTIFICATE,
        &format!("{SCM_CERTIFICATE}\nclient_certificate = «\"optional\""),
    );
}

#[test]
fn default_certificate_needs_a_gateway() {
    let marked =
        without_endpoint("gateway").replace("no_sni = \"reject\"", "no_sni = «\"default-certificate\"");
    finds_in(&[Code::DefaultCertificate], &marked);
}

#[test]
fn endpoints_that_are_missing() {
    finds_in(
        &[Code::NoManagement],
        &without_endpoint("management").replace(PUBLIC, "public  = «[\"203.0.113.5\"]"),
    );
    let none = Role::ALL.iter().fold(EXAMPLE.to_owned(), |text, role| without(&text, role.as_str()));
    finds_in(&[Code::NoEndpoint], &format!("{none}«"));
}

/// The example without the endpoint of that role.
fn without_endpoint(role: &str) -> String {
    without(EXAMPLE, role)
}

fn without(text: &str, role: &str) -> String {
    let (before, rest) = text.split_once(&format!("[[endpoint]]\nrole = \"{role}\"")).unwrap();
    let end = rest.find("\n[").unwrap() + 1;
    format!("{before}{}", &rest[end..])
}

#[test]
fn an_api_beyond_loopback_needs_tokens() {
    let admin = "interface = \"eth0\"\nadmin = «\"10.0.0.2:9180\"";
    finds(Code::AdminWithoutTokens, INTERFACE, admin);
    finds_all(&[], INTERFACE, "interface = \"eth0\"\nadmin = \"10.0.0.2:9180\"\ntokens = \"tokens\"");
}

#[test]
fn management_without_routes_leads_to_the_api() {
    let routes = r#"routes = [{ path = "/", upstream = ["http://10.0.1.23:8080"] }]"#;
    assert!(EXAMPLE.contains(routes));
    let with = |admin: &str| {
        EXAMPLE.replace(routes, "").replace(INTERFACE, &format!("interface = \"eth0\"\n{admin}"))
    };
    let marked = |text: String| text.replace(r#"role = "management""#, r#"role = «"management""#);
    let tokens = "tokens = \"tokens\"";
    finds_in(&[Code::AdminUnreachable], &marked(with("")));
    finds_in(&[Code::AdminUnreachable], &marked(with(&format!("admin = \"[::1]:9180\"\n{tokens}"))));
    finds_in(&[Code::AdminUnreachable], &marked(with(&format!("admin = \"0.0.0.0:9180\"\n{tokens}"))));
    finds_in(&[], &with(&format!("admin = \"10.0.0.2:9180\"\n{tokens}")));
    finds_in(&[], &with(&format!("admin = \"0.0.0.0:9180\"\naddress = [\"10.0.0.2\"]\n{tokens}")));

    let gw_2 = EXAMPLE.find("[[instance]]\nname = \"gw-2\"").unwrap();
    let end = gw_2 + 1 + EXAMPLE[gw_2 + 1..].find("\n[").unwrap() + 1;
    let alone = |admin: &str| with(admin).replace(&EXAMPLE[gw_2..end], "");
    finds_in(&[Code::AdminWithoutTokens], &marked(alone("")));
    let (model, _) = check(&alone(tokens));
    let model = model.unwrap();
    assert!(model.serves_api_on_loopback());
    let (model, _) = check(EXAMPLE);
    assert!(!model.unwrap().serves_api());
}

#[test]
fn r1_a_mode_is_one_of_three() {
    finds(Code::UnknownWord, MODE, "mode = «\"public\"");
}

#[test]
fn r4_the_external_mode_needs_a_public_vip() {
    finds_in(&[], &EXAMPLE.replace(MODE, "mode = \"external\""));
    let external = |public: &str| EXAMPLE.replace(MODE, "mode = \"external\"").replace(PUBLIC, public);
    finds_in(&[Code::MissingKey], &external("").replace("[vip]", "«[vip]"));
    finds_in(&[Code::MissingKey], &external("public = «[]"));
    finds_in(&[Code::BadAddress], &external("public = [«\"203.0.113\"]"));
}

#[test]
fn r1_without_a_virtual_network_what_a_balancer_does_is_refused() {
    let vips = "[vip]\nprivate = «[\"10.0.0.5\"]\npublic = «[\"203.0.113.5\"]\n[probe]";
    finds_in(&[Code::ModeKey; 2], &NONE.replace("[probe]", vips));
    // Whoever lists networks means to keep others out.
    let network = "[network]\nsubnet = «[\"192.0.2.0/24\"]\nvnet = «[]\npeered = «[]\n[probe]";
    finds_in(&[Code::ModeKey; 3], &NONE.replace("[probe]", network));
    let balancer = "[balancer]\ninterface = «\"eth0\"\nmanagement_sources = «[]\ndrain = \"1m\"\n[probe]";
    finds_in(&[Code::ModeKey; 2], &NONE.replace("[probe]", balancer));
    finds_in(&[Code::ModeKey], &NONE.replace("name = \"gw-1\"", "name = \"gw-1\"\nweight = «10"));
    finds_in(&[Code::ModeKey; 2], &NONE.replace("port = 8080", "port = 8080\ninterval = «\"1s\"\nrise = «2"));
    // Nobody answers for the API there.
    finds_in(&[Code::ModeKey], &NONE.replace("[probe]", "[dns]\nserve = «true\n[probe]"));
    let management = r#"routes = [{ path = "/", upstream = ["http://10.0.1.23:8080"] }]"#;
    let role = "role = «\"management\"";
    finds_in(&[Code::NoRoute], &NONE.replace(management, "").replace("role = \"management\"", role));
}

#[test]
fn r52_questions_are_not_forwarded_to_ourselves() {
    let with = |forward: &str| format!("[dns]\nserve = true\nforward = {forward}\n[proxy]");
    for own in ["10.0.0.5", "[fd00:0:0:1::5]:53", "203.0.113.5:5353", "10.0.0.12"] {
        finds(Code::DnsForward, PROXY, &with(&format!("[\"10.0.0.2\", «\"{own}\"]")));
    }
    finds(Code::GivenTwice, PROXY, &with(r#"["10.0.0.2", «"10.0.0.2:53"]"#));
    finds(Code::OutOfRange, PROXY, &with(r#"«["10.9.0.1", "10.9.0.2", "10.9.0.3", "10.9.0.4", "10.9.0.5"]"#));
    finds(Code::BadAddress, PROXY, &with(r#"[«"ns.contoso.com"]"#));
}

#[test]
fn r52_port_53_of_the_private_vips_is_the_name_servers() {
    let with = |more: &str| EXAMPLE.replacen(PROXY, &format!("[dns]\nserve = true\n{more}[proxy]"), 1);
    let admin = |admin: &str| with("").replacen(DRAIN, &format!("{DRAIN}\nadmin = {admin}"), 1);
    finds_in(&[Code::AdminWithoutTokens, Code::DnsPort], &admin("««\"10.0.0.5:53\""));
    finds_in(&[Code::AdminWithoutTokens, Code::DnsPort], &admin("««\"0.0.0.0:53\""));
    assert!(
        check(&with("ttl = \"5m\"\nserial = 2026112601\nname_servers = [\"ns1.contoso.com\"]\n")).0.is_some()
    );
    finds_in(&[Code::OutOfRange], &with("ttl = «\"500ms\"\n"));
    finds_in(&[Code::OutOfRange], &with("serial = «0\n"));
    finds_in(&[Code::OutOfRange], &with("rate = «0\n"));
}

#[test]
fn keys_of_a_name_server_that_is_off_are_warned_of() {
    finds_all(
        &[Code::DnsKey; 2],
        PROXY,
        "[dns]\nforward = «[\"10.0.0.2\"]\nrate = «100\nttl = \"5m\"\n[proxy]",
    );
}

#[test]
fn features_that_are_off_are_fine() {
    for off in ["[snat]\nenabled = false\nports_per_instance = 512", "[dns]\nserve = false\nforward = []"] {
        finds_in(&[], &EXAMPLE.replace(PROXY, &format!("{off}\n[proxy]")));
    }
}

#[test]
fn r34_snat_has_an_address_to_leave_by_and_ports_enough() {
    const ADDRESS: &str = "forwarding = \"l2\"\naddress = [\"10.0.0.2\"]";
    const BOTH: &str = r#"public  = ["203.0.113.5", "2001:db8::5"]"#;
    let with = |keys: &str| {
        let text = EXAMPLE.replace(FORWARDING, ADDRESS).replace(PUBLIC, BOTH);
        text.replace(PROXY, &format!("[snat]\n{keys}\n[proxy]"))
    };
    finds_in(&[], &with("enabled = true\nports_per_instance = 16000\nreturn_after = \"1m\""));
    finds_in(&[Code::OutOfRange], &with("enabled = true\nports_per_instance = «40000"));
    finds_in(&[Code::OutOfRange], &with("enabled = true\nreturn_after = «\"10ms\""));
    finds_in(&[], &with("enabled = false\nports_per_instance = 40000"));
    finds_in(&[Code::Snat], &with("enabled = «true").replace(BOTH, "public = []"));
    finds_in(&[Code::Snat], &with("enabled = «true").replace(ADDRESS, "forwarding = \"l2\""));
    finds_in(&[Code::SnatFamily], &with("enabled = «true").replace(BOTH, PUBLIC));
}

#[test]
fn what_was_refused_is_not_blamed_again() {
    finds(Code::BadPrefix, SUBNET, r#"subnet = [«"10.0.0.0/33", "fd00:0:0:1::/64"]"#);
    finds(Code::BadAddress, DIP_2, r#"dip = [«"10.0.0.1222"]"#);
    finds(Code::UnknownWord, r#"role = "management""#, "role = «\"managment\"");
    let certificate = r#"certificate = { chain = "tls/management.pem", key = "tls/management.key" }"#;
    finds(Code::WrongType, certificate, "certificate = «5");
    let table = "[service]\nname   = \"contoso\" ";
    finds_in(
        &[Code::WrongType],
        &format!(
            "service = «5\n{}",
            EXAMPLE.replace(table, "#").replace("\nsuffix", "\n# suffix").replace("\nmode", "\n# mode")
        ),
    );
}

/// A new code comes with a test: this one fails until it is named in this folder's tests.
#[test]
fn every_code_has_a_test() {
    let tests =
        [include_str!("codes.rs"), include_str!("rendering.rs"), include_str!("certificates.rs")].concat();
    let words: BTreeSet<_> = tests.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let untested: Vec<_> =
        Code::ALL.iter().filter(|code| !words.contains(format!("{code:?}").as_str())).collect();
    assert!(untested.is_empty(), "{untested:?}");
}
