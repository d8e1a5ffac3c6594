//! gRPC by Google's own library, client and server, through the proxy: TLS and h2 on one side, `h2c://` on the other.

use std::{net::IpAddr, path::Path, time::Duration};

use lab::{
    address::{Net, PRIVATE, PRIVATE6, Station},
    config::{Route, default_host},
    host::Host,
    lab::Lab,
    process::Process,
    wait::eventually,
};

use crate::{python, script};

const PATIENCE: Duration = Duration::from_secs(60);
const PORT: u16 = 50_051;

/// What each check comes to, as the client prints it.
const EXPECTED: &str = "\
unary: hello
metadata: initial a-initial trailing b-trailing binary 00ff
server stream: 100 in order
client stream: 100 summed to 4950
both ways: 50 answered in turn
3 MB: came back whole
status: ABORTED with its details
deadline: DEADLINE_EXCEEDED, and the server was told
cancelled: CANCELLED, and the server was told
at once: 200 of 200
";

fn server(lab: &Lab) -> Process {
    let mut command = python("python");
    command.arg(script(lab, "server.py", include_str!("grpc_server.py"))).arg(PORT.to_string());
    let server = lab.hosts.services.spawn(command).unwrap();
    assert!(eventually(PATIENCE, || server.stdout().starts_with(b"listening")), "{}", server.stderr());
    server
}

fn client(lab: &Lab, from: &Host, target: &str, name: Option<(&str, &Path)>) -> String {
    let mut command = python("python");
    command.arg(script(lab, "client.py", include_str!("grpc_client.py"))).arg(target);
    if let Some((name, root)) = name {
        command.arg(name).arg(root);
    }
    let output = from.run_command(command).unwrap();
    output.text() + &output.stderr
}

#[test]
fn grpc_says_the_same_through_the_proxy_as_without_it() {
    let lab = Lab::raise(2).unwrap();
    let _server = server(&lab);
    let upstream = format!("{}:{PORT}", Station::new(Net::Services, 10).v4());
    assert_eq!(
        client(&lab, &lab.hosts.client, &format!("ipv4:{upstream}"), None),
        EXPECTED,
        "without the proxy"
    );

    let mut config = lab.config();
    let route = Route { path: "/".to_owned(), upstream: vec![format!("h2c://{upstream}")] };
    config.endpoint_mut("gateway").routes = vec![route];
    let _running = lab.start(&config).unwrap();
    let (name, root) = (default_host("gateway"), lab.authority.root());
    for vip in [IpAddr::V4(PRIVATE), IpAddr::V6(PRIVATE6)] {
        let target = if vip.is_ipv4() { format!("ipv4:{vip}:443") } else { format!("ipv6:[{vip}]:443") };
        assert_eq!(client(&lab, &lab.hosts.client, &target, Some((&name, &root))), EXPECTED, "{vip}");
    }
}
