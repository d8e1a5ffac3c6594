//! The private VIP as the networks' resolver: other names are asked of other servers.

use std::{fs, net::IpAddr};

use lab::{
    address::{Net, PRIVATE, ROUTED, Station},
    dig::{Dig, dig},
    lab::{Lab, Running},
    name_server::{self, NameServer},
};

const NAME: &str = "contoso.azure-api.net";
const RESOLVER: IpAddr = IpAddr::V4(ROUTED.v4());

/// A BIND that knows example.test, and instances that forward to these.
fn up(forward: &[&str]) -> (Lab, Running, NameServer) {
    let lab = Lab::raise(2).unwrap();
    let folder = lab.folder().join("bind");
    fs::create_dir_all(&folder).unwrap();
    // More than a datagram may have.
    let long: String = (0..40).map(|n| format!("long TXT \"{n:02} {}\"\n", "x".repeat(120))).collect();
    let zone = format!(
        "$TTL 60\n@ SOA . . 1 60 60 60 60\n@ NS ns.invalid.\n@ MX 10 mail\nwww A 192.0.2.1\nwww AAAA 2001:db8::1\n{long}"
    );
    fs::write(folder.join("zone"), zone).unwrap();
    let zones = "zone \"example.test\" { type primary; file \"zone\"; };";
    let options = "recursion yes; allow-query { any; }; allow-recursion { any; };";
    let bind = name_server::bind(&lab.hosts.routed, &folder, options, zones).unwrap();
    let mut config = lab.config().answering_dns();
    config.dns.as_mut().unwrap().forward = forward.iter().map(|text| (*text).to_owned()).collect();
    let running = lab.start(&config).unwrap();
    (lab, running, bind)
}

fn ask(lab: &Lab, words: &str) -> Dig {
    dig(&lab.hosts.client, PRIVATE.into(), words).unwrap()
}

#[test]
fn r52_other_names_are_answered_as_the_other_server_says() {
    let (lab, _running, _bind) = up(&[&RESOLVER.to_string()]);
    for transport in ["+notcp", "+tcp"] {
        let said = ask(&lab, &format!("www.example.test A {transport}"));
        assert_eq!(said.data(), ["192.0.2.1"], "{}", said.text);
        assert!(said.flags.contains(&"ra".to_owned()), "{}", said.text);
        assert_eq!(ask(&lab, &format!("example.test MX {transport}")).data(), ["10 mail.example.test."]);
        let said = ask(&lab, &format!("nobody.example.test A {transport}"));
        assert_eq!((said.status.as_str(), said.authority.len()), ("NXDOMAIN", 1));
        assert_eq!(ask(&lab, &format!("www.example.test MX {transport}")).status, "NOERROR");
        assert_eq!(ask(&lab, &format!("{NAME} A {transport}")).data(), ["10.0.0.5"], "ours as ever");
    }
    // What does not fit into a datagram says so, and dig comes again over TCP.
    let cut = ask(&lab, "long.example.test TXT +ignore +bufsize=4096");
    assert!(cut.flags.contains(&"tc".to_owned()) && cut.answer.len() < 40, "{}", cut.text);
    assert_eq!(ask(&lab, "long.example.test TXT +bufsize=4096").answer.len(), 40);
    assert_eq!(ask(&lab, "long.example.test TXT +tcp").answer.len(), 40);
    // A class that nobody forwards, and a transfer.
    assert_eq!(ask(&lab, "version.bind TXT CH").status, "REFUSED");
    assert!(ask(&lab, "example.test AXFR").text.contains("Transfer failed"));
    // R3: nothing is forwarded for who is outside, and nothing of ours is asked there.
    assert_eq!(dig(&lab.hosts.outside, PRIVATE.into(), "www.example.test A").unwrap().status, "");
}

#[test]
fn r52_a_server_that_is_silent_is_passed_over_and_without_any_it_is_servfail() {
    // No host has the first address; nothing listens at the second one.
    let services = Station::new(Net::Services, 10).v4();
    let resolver = RESOLVER.to_string();
    let (lab, running, bind) = up(&["10.8.0.200", &format!("{services}:5353"), &resolver]);
    let patient = "+time=10";
    assert_eq!(ask(&lab, &format!("www.example.test A {patient}")).data(), ["192.0.2.1"]);
    for _ in 0..8 {
        // Whichever instance answers has found out.
        ask(&lab, &format!("www.example.test AAAA {patient}"));
    }
    assert_eq!(ask(&lab, "www.example.test AAAA +time=1").data(), ["2001:db8::1"], "{}", bind.log());
    drop(bind);
    let said = ask(&lab, &format!("www.example.test A {patient}"));
    assert_eq!((said.status.as_str(), said.answer.len()), ("SERVFAIL", 0), "{}", said.text);
    assert_eq!(ask(&lab, &format!("{NAME} A +time=1")).data(), ["10.0.0.5"], "ours need nobody");
    drop(running);
}
