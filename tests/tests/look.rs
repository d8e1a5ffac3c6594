//! What an operator looks at, and hands on: `top`, `support`.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{fs, process::Command};

use lab::{
    address::{PRIVATE, PUBLIC},
    config::default_host,
    control::gateway,
    curl::Curl,
    lab::Lab,
};
use serde_json::Value;

/// A request that is answered, and a drop, for there is nothing else on the public VIP. Has the name that was asked for.
fn served_and_dropped(lab: &Lab) -> String {
    let name = default_host("gateway");
    assert_eq!(Curl::https(lab, &name, PRIVATE, "/").send(&lab.hosts.client).unwrap().status, 200);
    let refused = Curl::https(lab, &name, PUBLIC, "/").with(["--max-time", "1"]);
    assert_eq!(refused.send(&lab.hosts.outside).unwrap().status, 0);
    name
}

#[test]
fn r60_top_shows_what_is_forwarded_and_dropped_as_text_off_a_terminal() {
    let lab = Lab::raise(1).unwrap();
    let running = lab.start(&lab.config().probed()).unwrap();
    served_and_dropped(&lab);

    let file = lab.folder().join("gateway.toml");
    let text = gateway(&lab.hosts.balancer, "top --once --interval 200ms", &file).unwrap();
    assert!(text.ok(), "{}", text.stderr);
    let text = text.text();
    for part in ["10.0.0.5:443", "203.0.113.5:3443", "gw-1", "no-service"] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");

    let filtered =
        gateway(&lab.hosts.balancer, "top --interval 200ms --filter gw- --sort packets", &file).unwrap();
    assert!(filtered.text().contains("gw-1") && !filtered.text().contains("10.0.0.5"), "{}", filtered.text());

    drop(running);
    let alone = gateway(&lab.hosts.balancer, "top --once", &file).unwrap();
    assert_eq!(alone.status.code(), Some(1));
    assert!(alone.stderr.contains("gateway balance"), "{}", alone.stderr);
}

/// Every string and address of a file, but for words that every file may have.
fn telling(value: &toml::Value, into: &mut Vec<String>) {
    match value {
        toml::Value::String(text) => into.push(text.clone()),
        toml::Value::Array(items) => items.iter().for_each(|item| telling(item, into)),
        toml::Value::Table(table) => {
            // These have the format's own words, and durations.
            let own = [
                "mode",
                "forwarding",
                "affinity",
                "role",
                "kind",
                "http",
                "no_sni",
                "drain",
                "interval",
                "timeout",
                "admin_state",
                "path",
                "status",
            ];
            let values = table.iter().filter(|(key, _)| !own.contains(&key.as_str()));
            values.for_each(|(_, value)| telling(value, into));
        }
        _ => {}
    }
}

#[test]
fn an_archive_for_those_who_help_has_no_name_and_no_address() {
    let lab = Lab::raise(2).unwrap();
    let running = lab.start(&lab.config().probed()).unwrap();
    let name = served_and_dropped(&lab);

    let file = lab.folder().join("gateway.toml");
    let archive = |number: u8| {
        let path = lab.folder().join(format!("{number}.tar.gz"));
        let listed =
            gateway(&lab.hosts.balancer, &format!("support --output {} --list", path.display()), &file)
                .unwrap();
        assert!(listed.ok() && !path.exists(), "{listed:?}");
        let made =
            gateway(&lab.hosts.balancer, &format!("support --output {}", path.display()), &file).unwrap();
        assert!(made.ok(), "{}", made.stderr);
        assert!(
            made.text().contains("status.json") && made.text().contains("names and addresses replaced"),
            "{}",
            made.text()
        );
        let folder = lab.folder().join(format!("unpacked-{number}"));
        fs::create_dir(&folder).unwrap();
        let mut tar = Command::new("tar");
        assert!(tar.arg("-xzf").arg(&path).arg("-C").arg(&folder).status().unwrap().success());
        folder.join("gateway-support")
    };
    let folder = archive(1);
    let read =
        |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));

    let mut names = Vec::new();
    telling(&read_toml(&fs::read_to_string(&file).unwrap()), &mut names);
    // Those that nobody wrote, of clients and links.
    names.extend(["10.0.0.99", "198.51.100.7", "contoso.com", "contoso"].map(str::to_owned));
    names.push(name.clone());
    // Of a packet's bytes, which samples have too: the public VIP.
    names.push("cb007105".to_owned());
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap().to_lowercase();
        for name in &names {
            // The default suffix is everybody's.
            let name = name.to_lowercase();
            assert!(
                name == "azure-api.net" || !text.contains(&name),
                "{name} in {}:\n{text}",
                path.display()
            );
        }
    }

    // It is of use all the same.
    let status: Value = serde_json::from_str(&read("status.json")).unwrap();
    assert_eq!(status["instances"].as_array().unwrap().len(), 2);
    let plan: Value = serde_json::from_str(&read("plan.json")).unwrap();
    assert_eq!(plan["changes"], Value::Array(Vec::new()));
    assert!(read("counters.json").contains("no-service"), "{}", read("counters.json"));
    assert!(read("check.txt").contains("0 faults"), "{}", read("check.txt"));
    let doctor: Value = serde_json::from_str(&read("doctor.json")).unwrap();
    assert_eq!(
        (&doctor["schema_version"], &doctor["place"][0]),
        (&1.into(), &"balancer".into()),
        "{doctor:#}"
    );
    let state = |id: &str| {
        let checks = doctor["checks"].as_array().unwrap();
        checks.iter().find(|check| check["id"] == id).unwrap()["state"].clone()
    };
    assert_eq!(["file", "balancer", "vip-here"].map(state), ["fine"; 3], "{doctor:#}");
    let veiled = status["service"].as_str().unwrap();
    assert!(read("gateway.toml").contains(veiled), "the same name is the same word in all of them");
    let other = fs::read_to_string(archive(2).join("gateway.toml")).unwrap();
    assert!(!other.contains(veiled), "and another one in the next archive");

    // Without a balancer there is what there is.
    drop(running);
    let folder = archive(3);
    let status = fs::read_to_string(folder.join("status.json")).unwrap();
    assert!(status.starts_with("not to be had: ") && !status.contains("contoso"), "{status}");
    let doctor: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("doctor.json")).unwrap()).unwrap();
    assert_eq!(doctor["root_cause"], "balancer", "{doctor:#}");
}

fn read_toml(text: &str) -> toml::Value {
    toml::Value::Table(text.parse().unwrap())
}
