//! Live frames: how many a second one core forwards or drops, generator and sink on it included.

use std::time::Duration;

use gateway_userspace::model::Forwarding;
use lab::{
    bench::{Table, median},
    host::Host,
    wait,
};

use crate::{
    Effort,
    builder::{ACK, Packet, SYN},
    generator::{Arrived, FRAME, Generator, Stream},
    ours::{self, Ring},
    peers,
    stage::{self, Pair, Source},
    targets::Kernel,
};

/// One measurement, in nanoseconds: short against the second in which the kernel leaves some time to others.
const ROUND: f64 = 0.25e9;
/// Frames of the first measurement, from which the length of the others is found.
const FIRST: u32 = 1 << 17;
/// For the last frames to arrive.
const SETTLE: Duration = Duration::from_secs(2);
/// 512 K
const MANY: u32 = 512 * 1024;
/// The kernel's table of connections holds 262,144 where nobody has changed it.
const CONNECTIONS: u32 = 64 * 1024;

/// Every way of forwarding, and what it adds to a frame over IPv4.
const MODES: [(&str, Forwarding, usize); 3] =
    [("l2", Forwarding::L2, 0), ("ipip", Forwarding::Ipip, 20), ("gue", Forwarding::Gue, 32)];

#[derive(Debug, Clone, Copy)]
enum Subject {
    Reflector,
    Discard,
    Ours(Forwarding),
    Nftables,
}

#[derive(Debug, Clone, Copy)]
enum Outcome {
    /// Back to the sink, so many bytes longer.
    Forwarded(usize),
    Dropped,
}

struct Case {
    name: String,
    subject: Subject,
    frame: Vec<u8>,
    flows: u32,
    outcome: Outcome,
}

fn cases() -> Vec<Case> {
    let tcp = |flags| Packet::tcp(0, 443, flags, 1).data(&[0; 6]).ip("10.8.0.0", "10.0.0.5").ethernet(&[]);
    let closed = Packet::tcp(0, 443, SYN, 1).data(&[0; 6]).ip("198.51.0.0", "203.0.113.5").ethernet(&[]);
    let case = |name: &str, subject, frame: &Vec<u8>, flows, outcome| Case {
        name: name.to_owned(),
        subject,
        frame: frame.clone(),
        flows,
        outcome,
    };
    let (ack, syn) = (tcp(ACK), tcp(SYN));
    let mut cases = vec![case("bare XDP reflector", Subject::Reflector, &ack, MANY, Outcome::Forwarded(0))];
    for (mode, forwarding, more) in MODES {
        let to_instance = Outcome::Forwarded(more);
        let name = |what: &str| format!("gateway, {mode}: {what}");
        cases.push(case(&name("64 K flows"), Subject::Ours(forwarding), &ack, CONNECTIONS, to_instance));
        cases.push(case(&name("512 K flows"), Subject::Ours(forwarding), &ack, MANY, to_instance));
        cases.push(case(&name("SYN, 512 K flows"), Subject::Ours(forwarding), &syn, MANY, to_instance));
    }
    let dnat = "nftables DNAT: 64 K flows";
    cases.push(case(dnat, Subject::Nftables, &ack, CONNECTIONS, Outcome::Forwarded(0)));
    cases.push(case("bare XDP_DROP", Subject::Discard, &closed, MANY, Outcome::Dropped));
    let drop = "gateway: closed port of the public VIP";
    cases.push(case(drop, Subject::Ours(Forwarding::L2), &closed, MANY, Outcome::Dropped));
    cases
}

/// A case that is set up, and what it has come to.
struct Stand {
    case: Case,
    pair: Pair,
    stream: Stream,
    receiver: usize,
    _kernel: Option<Kernel>,
    /// Nanoseconds a frame, by round.
    cost: Vec<f64>,
}

pub(crate) fn measure(effort: Effort) -> anyhow::Result<Table> {
    let folder = tempfile::tempdir()?;
    let source = Source::new()?;
    // Rules of nftables hold for a whole host, so it has its own.
    let receivers = [stage::quiet_host("receiver")?, stage::quiet_host("nftables")?];
    let mut generator = Generator::load()?;
    let mut stands = Vec::new();
    for (n, case) in cases().into_iter().enumerate() {
        let receiver = usize::from(matches!(case.subject, Subject::Nftables));
        let host = &receivers[receiver];
        let pair = source.pair(host, n)?;
        generator.attach("sink", &source.0, &pair.near)?;
        let kernel = match case.subject {
            Subject::Reflector => generator.attach("reflect", host, &pair.far).map(|()| None)?,
            Subject::Discard => generator.attach("discard", host, &pair.far).map(|()| None)?,
            Subject::Ours(forwarding) => Some(ours::attach(forwarding, Ring::Settled, host, &pair)?),
            Subject::Nftables => peers::nftables_router(host, &pair, folder.path()).map(|()| None)?,
        };
        let stream = Stream::new(&case.frame, case.flows, &pair);
        stands.push(Stand { case, pair, stream, receiver, _kernel: kernel, cost: Vec::new() });
    }
    for round in 0..=effort.rounds {
        for stand in &mut stands {
            let cost = run(&mut generator, &source, &receivers[stand.receiver], stand)?;
            stand.cost.push(cost);
            // The first round warms caches and fills nftables' connections.
            if round == 1 {
                stand.cost.remove(0);
            }
        }
        eprint!("\rlive frames: round {round} of {}", effort.rounds);
    }
    eprintln!();
    Ok(table(&stands))
}

fn run(generator: &mut Generator, source: &Source, host: &Host, stand: &mut Stand) -> anyhow::Result<f64> {
    let before = generator.arrived()?;
    let dropped = |stand: &Stand| stage::counter(host, &stand.pair.far, "xdp_drops");
    let dropped_before = dropped(stand)?;
    let frames = stand.cost.last().map_or(FIRST, |cost| (ROUND / cost) as u32);
    let sent = generator.send(&mut stand.stream, &source.0, frames)?;
    let done = match stand.case.outcome {
        Outcome::Forwarded(more) => {
            wait::eventually(SETTLE, || {
                generator.arrived().is_ok_and(|now| now.packets - before.packets >= sent.frames)
            });
            let now = generator.arrived()?;
            let arrived = Arrived { packets: now.packets - before.packets, bytes: now.bytes - before.bytes };
            let bytes = arrived.packets * (FRAME + more) as u64;
            anyhow::ensure!(arrived.bytes == bytes, "{}: {arrived:?}, not {bytes} bytes", stand.case.name);
            arrived.packets
        }
        Outcome::Dropped => {
            wait::eventually(SETTLE, || dropped(stand).is_ok_and(|now| now - dropped_before >= sent.frames));
            dropped(stand)? - dropped_before
        }
    };
    // A frame that was lost between the interfaces was not dealt with: the rate would be a flattering one.
    anyhow::ensure!(done * 1000 >= sent.frames * 999, "{}: {done} of {sent:?}", stand.case.name);
    Ok(sent.frame_ns)
}

fn table(stands: &[Stand]) -> Table {
    let columns = [
        ("mpps", "Mpps", 2),
        ("of_bare_percent", "% of bare XDP", 0),
        ("of_nftables", "× nftables", 1),
        ("cpu_ms", "CPU ms per million packets", 0),
        ("above_bare_ns", "ns above bare XDP", 0),
    ];
    let mut table = Table::new("live-frames", "live 64-byte frames over veth, one core", &columns);
    let of = |wanted: fn(Subject) -> bool| {
        let stand = stands.iter().find(|stand| wanted(stand.case.subject)).unwrap();
        median(&stand.cost)
    };
    let reflector = of(|subject| matches!(subject, Subject::Reflector));
    let discard = of(|subject| matches!(subject, Subject::Discard));
    let nftables = of(|subject| matches!(subject, Subject::Nftables));
    for stand in stands {
        let cost = median(&stand.cost);
        let (bare, forwards) = match stand.case.outcome {
            Outcome::Forwarded(_) => (reflector, true),
            Outcome::Dropped => (discard, false),
        };
        // Nanoseconds a packet are milliseconds a million.
        let mut values =
            vec![("mpps", 1e3 / cost), ("of_bare_percent", bare / cost * 100.0), ("cpu_ms", cost)];
        values.push(("above_bare_ns", cost - bare));
        if forwards {
            values.push(("of_nftables", nftables / cost));
        }
        table.add(&stand.case.name, values);
    }
    table
}
