//! `gateway dns check` against servers that are right, wrong, stale and silent.

use std::{
    fs,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use lab::{
    address::{PRIVATE, ROUTED},
    lab::Lab,
    name_server,
};
use serde_json::Value;

use super::{gateway_dns, names, printed};

const NAME: &str = "contoso.azure-api.net";

/// Exit code and document.
fn check(lab: &Lab, words: &str) -> (Option<i32>, Value) {
    let output = gateway_dns(lab, &lab.hosts.client, &format!("check --json {words}"));
    let document = serde_json::from_slice(&output.stdout);
    (output.status.code(), document.unwrap_or_else(|error| panic!("{error}: {output:?}")))
}

/// State, addresses and remedy of the one name that is asked for.
fn one(lab: &Lab, server: &str) -> (String, String, String) {
    let (code, report) = check(lab, &format!("--server {server} --name {NAME}"));
    let check = &report["checks"][0];
    let text = |key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let addresses = check["addresses"].as_array().unwrap().iter().map(|one| one.as_str().unwrap());
    let state = text("state");
    assert_eq!(code, Some(i32::from(state != "fine")), "{report}");
    (state, addresses.collect::<Vec<_>>().join(" "), text("remedy"))
}

#[test]
fn r54_dns_check_tells_right_wrong_stale_and_silent_apart() {
    let lab = Lab::raise(1).unwrap();
    let mut config = lab.config().answering_dns();
    config.dns.as_mut().unwrap().serial = Some(100);
    let running = lab.start(&config).unwrap();
    let vip = PRIVATE.to_string();
    let (code, report) = check(&lab, &format!("--server {vip}"));
    assert_eq!(
        (code, &report["ok"], &report["schema_version"]),
        (Some(0), &Value::Bool(true), &1.into()),
        "{report}"
    );
    assert_eq!(report["checks"].as_array().unwrap().len(), names().len());
    assert!(report["checks"].as_array().unwrap().iter().all(|check| check["state"] == "fine"), "{report}");

    // A server with the zones of now, and then the file goes on.
    let folder = lab.folder().join("bind");
    fs::create_dir_all(&folder).unwrap();
    printed(&lab, &format!("zone --format bind --directory {}", folder.display()));
    fs::write(folder.join("wrong"), "$TTL 60\n@ SOA . . 101 60 60 60 60\n@ NS ns.invalid.\n@ A 192.0.2.1\n")
        .unwrap();
    let lines = format!("include \"{}/gateway.conf\";", folder.display());
    let host = &lab.hosts.routed;
    let server = ROUTED.v4().to_string();
    let bind = name_server::bind(host, &folder, "recursion no;", &lines).unwrap();
    assert_eq!(one(&lab, &server).0, "fine");
    config.vip.private[1] = "fd00:0:0:1::6".parse::<IpAddr>().unwrap();
    config.dns.as_mut().unwrap().serial = Some(101);
    lab.write(&config).unwrap();
    let (state, addresses, remedy) = one(&lab, &server);
    assert_eq!((state.as_str(), addresses.as_str()), ("stale", "10.0.0.5 fd00:0:0:1::5"), "{remedy}");
    assert!(remedy.contains("serial 100") && remedy.contains("gateway dns zone"), "{remedy}");
    let (state, _, remedy) = one(&lab, &vip);
    assert!(state == "stale" && remedy.contains("reload the proxies"), "{state}: {remedy}");
    drop(bind);

    // Another record of that name.
    let lines = format!("zone \"{NAME}\" {{ type primary; file \"wrong\"; }};");
    let bind = name_server::bind(host, &folder, "recursion no; allow-query { any; };", &lines).unwrap();
    let (state, addresses, remedy) = one(&lab, &server);
    assert_eq!((state.as_str(), addresses.as_str()), ("wrong-address", "192.0.2.1"), "{remedy}");
    assert!(remedy.contains("expected 10.0.0.5 fd00:0:0:1::6"), "{remedy}");
    let (code, report) = check(&lab, &format!("--server {server} --name api.contoso.com"));
    assert_eq!((code, &report["checks"][0]["state"]), (Some(1), &"does-not-resolve".into()), "{report}");
    drop(bind);

    let begun = SystemTime::now();
    let (code, report) = check(&lab, &format!("--server {server}"));
    assert_eq!((code, &report["checks"][5]["state"]), (Some(1), &"no-answer".into()), "{report}");
    assert!(begun.elapsed().unwrap() < Duration::from_secs(8), "a silent server is waited for once");
    drop(running);
}

#[test]
fn r54_dns_check_asks_the_systems_resolvers_and_shows_a_table() {
    let lab = Lab::raise(1).unwrap();
    let _running = lab.start(&lab.config().answering_dns()).unwrap();
    let file = lab.folder().join("resolv.conf");
    fs::write(&file, format!("nameserver {PRIVATE}\n")).unwrap();
    let config = lab.folder().join("gateway.toml");
    let gateway = lab::gateway::binary().unwrap();
    let line = format!("{} dns check --config {}", gateway.display(), config.display());
    let output = super::hosts::with_file(&lab.hosts.client, &file, "/etc/resolv.conf", &line);
    assert!(output.ok(), "{output:?}");
    let text = output.text();
    assert!(text.starts_with("NAME") && text.contains(&format!("{PRIVATE}:53")), "{text}");
    assert_eq!(text.matches(" fine ").count(), names().len(), "{text}");
}
