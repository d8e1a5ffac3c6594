//! Probes, API, modes, DNS, SNAT.

use super::{
    DIP_2, DRAIN, EXAMPLE, FORWARDING, INTERFACE, NONE, PROBE, PROXY, PUBLIC, check, finds, finds_all,
    finds_in,
};
use crate::{config::code::Code, model::ProbeKind};

const MODE: &str = r#"mode   = "internal""#;
const PROBE_TABLE: &str = "kind = \"http\"\nport = 8080\npath = \"/status-0123456789abcdef\"";

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
fn an_api_beyond_loopback_needs_tokens() {
    let admin = "interface = \"eth0\"\nadmin = «\"10.0.0.2:9180\"";
    finds(Code::AdminWithoutTokens, INTERFACE, admin);
    finds_all(&[], INTERFACE, "interface = \"eth0\"\nadmin = \"10.0.0.2:9180\"\ntokens = \"tokens\"");
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
