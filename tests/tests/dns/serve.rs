//! Answers of the instances, through the balancer.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, SystemTime},
};

use lab::{
    address::{CLIENT, ROUTED, Station, mac_text},
    config::default_host,
    dig::{Dig, dig},
    gateway::{Gateway, gateway},
    lab::{Lab, Running},
    mode::Mode,
    wait::eventually,
};

use super::{VIPS, names};

/// For a reload to be known everywhere.
const PATIENCE: Duration = Duration::from_secs(10);
const NAME: &str = "contoso.azure-api.net";
const HTTPS: &str = "1 . alpn=\"h2,http/1.1\" ipv4hint=10.0.0.5 ipv6hint=fd00:0:0:1::5";

fn up(mode: Mode) -> (Lab, Running) {
    let lab = Lab::raise(2).unwrap();
    let mut config = lab.config().forwarding(mode).answering_dns();
    config.dns.as_mut().unwrap().serial = Some(2_026_112_601);
    config.endpoint_mut("gateway").hosts.push("*.shop.contoso.com".to_owned());
    config.endpoint_mut("gateway").certificate = certificate(&lab);
    let running = lab.start(&config).unwrap();
    (lab, running)
}

fn certificate(lab: &Lab) -> lab::config::Certificate {
    let hosts = [NAME, "api.contoso.com", "*.shop.contoso.com"].map(str::to_owned);
    lab.authority.leaf("wild", &hosts).unwrap().into()
}

/// Both addresses of a name, over UDP and TCP, from the link and from another network.
fn every_way(lab: &Lab) {
    for vip in VIPS {
        for from in [&lab.hosts.client, &lab.hosts.routed] {
            for transport in ["+notcp", "+tcp"] {
                let said = |kind: &str| dig(from, vip, &format!("{NAME} {kind} {transport}")).unwrap();
                assert_eq!(
                    said("A").data(),
                    ["10.0.0.5"],
                    "{} {vip} {transport}: {}",
                    from.name(),
                    said("A").text
                );
                assert_eq!(said("AAAA").data(), ["fd00:0:0:1::5"], "{} {vip} {transport}", from.name());
            }
        }
    }
}

#[test]
fn r52_every_name_is_answered_on_the_private_vip_with_each_type() {
    let (lab, _running) = up(Mode::L2);
    every_way(&lab);
    let client = &lab.hosts.client;
    for vip in VIPS {
        for name in names() {
            let said = dig(client, vip, &format!("{name} A")).unwrap();
            assert_eq!(said.answer, [format!("{name}. 60 IN A 10.0.0.5")]);
            assert!(
                said.flags.contains(&"aa".to_owned()) && !said.flags.contains(&"ra".to_owned()),
                "{said:?}"
            );
        }
    }
    let ask = |words: &str| dig(client, VIPS[0], words).unwrap();
    let soa = format!("{NAME}. hostmaster.{NAME}. 2026112601 3600 600 86400 60");
    for (kind, expected) in [
        ("HTTPS", HTTPS),
        ("SOA", soa.as_str()),
        ("NS", "contoso.azure-api.net."),
        ("ANY +notcp", "10.0.0.5"),
        ("ANY +tcp", "10.0.0.5"),
    ] {
        let said = ask(&format!("{NAME} {kind}"));
        assert_eq!((said.status.as_str(), said.data()), ("NOERROR", vec![expected]), "{kind}: {}", said.text);
    }
    for kind in ["MX", "TXT", "CNAME", "SRV", "CAA", "DS", "DNSKEY", "TYPE4242"] {
        let said = ask(&format!("{NAME} {kind}"));
        assert_eq!(
            (said.status.as_str(), said.answer.len(), said.authority.len()),
            ("NOERROR", 0, 1),
            "{kind}"
        );
        assert_eq!(said.serial().unwrap(), 2_026_112_601);
    }
    let said = ask(&format!("nobody.{NAME} A"));
    assert_eq!((said.status.as_str(), said.authority.len()), ("NXDOMAIN", 1), "{}", said.text);
    // R44
    assert_eq!(ask("any.shop.contoso.com A").data(), ["10.0.0.5"]);
    assert_eq!(ask("a.b.shop.contoso.com A").status, "NXDOMAIN");
    // Nothing that is not ours is hidden or known.
    for words in [
        "azure-api.net A",
        "other.azure-api.net A",
        "shop.contoso.com A",
        "example.com A",
        "version.bind TXT CH",
    ] {
        let said = ask(words);
        assert_eq!((said.status.as_str(), said.answer.len()), ("REFUSED", 0), "{words}: {}", said.text);
    }
}

#[test]
fn r52_edns_transfers_and_other_questions_are_answered_as_the_rfcs_want() {
    let (lab, _running) = up(Mode::L2);
    let ask = |words: &str| dig(&lab.hosts.client, VIPS[0], words).unwrap();
    assert!(ask(&format!("{NAME} A +noedns")).edns.is_none());
    let said = ask(&format!("{NAME} A +bufsize=4096 +dnssec"));
    assert_eq!(said.edns.as_deref(), Some("; EDNS: version: 0, flags: do; udp: 1232"), "{}", said.text);
    assert_eq!(ask(&format!("{NAME} A +edns=1 +noednsnegotiation")).status, "BADVERS");
    assert_eq!(ask(&format!("{NAME} A +ednsopt=65001:00ff +nsid +subnet=10.0.0.0/24")).data(), ["10.0.0.5"]);
    assert!(ask(&format!("{NAME} AXFR")).text.contains("Transfer failed"));
    assert_eq!(ask(&format!("{NAME} A +opcode=status")).status, "NOTIMP");
    assert_eq!(ask(&format!("{NAME} A +header-only")).status, "FORMERR");
    assert_eq!(ask("CoNtOsO.azure-API.net A").answer, ["CoNtOsO.azure-API.net. 60 IN A 10.0.0.5"]);
}

#[test]
fn r52_dns_passes_in_every_forwarding_mode() {
    for mode in [Mode::Nat, Mode::Ipip4, Mode::Ipip6, Mode::Gue4, Mode::Gue6] {
        let (lab, mut running) = up(mode);
        every_way(&lab);
        // Both instances have had some.
        for _ in 0..24 {
            assert_eq!(dig(&lab.hosts.client, VIPS[0], &format!("{NAME} A")).unwrap().data(), ["10.0.0.5"]);
        }
        let counters = lab.counters(&mut running.balancer).unwrap();
        assert!(counters.instances.iter().all(|one| one.packets > 0), "{mode:?}: {:?}", counters.instances);
        assert!(
            counters.services.iter().any(|one| one.name == "10.0.0.5:53/udp" && one.packets >= 24),
            "{mode:?}"
        );
    }
}

#[test]
fn r03_who_is_outside_gets_no_answer_through_the_balancer_and_no_address_past_it() {
    let (lab, mut running) = up(Mode::L2);
    let stranger: IpAddr = "192.0.2.9".parse().unwrap();
    let client = &lab.hosts.client;
    client.ip([format!("address add {stranger}/32 dev eth0")]).unwrap();
    for host in lab.hosts.instances.iter().chain([&lab.hosts.router]) {
        let link = if host.name() == "router" { "lan" } else { "eth0" };
        host.ip([format!("route add {stranger}/32 via {} dev {link}", CLIENT.v4())]).unwrap();
    }
    let ask = |transport: &str| dig(client, VIPS[0], &format!("-b {stranger} {NAME} A {transport}")).unwrap();
    assert_eq!(ask("+notcp").status, "", "R14");
    assert!(lab.counters(&mut running.balancer).unwrap().dropped("source") > 0);
    assert_eq!(dig(&lab.hosts.outside, VIPS[0], &format!("{NAME} A")).unwrap().status, "");
    // Straight to an instance, past the balancer.
    let mac = mac_text(Station::instance(1).mac());
    client.ip([format!("neighbour replace {} lladdr {mac} dev eth0 nud permanent", VIPS[0])]).unwrap();
    for transport in ["+notcp", "+tcp"] {
        let said = ask(transport);
        assert_eq!(
            (said.status.as_str(), said.answer.len(), said.authority.len()),
            ("REFUSED", 0, 0),
            "{}",
            said.text
        );
    }
    let log = running.proxies["gw-1"].log();
    assert!(log.contains("a DNS question from 192.0.2.9 is refused"), "{log}");
    assert_eq!(
        dig(client, VIPS[0], &format!("{NAME} A")).unwrap().data(),
        ["10.0.0.5"],
        "its other address is inside"
    );
}

#[test]
fn r20_the_public_vip_answers_no_dns() {
    let (lab, _running) = up(Mode::L2);
    for from in [&lab.hosts.outside, &lab.hosts.client] {
        for transport in ["+notcp", "+tcp"] {
            let said = dig(from, lab::address::PUBLIC.into(), &format!("{NAME} A {transport}")).unwrap();
            assert_eq!(said.status, "", "{} {transport}", from.name());
        }
    }
}

#[test]
fn r54_answers_and_serial_follow_a_changed_vip_in_one_apply() {
    let lab = Lab::raise(2).unwrap();
    let mut config = lab.config().answering_dns();
    let mut running = lab.start(&config).unwrap();
    let ask = |vip: IpAddr, words: &str| -> Dig { dig(&lab.hosts.client, vip, words).unwrap() };
    let before = ask(VIPS[0], &format!("{NAME} MX")).serial().unwrap();
    // Another IPv6 VIP, while the IPv4 one stays, and a later file.
    let other: IpAddr = "fd00:0:0:1::6".parse().unwrap();
    config.vip.private[1] = other;
    let file = lab.write(&config).unwrap();
    let later = SystemTime::now() + Duration::from_secs(5);
    fs::File::options().append(true).open(&file).unwrap().set_modified(later).unwrap();
    running.balancer.reload().unwrap();
    let next: BTreeMap<String, Gateway> =
        running.proxies.keys().map(|name| (name.clone(), lab.next_proxy(&file, name).unwrap())).collect();
    assert!(eventually(PATIENCE, || ask(other, &format!("{NAME} AAAA")).data() == ["fd00:0:0:1::6"]));
    for vip in [VIPS[0], other] {
        for name in ["gw-1", "gw-2"] {
            let said = dig(lab.instance(name).unwrap(), vip, &format!("{NAME} AAAA")).unwrap();
            assert_eq!(said.data(), ["fd00:0:0:1::6"], "{name} {vip}");
            let serial =
                dig(lab.instance(name).unwrap(), vip, &format!("{NAME} MX")).unwrap().serial().unwrap();
            assert!(serial > before, "{name}: {serial} {before}");
        }
    }
    assert!(ask(VIPS[0], &format!("{NAME} HTTPS")).data()[0].ends_with("ipv6hint=fd00:0:0:1::6"));
    drop(next);
}

#[test]
fn r12_no_question_is_lost_while_a_proxy_follows_another() {
    let lab = Lab::raise(1).unwrap();
    let config = lab.config().answering_dns();
    let mut running = lab.start(&config).unwrap();
    let file = lab.folder().join("gateway.toml");
    let done = AtomicBool::new(false);
    let asked = thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut asked = 0;
            while !done.load(Ordering::Relaxed) || asked < 20 {
                let transport = if asked % 2 == 0 { "+notcp" } else { "+tcp" };
                let said =
                    dig(&lab.hosts.client, VIPS[asked / 2 % 2], &format!("{NAME} A {transport}")).unwrap();
                assert_eq!(said.data(), ["10.0.0.5"], "question {asked}: {}", said.text);
                asked += 1;
            }
            asked
        });
        let mut first = running.proxies.remove("gw-1").unwrap();
        let mut second = lab.next_proxy(&file, "gw-1").unwrap();
        assert!(first.wait().unwrap().ok());
        let _third = lab.next_proxy(&file, "gw-1").unwrap();
        assert!(second.wait().unwrap().ok());
        done.store(true, Ordering::Relaxed);
        asking.join().unwrap()
    });
    assert!(asked >= 20);
}

#[test]
fn r52_dns_serve_alone_answers_on_a_host_that_is_no_instance() {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config();
    let file = lab.write(&config).unwrap();
    let host = &lab.hosts.routed;
    let mut command = gateway("dns").unwrap();
    command
        .args(["serve", "--listen", "10.8.0.20:53", "--listen", "[fd00:0:8:1::20]:53", "--config"])
        .arg(&file);
    let mut server = Gateway::start(host, command, lab.folder()).unwrap();
    for address in ROUTED.addresses() {
        for transport in ["+notcp", "+tcp"] {
            let said = dig(&lab.hosts.client, address, &format!("{NAME} AAAA {transport}")).unwrap();
            assert_eq!(said.data(), ["fd00:0:0:1::5"], "{}", said.text);
            let said = dig(&lab.hosts.outside, address, &format!("{NAME} AAAA {transport}")).unwrap();
            assert_eq!((said.status.as_str(), said.answer.len()), ("REFUSED", 0), "R3: {}", said.text);
        }
    }
    config.vip.private.remove(1);
    lab.write(&config).unwrap();
    server.reload().unwrap();
    let said = dig(&lab.hosts.client, ROUTED.v4().into(), &format!("{NAME} AAAA")).unwrap();
    assert_eq!((said.status.as_str(), said.answer.len()), ("NOERROR", 0));
    assert_eq!(default_host("gateway"), NAME);
    // The port is taken now.
    let mut second = gateway("dns").unwrap();
    second.args(["serve", "--listen", "10.8.0.20:53", "--config"]).arg(&file);
    let refused = host.run_command(second).unwrap();
    assert!(!refused.ok() && refused.stderr.contains("cannot listen on 10.8.0.20:53"), "{}", refused.stderr);
}

#[test]
fn r52_questions_are_counted_by_what_became_of_them() {
    let (lab, running) = up(Mode::L2);
    dig(&lab.hosts.client, VIPS[0], &format!("{NAME} A")).unwrap();
    dig(&lab.hosts.client, VIPS[0], &format!("{NAME} A +tcp")).unwrap();
    dig(&lab.hosts.client, VIPS[0], "example.com TXT").unwrap();
    let scrape = |n: u8| {
        let url = format!("http://{}:8080/metrics", Station::instance(n).v4());
        lab.hosts.balancer.must(&format!("curl --silent {url}")).unwrap()
    };
    let all = [scrape(1), scrape(2)].concat();
    for line in [
        r#"gateway_proxy_dns_queries_total{outcome="answered",transport="udp",type="A"} 1"#,
        r#"gateway_proxy_dns_queries_total{outcome="answered",transport="tcp",type="A"} 1"#,
        r#"gateway_proxy_dns_queries_total{outcome="refused",transport="udp",type="other"} 1"#,
    ] {
        assert!(all.contains(line), "{line}\n{all}");
    }
    drop(running);
}
