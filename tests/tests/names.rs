//! Host names through the private VIP: who is answered by whom, and what the others get.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use lab::{
    address::{PRIVATE, PRIVATE6, Station},
    config::{Route, custom_host, default_host},
    curl::Curl,
    gateway::gateway,
    lab::{Lab, ROLES, Running},
    tls::{UNRECOGNIZED_NAME, client_hello, exchange},
    wait::eventually,
};

const VIPS: [IpAddr; 2] = [IpAddr::V4(PRIVATE), IpAddr::V6(PRIVATE6)];
const STATUS: &str = "/status-0123456789abcdef";

fn up() -> (Lab, Running) {
    let lab = Lab::raise(2).unwrap();
    let running = lab.start(&lab.config().probed()).unwrap();
    (lab, running)
}

fn log(running: &Running) -> String {
    running.proxies.values().map(lab::gateway::Gateway::log).collect()
}

#[test]
fn r13_r42_every_role_answers_to_its_default_name() {
    let (lab, _running) = up();
    for vip in VIPS {
        for role in ROLES {
            let answer =
                Curl::https(&lab, &default_host(role), vip, "/a?b=c").send(&lab.hosts.client).unwrap();
            assert_eq!(answer.status, 200, "{role} at {vip}: {answer:?}");
            let seen = answer.seen().unwrap();
            assert_eq!((seen.service.as_str(), seen.path.as_str()), (role, "/a?b=c"));
        }
        let at = SocketAddr::new(vip, 3443);
        let management =
            Curl::new(&lab, "https", &default_host("management"), at, "/").send(&lab.hosts.client);
        assert_eq!(management.unwrap().seen().unwrap().service, "management");
    }
}

#[test]
fn r73_a_routed_client_is_served_like_one_on_the_link() {
    let (lab, _running) = up();
    for vip in VIPS {
        let answer = Curl::https(&lab, &default_host("gateway"), vip, "/").send(&lab.hosts.routed).unwrap();
        assert_eq!(answer.seen().unwrap().service, "gateway");
    }
}

#[test]
fn r13_port_80_redirects_to_https() {
    let (lab, _running) = up();
    for vip in VIPS {
        let at = SocketAddr::new(vip, 80);
        let host = default_host("portal");
        let answer = Curl::new(&lab, "http", &host, at, "/a?b=c").send(&lab.hosts.client).unwrap();
        assert_eq!(answer.status, 308, "{answer:?}");
        assert_eq!(answer.header("location"), Some(format!("https://{host}/a?b=c").as_str()));
    }
    assert!(lab.services.seen().is_empty());
}

#[test]
fn r40_tls_without_a_name_is_refused_before_any_certificate() {
    let (lab, _running) = up();
    for vip in VIPS {
        let at = SocketAddr::new(vip, 443);
        let literal = vip.to_string();
        for name in [None, Some(literal.as_str()), Some("10.0.0.5")] {
            let answer = exchange(&lab.hosts.client, at, &client_hello(name)).unwrap();
            assert_eq!(answer, UNRECOGNIZED_NAME, "SNI {name:?}");
        }
        let openssl = format!("openssl s_client -connect {at} -noservername");
        let output = lab.hosts.client.run(&openssl).unwrap();
        assert!(!output.ok() && output.text().contains("no peer certificate available"), "{output:?}");
        assert!(output.stderr.contains("unrecognized name"), "{}", output.stderr);
        let curl =
            Curl::url(&lab, &format!("https://{at}/")).with(["--insecure"]).send(&lab.hosts.client).unwrap();
        assert_eq!((curl.status, curl.exit), (0, 35), "{curl:?}");
    }
    assert!(lab.services.seen().is_empty());
}

#[test]
fn r40_the_switch_shows_the_gateway_certificate_to_a_client_without_a_name() {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config();
    config.proxy.no_sni = "default-certificate".to_owned();
    let _running = lab.start(&config).unwrap();
    let openssl = format!("openssl s_client -connect {PRIVATE}:443 -noservername");
    let text = lab.hosts.client.run(&openssl).unwrap().text();
    assert!(text.contains("subject=CN = gateway\n"), "{text}");
    // Still nothing is served to a bare address, and an unknown name is not "no name".
    let bare =
        Curl::url(&lab, &format!("https://{PRIVATE}/")).with(["--insecure"]).send(&lab.hosts.client).unwrap();
    assert_eq!(bare.status, 421, "{bare:?}");
    let unknown = exchange(
        &lab.hosts.client,
        SocketAddr::new(PRIVATE.into(), 443),
        &client_hello(Some("nobody.example")),
    );
    assert_eq!(unknown.unwrap(), UNRECOGNIZED_NAME);
}

#[test]
fn r40_http_to_a_bare_address_gets_an_empty_421() {
    let (lab, _running) = up();
    let spellings = [
        "10.0.0.5",
        "10.0.0.5:80",
        "0x0a000005",
        "167772165",
        "012.0.0.5",
        "10.5",
        "[fd00:0:0:1::5]",
        "[::ffff:10.0.0.5]:80",
    ];
    let plain = SocketAddr::new(PRIVATE.into(), 80);
    let ask = |request: String| {
        String::from_utf8(exchange(&lab.hosts.client, plain, request.as_bytes()).unwrap()).unwrap()
    };
    let answers = spellings.map(|host| ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")));
    for (host, answer) in spellings.iter().zip(&answers) {
        let lower = answer.to_ascii_lowercase();
        assert!(lower.starts_with("http/1.1 421 "), "{host}: {answer}");
        assert!(lower.contains("connection: close\r\n") && lower.ends_with("\r\n\r\n"), "{host}: {answer}");
        assert!(!lower.contains("server:") && !lower.contains("gateway"), "{host}: {answer}");
        assert_eq!(answer, &answers[0], "{host}");
    }
    // HTTP/1.0 may leave Host out.
    assert!(ask("GET / HTTP/1.0\r\n\r\n".to_owned()).contains(" 421 "));
    // R41: byte for byte what an unknown name gets.
    assert_eq!(ask("GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n".to_owned()), answers[0]);
    assert!(lab.services.seen().is_empty());
}

#[test]
fn r40_r43_a_bare_address_behind_a_right_name_gets_421() {
    let (lab, _running) = up();
    let other = default_host("developer");
    for host in ["10.0.0.5", "[fd00:0:0:1::5]:443", "nobody.example", &other] {
        let curl =
            Curl::https(&lab, &default_host("gateway"), PRIVATE, "/").with(["-H", &format!("Host: {host}")]);
        let answer = curl.send(&lab.hosts.client).unwrap();
        assert_eq!((answer.status, answer.body.len()), (421, 0), "{host}: {answer:?}");
    }
    assert!(lab.services.seen().is_empty());
}

#[test]
fn r41_an_unknown_name_gets_what_a_bare_address_gets_and_the_log_says_more() {
    let (lab, running) = up();
    let at = SocketAddr::new(PRIVATE.into(), 443);
    let hello = client_hello(Some("contoso.azure-api.nett"));
    assert_eq!(exchange(&lab.hosts.client, at, &hello).unwrap(), UNRECOGNIZED_NAME);
    let told = |log: &str| {
        log.contains("contoso.azure-api.nett")
            && log.contains("nearest configured name is contoso.azure-api.net\n")
    };
    assert!(eventually(Duration::from_secs(5), || told(&log(&running))), "{}", log(&running));
}

#[test]
fn r43_names_compare_without_case_trailing_dot_and_port() {
    let (lab, _running) = up();
    let name = default_host("gateway");
    for host in [
        "CONTOSO.Azure-API.net",
        "contoso.azure-api.net.",
        "contoso.azure-api.net:443",
        "Contoso.azure-api.NET.:443",
    ] {
        let curl = Curl::https(&lab, &name, PRIVATE, "/").with(["-H", &format!("Host: {host}")]);
        let answer = curl.send(&lab.hosts.client).unwrap();
        assert_eq!(answer.status, 200, "{host}: {answer:?}");
    }
    let openssl = format!("openssl s_client -connect {PRIVATE}:443 -servername CONTOSO.azure-api.NET");
    let output = lab.hosts.client.run(&openssl).unwrap();
    assert!(output.text().contains("subject=CN = gateway"), "{output:?}");
}

#[test]
fn r43_two_hosts_are_a_bad_request_and_an_absolute_target_wins() {
    let (lab, _running) = up();
    let name = default_host("gateway");
    let plain = SocketAddr::new(PRIVATE.into(), 80);
    let twice = format!("GET / HTTP/1.1\r\nHost: {name}\r\nHost: {name}\r\n\r\n");
    let answer = exchange(&lab.hosts.client, plain, twice.as_bytes()).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    let target = format!("https://{name}/absolute");
    let curl = Curl::https(&lab, &name, PRIVATE, "/").with([
        "--http1.1",
        "--request-target",
        &target,
        "-H",
        &format!("Host: {}", default_host("developer")),
    ]);
    let seen = curl.send(&lab.hosts.client).unwrap().seen().unwrap();
    assert_eq!((seen.service.as_str(), seen.path.as_str()), ("gateway", "/absolute"));
}

#[test]
fn r44_custom_names_wildcards_and_exact_names() {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let wild = [default_host("gateway"), "*.api.contoso.com".to_owned()];
    let exact = [default_host("developer"), "dev.api.contoso.com".to_owned()];
    for (role, hosts) in [("gateway", &wild), ("developer", &exact)] {
        let endpoint = config.endpoint_mut(role);
        endpoint.certificate = lab.authority.leaf(&format!("custom-{role}"), hosts).unwrap().into();
        endpoint.hosts = names(&[hosts[1].as_str()]);
    }
    let _running = lab.start(&config).unwrap();
    let served = |host: &str| Curl::https(&lab, host, PRIVATE, "/").send(&lab.hosts.client).unwrap();
    for (host, service) in [("any.api.contoso.com", "gateway"), ("dev.api.contoso.com", "developer")] {
        assert_eq!(served(host).seen().unwrap().service, service, "{host}");
    }
    for host in ["api.contoso.com", "a.b.api.contoso.com", "xapi.contoso.com"] {
        assert_eq!(served(host).exit, 35, "{host}");
    }
}

#[test]
fn r44_a_name_on_two_roles_is_refused() {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config();
    config.endpoint_mut("developer").hosts = custom_host("gateway").map(str::to_owned).into_iter().collect();
    let mut check = gateway("check").unwrap();
    check.arg("--config").arg(lab.write(&config).unwrap());
    let output = lab.hosts.instances[0].run_command(check).unwrap();
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stderr.contains("api.contoso.com"), "{}", output.stderr);
}

#[test]
fn r45_every_name_has_its_own_certificate() {
    let (lab, _running) = up();
    for role in ROLES {
        let name = default_host(role);
        let openssl = format!("openssl s_client -connect {PRIVATE}:443 -servername {name}");
        let text = lab.hosts.client.run(&openssl).unwrap().text();
        assert!(text.contains(&format!("subject=CN = {role}\n")), "{role}: {text}");
    }
}

#[test]
fn r46_status_answers_on_the_vip_and_on_the_instance() {
    let (lab, _running) = up();
    for role in ["management", "gateway", "portal"] {
        let answer = Curl::https(&lab, &default_host(role), PRIVATE, STATUS).send(&lab.hosts.client).unwrap();
        assert_eq!(answer.status, 200, "{role}: {answer:?}");
    }
    for dip in Station::instance(1).addresses() {
        let at = SocketAddr::new(dip, 8080);
        let probe = Curl::url(&lab, &format!("http://{at}{STATUS}")).send(&lab.hosts.balancer).unwrap();
        assert_eq!(probe.status, 200, "{dip}: {probe:?}");
    }
    assert!(lab.services.seen().is_empty(), "the proxy answers by itself");
}

#[test]
fn r71_a_route_of_its_own_goes_to_its_own_service() {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config();
    config.endpoint_mut("gateway").routes = vec![Route::to("/", "gateway"), Route::to("/orders", "orders")];
    let _running = lab.start(&config).unwrap();
    for (path, service) in
        [("/orders", "orders"), ("/orders/7", "orders"), ("/ordersx", "gateway"), ("/", "gateway")]
    {
        let answer =
            Curl::https(&lab, &default_host("gateway"), PRIVATE, path).send(&lab.hosts.client).unwrap();
        assert_eq!(answer.seen().unwrap().service, service, "{path}");
    }
}
