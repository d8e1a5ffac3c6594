//! What `gateway dns zone` prints, loaded by the servers that it is for.

use std::{fs, net::IpAddr, path::PathBuf};

use lab::{
    address::{PRIVATE6, ROUTED},
    config::{Config, default_host},
    dig::dig,
    host::command,
    lab::Lab,
    name_server,
};

use super::{names, printed};

const NAME: &str = "contoso.azure-api.net";
const HTTPS: &str = "1 . alpn=\"h2,http/1.1\" ipv4hint=10.0.0.5 ipv6hint=fd00:0:0:1::5";
/// Where the servers run: in another network than the client.
const SERVER: IpAddr = IpAddr::V4(ROUTED.v4());

/// The lab's file with wildcards, one above a name of ours and one above nothing.
fn config(lab: &Lab) -> Config {
    let mut config = lab.config();
    let hosts = &mut config.endpoint_mut("gateway").hosts;
    hosts.extend(["*.api.contoso.com".to_owned(), "*.shop.contoso.com".to_owned()]);
    config
}

/// No certificate is looked at: only the DNS is asked for here.
fn raise() -> Lab {
    let lab = Lab::raise(1).unwrap();
    lab.write(&config(&lab)).unwrap();
    lab
}

fn folder(lab: &Lab, name: &str) -> PathBuf {
    let folder = lab.folder().join(name);
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Addresses and HTTPS record of every name, over UDP and TCP.
fn answers_every_name(lab: &Lab) {
    let ask = |words: &str| dig(&lab.hosts.client, SERVER, words).unwrap();
    for name in names() {
        for transport in ["+notcp", "+tcp"] {
            assert_eq!(ask(&format!("{name} A {transport}")).data(), ["10.0.0.5"], "{name} {transport}");
            assert_eq!(
                ask(&format!("{name} AAAA {transport}")).data(),
                ["fd00:0:0:1::5"],
                "{name} {transport}"
            );
        }
        let said = ask(&format!("{name} HTTPS"));
        assert_eq!(said.data(), [HTTPS], "{name}: {}", said.text);
    }
}

#[test]
fn r52_every_zone_file_is_right_to_named_checkzone() {
    let lab = raise();
    for name in names() {
        let text = printed(&lab, &format!("zone --format bind --name {name}"));
        let file = lab.folder().join("zone");
        fs::write(&file, text).unwrap();
        let checked = lab
            .hosts
            .client
            .run(&format!("named-checkzone -i full -k fail -n fail {name} {}", file.display()));
        let checked = checked.unwrap();
        assert!(checked.ok(), "{name}: {}{}", checked.text(), checked.stderr);
    }
    let file = lab.folder().join("rpz");
    fs::write(&file, printed(&lab, "zone --format rpz")).unwrap();
    let checked = lab.hosts.client.run(&format!("named-checkzone rpz.gateway {}", file.display())).unwrap();
    assert!(checked.ok(), "{}{}", checked.text(), checked.stderr);
}

#[test]
fn r50_r52_the_same_file_is_the_same_text() {
    let lab = raise();
    for words in [
        "hosts",
        "zone --format bind",
        "zone --format dnsmasq",
        "zone --format nsupdate",
        "zone --format rpz",
        "zone --format coredns",
    ] {
        let first = printed(&lab, words);
        assert_eq!(first, printed(&lab, words));
        let mut other = config(&lab);
        other.endpoint.reverse();
        other.endpoint_mut("gateway").hosts.reverse();
        let time = fs::metadata(lab.folder().join("gateway.toml")).unwrap().modified().unwrap();
        let file = lab.write(&other).unwrap();
        fs::File::options().append(true).open(file).unwrap().set_modified(time).unwrap();
        assert_eq!(first, printed(&lab, words), "{words}: the file's order is not the text's");
        assert!(first.is_ascii() && first.ends_with('\n'), "{words}");
    }
}

#[test]
fn r52_r53_bind_answers_from_the_zones_to_clients_inside_and_its_other_zones_stay() {
    let lab = raise();
    let folder = folder(&lab, "bind");
    printed(&lab, &format!("zone --format bind --directory {}", folder.display()));
    // A parent, as its owner has it.
    let parent = "$TTL 60\n@ SOA . . 1 60 60 60 60\n@ NS ns\nns A 192.0.2.53\nother A 192.0.2.1\n";
    fs::write(folder.join("parent"), parent).unwrap();
    let lines = format!(
        "include \"{}/gateway.conf\";\nzone \"azure-api.net\" {{ type primary; file \"parent\"; }};\n\
         zone \"contoso.com\" {{ type primary; file \"parent\"; }};",
        folder.display()
    );
    let _bind =
        name_server::bind(&lab.hosts.routed, &folder, "recursion no; allow-query { any; };", &lines).unwrap();
    answers_every_name(&lab);
    let ask = |words: &str| dig(&lab.hosts.client, SERVER, words).unwrap();
    for name in ["other.azure-api.net", "other.contoso.com"] {
        assert_eq!(ask(&format!("{name} A")).data(), ["192.0.2.1"], "{name} is not hidden");
    }
    assert_eq!(ask(&format!("nobody.{NAME} A")).status, "NXDOMAIN");
    assert_eq!(ask("any.api.contoso.com A").data(), ["10.0.0.5"]);
    assert!(ask(&format!("{NAME} A")).flags.contains(&"aa".to_owned()));
    for name in [NAME, "api.contoso.com"] {
        let said = dig(&lab.hosts.outside, SERVER, &format!("{name} A")).unwrap();
        assert_eq!((said.status.as_str(), said.answer.len()), ("REFUSED", 0), "R3, R53: {name}");
    }
}

#[test]
fn r52_dnsmasq_answers_from_its_lines_and_forwards_no_name_of_ours() {
    let lab = raise();
    let folder = folder(&lab, "dnsmasq");
    let _dnsmasq =
        name_server::dnsmasq(&lab.hosts.routed, &folder, &printed(&lab, "zone --format dnsmasq")).unwrap();
    answers_every_name(&lab);
    let ask = |words: &str| dig(&lab.hosts.client, SERVER, words).unwrap();
    assert_eq!(ask(&format!("{NAME} A")).answer, [format!("{NAME}. 60 IN A 10.0.0.5")]);
    assert_eq!(ask("any.shop.contoso.com A").data(), ["10.0.0.5"]);
    assert_eq!(ask("any.api.contoso.com AAAA").data(), ["fd00:0:0:1::5"]);
    assert_eq!(ask(&format!("nobody.{NAME} A")).status, "NXDOMAIN");
    assert_eq!(ask(&format!("{NAME} MX")).status, "NOERROR");
    // It has nobody to ask, and says so of what is not ours.
    for name in ["azure-api.net", "other.azure-api.net", "shop.contoso.com"] {
        assert_eq!(ask(&format!("{name} A")).status, "REFUSED", "{name}");
    }
}

#[test]
fn r52_r54_nsupdate_puts_records_into_dynamic_zones_and_takes_the_old_ones_away() {
    let lab = raise();
    let folder = folder(&lab, "dynamic");
    // Most names are zones of their own; two are in a parent, as whose owner has it.
    let own = names().into_iter().filter(|name| name != "api.contoso.com");
    let zones: Vec<_> = own.chain(["contoso.com".to_owned()]).collect();
    let mut lines = String::new();
    for zone in &zones {
        fs::write(
            folder.join(zone),
            "$TTL 60\n@ SOA . . 1 60 60 60 60\n@ NS ns.invalid.\nkept TXT \"kept\"\n",
        )
        .unwrap();
        lines += &format!(
            "zone \"{zone}\" {{ type primary; file \"{zone}\"; allow-update {{ localhost; }}; }};\n"
        );
    }
    let host = &lab.hosts.routed;
    let _bind = name_server::bind(host, &folder, "recursion no; allow-query { any; };", &lines).unwrap();
    let update = |lab: &Lab| {
        let script = lab.folder().join("script");
        fs::write(&script, format!("server 127.0.0.1\n{}", printed(lab, "zone --format nsupdate"))).unwrap();
        // Who asks for the zone of a name asks the server that it is to tell.
        let updated = host.run_command(command(&format!("nsupdate -v {}", script.display()))).unwrap();
        assert!(updated.ok(), "{}{}", updated.text(), updated.stderr);
    };
    update(&lab);
    answers_every_name(&lab);
    let ask = |words: &str| dig(&lab.hosts.client, SERVER, words).unwrap();
    assert_eq!(ask("any.shop.contoso.com A").data(), ["10.0.0.5"]);
    assert_eq!(ask("kept.contoso.com TXT").data(), ["\"kept\""]);
    let before = ask(&format!("{NAME} SOA")).serial().unwrap();
    let mut moved = config(&lab);
    moved.vip.private = vec!["10.0.0.6".parse().unwrap(), PRIVATE6.into()];
    lab.write(&moved).unwrap();
    update(&lab);
    for name in names() {
        assert_eq!(ask(&format!("{name} A")).data(), ["10.0.0.6"], "{name}");
    }
    assert!(ask(&format!("{NAME} SOA")).serial().unwrap() > before);
}

#[test]
fn r52_a_response_policy_zone_answers_in_bind_and_in_unbound() {
    let lab = raise();
    let folder = folder(&lab, "rpz");
    fs::write(folder.join("gateway.rpz"), printed(&lab, "zone --format rpz")).unwrap();
    let policy = "response-policy { zone \"rpz.gateway\"; } qname-wait-recurse no; recursion yes; allow-query { any; }; allow-recursion { any; };";
    // What is answered without asking anybody: the internet is not there.
    fs::write(folder.join("other"), "$TTL 60\n@ SOA . . 1 60 60 60 60\n@ NS ns.invalid.\n@ A 192.0.2.1\n")
        .unwrap();
    let others = ["other.azure-api.net", "ready.test"]
        .map(|name| format!("zone \"{name}\" {{ type primary; file \"other\"; }};\n"))
        .concat();
    let zone = "zone \"rpz.gateway\" { type primary; file \"gateway.rpz\"; allow-query { none; }; };";
    let check = |server: &str| {
        answers_every_name(&lab);
        let ask = |words: &str| dig(&lab.hosts.client, SERVER, words).unwrap();
        assert_eq!(ask("any.shop.contoso.com A").data(), ["10.0.0.5"], "{server}");
        assert_eq!(ask("any.api.contoso.com AAAA").data(), ["fd00:0:0:1::5"], "{server}");
        assert_eq!(ask("other.azure-api.net A").data(), ["192.0.2.1"], "{server}: not hidden");
        assert_eq!(default_host("gateway"), NAME);
    };
    let bind = name_server::bind(&lab.hosts.routed, &folder, policy, &format!("{others}{zone}")).unwrap();
    check("BIND");
    drop(bind);
    let lines = "  module-config: \"respip iterator\"\n  local-zone: \"other.azure-api.net\" redirect\n  local-data: \"other.azure-api.net A 192.0.2.1\"\nrpz:\n  name: rpz.gateway\n  zonefile: gateway.rpz\n";
    let _unbound = name_server::unbound(&lab.hosts.routed, &folder, lines).unwrap();
    check("Unbound");
}
