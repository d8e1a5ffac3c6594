//! Names, certificates, and what each endpoint is.

use super::{
    EXAMPLE, INTERFACE, PROXY, PUBLIC, SCM_CERTIFICATE, SCM_ROUTES, check, finds, finds_all, finds_in,
};
use crate::{config::code::Code, model::Role};

const HOSTS: &str = r#"hosts = ["developer.contoso.com"]"#;

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
