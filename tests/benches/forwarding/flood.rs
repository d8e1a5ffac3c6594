//! A flood of ten million SYNs, each of another flow, through the balancer of 512 K established flows: what a packet costs
//! meanwhile, and whether every established flow stays with its instance.

use gateway_userspace::model::Forwarding;
use lab::bench::{Table, median};

use crate::{
    Effort,
    builder::{ACK, Packet, SYN},
    generator::{Audit, Generator, Stream},
    ours::{self, Ring},
    stage::{self, Pair, Source},
    targets::Kernel,
};

const ESTABLISHED: u32 = 512 * 1024;
/// Flows that began after their buckets had changed hands; the table of notes has room for eight times as many.
const BEGUN: u32 = 64 * 1024;
/// Flows of the flood, a power of two for the generator, of which it visits each once before any twice.
const FLOOD: u32 = 16 << 20;
const TEN_MILLION: u32 = 10_000_000;
/// Frames of one measurement.
const ROUND: u32 = 1 << 20;

/// One balancer, and a pair of interfaces to it.
struct Stand {
    pair: Pair,
    _kernel: Kernel,
    generator: Generator,
}

fn segment(flags: u8) -> Vec<u8> {
    Packet::tcp(0, 443, flags, 1).data(&[0; 6]).ip("10.8.0.0", "10.0.0.5").ethernet(&[])
}

impl Stand {
    fn new(
        source: &Source,
        receiver: &lab::host::Host,
        n: usize,
        ring: Ring,
        end: &str,
    ) -> anyhow::Result<Self> {
        let pair = source.pair(receiver, n)?;
        let mut generator = Generator::load()?;
        generator.attach(end, &source.0, &pair.near)?;
        let kernel = ours::attach(Forwarding::L2, ring, receiver, &pair)?;
        Ok(Self { pair, _kernel: kernel, generator })
    }

    fn stream(&self, flags: u8, flows: u32) -> Stream {
        Stream::new(&segment(flags), flows, &self.pair)
    }
}

pub(crate) fn measure(effort: Effort) -> anyhow::Result<Table> {
    let source = Source::new()?;
    let receiver = stage::quiet_host("receiver")?;
    let columns = [
        ("ns", "ns a packet in all", 0),
        ("of_established_percent", "% of established", 0),
        ("flows", "established flows", 0),
        ("astray", "frames to another instance", 0),
        ("lost", "frames lost", 0),
    ];
    let mut table = Table::new("flood", "gateway, l2, under 10,000,000 SYNs of as many flows", &columns);
    for (n, (ring, name)) in [(Ring::Settled, "settled"), (Ring::Moved, "moved")].into_iter().enumerate() {
        eprintln!("flood: {name} buckets");
        let mut stand = Stand::new(&source, &receiver, 3 * n, ring, "sink")?;
        let [alone, flood, both] = cost(&mut stand, &source, effort)?;
        let of = |ns: f64| [("ns", ns), ("of_established_percent", ns / alone * 100.0)];
        table.add(&format!("{name} buckets: established flows alone"), of(alone));
        table.add(&format!("{name} buckets: SYNs alone"), of(flood));
        table.add(&format!("{name} buckets: half and half"), of(both));
        let mut stand = Stand::new(&source, &receiver, 3 * n + 1, ring, "audit")?;
        let mut established = stand.stream(ACK, ESTABLISHED);
        let found = survive(&mut stand, &source, &mut established, ESTABLISHED)?;
        table.add(&format!("{name} buckets: flows from before"), found);
    }
    let mut stand = Stand::new(&source, &receiver, 6, Ring::Moved, "audit")?;
    let mut syns = stand.stream(SYN, BEGUN);
    stand.generator.send(&mut syns, &source.0, BEGUN)?;
    let mut established = stand.stream(ACK, BEGUN);
    let found = survive(&mut stand, &source, &mut established, BEGUN)?;
    table.add("moved buckets: flows begun in the window", found);
    Ok(table)
}

/// Nanoseconds a frame: established flows alone, SYNs alone, one of each in turn.
fn cost(stand: &mut Stand, source: &Source, effort: Effort) -> anyhow::Result<[f64; 3]> {
    let mut streams = [
        stand.stream(ACK, ESTABLISHED),
        stand.stream(SYN, FLOOD),
        stand.stream(ACK, ESTABLISHED).with_flood(FLOOD),
    ];
    let mut costs = [const { Vec::new() }; 3];
    for round in 0..=effort.rounds {
        for (stream, costs) in streams.iter_mut().zip(&mut costs) {
            let cost = stand.generator.send(stream, &source.0, ROUND)?.frame_ns;
            // The first warms caches.
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    Ok(costs.map(|costs| median(&costs)))
}

/// Sends every established flow's frame once, then the flood with more of them in between.
fn survive(
    stand: &mut Stand,
    source: &Source,
    established: &mut Stream,
    flows: u32,
) -> anyhow::Result<[(&'static str, f64); 3]> {
    stand.generator.send(established, &source.0, flows)?;
    let first = settled(&stand.generator, u64::from(flows))?;
    anyhow::ensure!(first.flows == u64::from(flows), "{} of {flows} flows arrived", first.flows);
    let mut both = established.with_flood(FLOOD);
    let mut sent = 0;
    while sent < TEN_MILLION {
        stand.generator.send(&mut both, &source.0, 2 * ROUND)?;
        sent += ROUND;
    }
    let expected = u64::from(flows) + u64::from(sent);
    let then = settled(&stand.generator, expected)?;
    Ok([
        ("flows", then.flows as f64),
        ("astray", then.astray as f64),
        ("lost", expected.saturating_sub(then.packets) as f64),
    ])
}

/// What was found once so many frames have arrived, or none comes any more.
fn settled(generator: &Generator, packets: u64) -> anyhow::Result<Audit> {
    lab::wait::eventually(std::time::Duration::from_secs(2), || {
        generator.audit().is_ok_and(|audit| audit.packets >= packets)
    });
    generator.audit()
}
