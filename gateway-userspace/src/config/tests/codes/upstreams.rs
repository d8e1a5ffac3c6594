//! Routes, and whom they lead to.

use super::{EXAMPLE, PROXY, SCM_ROUTES, check, finds, finds_all, finds_in};
use crate::{config::code::Code, model::Route};

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
