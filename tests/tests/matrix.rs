//! R2: what is answered to whom, as docs/modes.md has it: each network, address and port, in each mode, by real clients.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{
    fmt::Write as _,
    io::{ErrorKind, Read as _},
    net::{IpAddr, SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use lab::{
    address::{CLIENT, Net, OUTSIDE, PRIVATE, PRIVATE6, PUBLIC, PUBLIC6, ROUTED, Station},
    config::default_host,
    curl::Curl,
    frame,
    host::Host,
    lab::Lab,
    mode::Mode,
};
use socket2::{Domain, Protocol, Socket, Type};

const DOCUMENT: &str = include_str!("../../docs/modes.md");

/// Longer than a first packet takes, neighbours asked for and all; silence costs it.
const SILENCE: Duration = Duration::from_millis(1_500);

/// A row of the table: mode, address, source, and what is answered.
type Row = Vec<String>;

/// The table of the document, its head first.
fn table() -> Vec<Row> {
    let (_, rest) = DOCUMENT.split_once("<!-- begin matrix -->\n").unwrap();
    let (text, _) = rest.split_once("<!-- end matrix -->").unwrap();
    let row = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    text.lines().filter(|line| !line.starts_with("|--")).map(row).collect()
}

/// A host, and where it is.
struct Source<'l> {
    network: &'static str,
    host: &'l Host,
    station: Station,
}

fn sources(lab: &Lab) -> [Source<'_>; 4] {
    let services = Station::new(Net::Services, 10);
    [
        ("subnet", &lab.hosts.client, CLIENT),
        ("vnet", &lab.hosts.services, services),
        ("peered", &lab.hosts.routed, ROUTED),
        ("outside", &lab.hosts.outside, OUTSIDE),
    ]
    .map(|(network, host, station)| Source { network, host, station })
}

impl Source<'_> {
    /// What it gets at an address, in the order of the table.
    fn asks(&self, lab: &Lab, to: IpAddr) -> Vec<&'static str> {
        let (gateway, management) = (default_host("gateway"), default_host("management"));
        let https = |name: &str, port| self.curl(lab, "https", name, SocketAddr::new(to, port));
        vec![
            https(&gateway, 443),
            https("nobody.example", 443),
            self.curl(lab, "http", &gateway, SocketAddr::new(to, 80)),
            https(&management, 3443),
            https(&gateway, 3443),
            https(&gateway, 8443),
            self.udp(SocketAddr::new(to, 443)),
            self.echo(to),
        ]
    }

    fn curl(&self, lab: &Lab, scheme: &str, name: &str, at: SocketAddr) -> &'static str {
        let seconds = SILENCE.as_secs_f32().to_string();
        let answer =
            Curl::new(lab, scheme, name, at, "/").with(["--connect-timeout", &seconds]).send(self.host);
        let answer = answer.unwrap();
        match (answer.status, answer.exit) {
            (200, 0) => "answered",
            (308, 0) => "redirect",
            (0, 7) => "refused",
            (0, 28) => "silence",
            (0, 35) if answer.error.contains("unrecognized name") => "refused at TLS",
            _ => panic!("{name} at {at} from {}: {answer:?}", self.network),
        }
    }

    fn udp(&self, to: SocketAddr) -> &'static str {
        self.host.enter(|| {
            let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
            let socket = UdpSocket::bind(any).unwrap();
            socket.connect(to).unwrap();
            socket.set_read_timeout(Some(SILENCE)).unwrap();
            socket.send(b"hello").unwrap();
            match socket.recv(&mut [0; 16]) {
                Ok(_) => "answered",
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => "refused",
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    "silence"
                }
            }
        })
    }

    /// The kernel at the other end answers, or the balancer.
    fn echo(&self, to: IpAddr) -> &'static str {
        const IDENTIFIER: u16 = 77;
        let [v4, v6] = self.station.addresses();
        let from = if to.is_ipv4() { v4 } else { v6 };
        let (_, request) = frame::echo(from, to, IDENTIFIER);
        let (domain, protocol, reply) = match to {
            IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4, 0),
            IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6, 129),
        };
        self.host.enter(|| {
            let mut socket = Socket::new(domain, Type::RAW, Some(protocol)).unwrap();
            socket.connect(&SocketAddr::new(to, 0).into()).unwrap();
            socket.send(&request).unwrap();
            let end = Instant::now() + SILENCE;
            loop {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return "silence";
                }
                socket.set_read_timeout(Some(left)).unwrap();
                let mut packet = [0; 128];
                let Ok(length) = socket.read(&mut packet) else { continue };
                // Of IPv4 the header comes too.
                let message = if to.is_ipv4() { &packet[20..length] } else { &packet[..length] };
                if message[0] == reply && message[4..6] == IDENTIFIER.to_be_bytes() {
                    return "answered";
                }
            }
        })
    }
}

/// Asks for every cell of the mode's rows, in both families, and compares.
#[track_caller]
fn compare(lab: &Lab, mode: &str, addresses: &[(&str, [IpAddr; 2])]) {
    let sources = sources(lab);
    let rows: Vec<Row> = thread::scope(|scope| {
        let mut asked = Vec::new();
        for (kind, families) in addresses {
            for source in &sources {
                asked.push((kind, source, families.map(|to| scope.spawn(move || source.asks(lab, to)))));
            }
        }
        let row = |(kind, source, families): (&&str, &Source<'_>, [thread::ScopedJoinHandle<'_, _>; 2])| {
            let [v4, v6]: [Vec<&str>; 2] = families.map(|asking| asking.join().unwrap());
            let both =
                |(v4, v6): (&str, &str)| if v4 == v6 { v4.to_owned() } else { format!("{v4}; IPv6: {v6}") };
            let cells = v4.into_iter().zip(v6).map(both);
            [mode, *kind, source.network].map(str::to_owned).into_iter().chain(cells).collect()
        };
        asked.into_iter().map(row).collect()
    });
    let table = table();
    let expected: Vec<_> = table.iter().filter(|row| row[0] == mode).cloned().collect();
    assert_eq!(expected.len(), addresses.len() * sources.len(), "docs/modes.md has a row for each");
    assert!(
        rows == expected,
        "not as docs/modes.md has it ({mode}):\n{}",
        printed(&table[0], &rows, &expected)
    );
}

/// What was found, and where that is something else what was expected.
fn printed(head: &Row, found: &[Row], expected: &[Row]) -> String {
    let mut text = format!("| {} |\n", head.join(" | "));
    for (found, expected) in found.iter().zip(expected) {
        let cells = found.iter().zip(expected);
        let cells: Vec<_> = cells
            .map(
                |(found, expected)| {
                    if found == expected { found.clone() } else { format!("**{found}**, not {expected}") }
                },
            )
            .collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

const VIPS: [(&str, [IpAddr; 2]); 2] = [
    ("private", [IpAddr::V4(PRIVATE), IpAddr::V6(PRIVATE6)]),
    ("public", [IpAddr::V4(PUBLIC), IpAddr::V6(PUBLIC6)]),
];

/// Internal first, then the same service in external mode.
fn with_vips(mode: Mode) {
    let lab = Lab::raise(2).unwrap();
    let mut config = lab.config().probed().forwarding(mode);
    let mut running = lab.start(&config).unwrap();
    compare(&lab, "internal", &VIPS);
    "external".clone_into(&mut config.service.mode);
    lab.write(&config).unwrap();
    for gateway in running.proxies.values_mut().chain([&mut running.balancer]) {
        gateway.reload().unwrap();
    }
    compare(&lab, "external", &VIPS);
}

#[test]
fn r2_what_is_answered_to_whom_with_l2() {
    with_vips(Mode::L2);
}

#[test]
fn r2_what_is_answered_to_whom_with_gue() {
    with_vips(Mode::Gue4);
}

#[test]
fn r2_what_is_answered_to_whom_with_ipip_over_ipv6() {
    with_vips(Mode::Ipip6);
}

#[test]
fn r2_what_is_answered_to_whom_with_nat() {
    with_vips(Mode::Nat);
}

#[test]
fn r2_what_is_answered_to_whom_without_vips() {
    let lab = Lab::raise(1).unwrap();
    let _proxy = lab.proxy(&lab.write_text(&lab.config().none()).unwrap(), "gw-1").unwrap();
    compare(&lab, "none", &[("own", Station::instance(1).addresses())]);
}
