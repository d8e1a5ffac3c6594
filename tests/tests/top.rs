//! R60: `gateway top` as somebody at a terminal sees and leaves it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::{num::NonZeroU16, time::Duration};

use lab::{
    address::PRIVATE,
    config::default_host,
    curl::Curl,
    gateway::gateway,
    lab::{Lab, Running},
    terminal::{Size, Terminal},
    wait::eventually,
};
use nix::sys::signal::Signal;

/// On a machine that has much else to do.
const SOON: Duration = Duration::from_secs(60);
const DESK: Size = size(80, 24);
const SMALL: Size = size(40, 12);

const fn size(columns: u16, lines: u16) -> Size {
    match (NonZeroU16::new(columns), NonZeroU16::new(lines)) {
        (Some(columns), Some(lines)) => Size { columns, lines },
        _ => panic!("no room at all"),
    }
}

fn served() -> (Lab, Running) {
    let lab = Lab::raise(2).unwrap();
    let running = lab.start(&lab.config().probed()).unwrap();
    request(&lab);
    (lab, running)
}

/// One that is answered, and packets that are dropped: there is no such port.
fn request(lab: &Lab) {
    let name = default_host("gateway");
    assert_eq!(Curl::https(lab, &name, PRIVATE, "/").send(&lab.hosts.client).unwrap().status, 200);
    let refused = Curl::url(lab, &format!("http://{PRIVATE}:8443/")).with(["--connect-timeout", "0.2"]);
    assert_eq!(refused.send(&lab.hosts.client).unwrap().exit, 28);
}

fn top(lab: &Lab, size: Size) -> Terminal {
    let mut command = gateway("top").unwrap();
    command.args(["--interval", "200ms", "--config"]).arg(lab.folder().join("gateway.toml"));
    Terminal::start(&lab.hosts.balancer, command, size).unwrap()
}

/// All that a screen of any size has, each number right below its heading.
#[track_caller]
fn is_in_order(terminal: &Terminal) {
    let parts = ["contoso  serving, generation 1", "SERVICE", "INSTANCE", "DROPPED FOR", "q quit"];
    let has = |lines: &[String]| parts.iter().all(|part| lines.iter().any(|line| line.starts_with(part)));
    let lines = terminal.becomes("whole", has).unwrap();
    let text = lines.join("\n");
    let heads: Vec<_> = lines.iter().filter(|line| line.contains("PACKETS/s")).collect();
    assert_eq!(heads.len(), 3, "{text}");
    let end = |line: &str| line[..line.find("PACKETS/s").unwrap() + 9].chars().count();
    assert!(heads.iter().all(|head| end(head) == end(heads[0])), "{text}");
    let body = lines[2..lines.len() - 1].iter().filter(|line| !line.is_empty() && !line.starts_with('…'));
    for line in body.filter(|line| !line.contains("PACKETS/s")) {
        let number: Vec<_> = line.chars().skip(end(heads[0]) - 9).take(10).collect();
        let text_of: String = number.iter().collect();
        assert!(number[8].is_ascii_alphanumeric(), "`{text_of}` in\n{text}");
        assert!(
            text_of.trim().chars().all(|c| c.is_ascii_alphanumeric() || c == '.'),
            "`{text_of}` in\n{text}"
        );
    }
}

#[test]
fn r60_top_fits_the_terminal_follows_its_size_and_leaves_it_as_it_was() {
    let (lab, _running) = served();
    let mut terminal = top(&lab, DESK);
    is_in_order(&terminal);
    for part in ["10.0.0.5:443", "[fd00:0:0:1::5]:3443", "gw-2", "up", "no-service", "LAST LOOKS"] {
        terminal.shows(part).unwrap();
    }
    // A plot has a few seconds.
    let is_plotted = || {
        request(&lab);
        terminal.lines().iter().any(|line| line.contains('█'))
    };
    assert!(eventually(SOON, is_plotted), "{}", terminal.lines().join("\n"));
    terminal.resize(SMALL).unwrap();
    terminal.shows("… 6 more").unwrap();
    is_in_order(&terminal);
    terminal.types("s/gw-2\r").unwrap();
    terminal.shows("q quit   s by packets   / filter \"gw-2\"").unwrap();
    terminal
        .becomes("gw-2 alone", |lines| {
            let has = |name: &str| lines.iter().any(|line| line.starts_with(name));
            has("gw-2") && !has("gw-1") && !has("10.0.0.5")
        })
        .unwrap();
    terminal.resize(DESK).unwrap();
    terminal.types("\u{1b}").unwrap();
    terminal.shows("LAST LOOKS").unwrap();
    is_in_order(&terminal);
    terminal.types("q").unwrap();
    assert!(terminal.wait().unwrap().success());
    terminal.is_as_before().unwrap();
}

#[test]
fn r60_top_fits_a_small_terminal_from_the_start() {
    let (lab, running) = served();
    let mut terminal = top(&lab, SMALL);
    is_in_order(&terminal);
    drop(running);
    terminal.shows("no answer: ").unwrap();
    // Ctrl-C, as it is typed.
    terminal.types("\u{3}").unwrap();
    assert!(terminal.wait().unwrap().success());
    terminal.is_as_before().unwrap();
}

#[test]
fn r60_a_signal_ends_top_and_the_terminal_is_as_it_was() {
    let (lab, _running) = served();
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut terminal = top(&lab, DESK);
        terminal.shows("q quit").unwrap();
        terminal.signal(signal).unwrap();
        assert!(terminal.wait().unwrap().success(), "{signal}");
        terminal.is_as_before().unwrap();
    }
}
