//! The WebSocket cases of the Autobahn suite, as kosoku runs them: through the proxy as without it.
//!
//! Cases of many or large messages are represented by one or two of each kind; `GATEWAY_AUTOBAHN=all` runs all 247, in minutes.

use std::{collections::BTreeMap, env, fs, net::IpAddr, process::Command, time::Duration};

use lab::{
    address::{Net, PRIVATE, Station},
    config::{Route, default_host},
    lab::Lab,
    process::Process,
    wait::eventually,
};
use serde_json::Value;

use crate::{names::resolving, python, script};

const PATIENCE: Duration = Duration::from_secs(600);
const PORT: u16 = 9_001;
const CASES: [&str; 16] = [
    "1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*", "9.1.3", "9.2.3", "9.3.4", "9.6.4", "12.1.3",
    "12.2.10", "13.1.4", "13.3.5",
];

fn echo(lab: &Lab) -> Process {
    let mut command = python("python");
    command.arg(script(lab, "echo.py", include_str!("echo_server.py"))).args(["0.0.0.0", &PORT.to_string()]);
    let server = lab.hosts.services.spawn(command).unwrap();
    assert!(eventually(PATIENCE, || server.stdout().starts_with(b"listening")), "{}", server.stderr());
    server
}

/// What became of each case, and of its close.
fn results(lab: &Lab, server: &str, wrap: impl FnOnce(&Command) -> Command) -> BTreeMap<String, [String; 2]> {
    let reports = lab.folder().join("reports");
    let mut kosoku = python("kosoku");
    kosoku.args(["--parallelism", "8", "--outdir"]).arg(&reports);
    if env::var_os("GATEWAY_AUTOBAHN").is_none_or(|which| which != "all") {
        kosoku.args(CASES.iter().flat_map(|case| ["--include", case]));
    }
    kosoku.arg(server);
    let mut run = lab.hosts.client.spawn(wrap(&kosoku)).unwrap();
    // Its exit code says whether all cases passed, which is the server's matter.
    let output = run.wait(PATIENCE).unwrap();
    let index = fs::read(reports.join("index.json")).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let index: Value = serde_json::from_slice(&index).unwrap();
    fs::remove_dir_all(reports).unwrap();
    let cases = index.as_object().unwrap().values().next().unwrap().as_object().unwrap();
    let said = |case: &Value| ["behavior", "behaviorClose"].map(|key| case[key].as_str().unwrap().to_owned());
    cases.iter().map(|(name, case)| (name.clone(), said(case))).collect()
}

#[test]
fn the_websocket_suite_finds_the_same_through_the_proxy_as_without_it() {
    let lab = Lab::raise(2).unwrap();
    let _server = echo(&lab);
    let upstream = format!("{}:{PORT}", Station::new(Net::Services, 10).v4());
    let without = results(&lab, &upstream, |kosoku| {
        let mut command = Command::new(kosoku.get_program());
        command.args(kosoku.get_args());
        command
    });
    assert!(without.values().filter(|said| said[0] == "OK").count() > 80, "{without:?}");

    let mut config = lab.config();
    "serve".clone_into(&mut config.proxy.http);
    let route = Route { path: "/".to_owned(), upstream: vec![format!("http://{upstream}")] };
    config.endpoint_mut("gateway").routes = vec![route];
    let _running = lab.start(&config).unwrap();
    let name = default_host("gateway");
    let through =
        results(&lab, &format!("{name}:80"), |kosoku| resolving(&lab, &name, IpAddr::V4(PRIVATE), kosoku));
    let other: Vec<_> = without.iter().filter(|(case, said)| through.get(*case) != Some(said)).collect();
    let found: Vec<_> = other.iter().map(|(case, said)| (case, said, through.get(*case))).collect();
    assert!(found.is_empty(), "case, without, through: {found:#?}");
    assert_eq!(through.len(), without.len());
}
