//! Nanoseconds a packet, out and back: datagrams by one socket, each of which is dropped or answered at the far end.
//!
//! All of it runs on one core in the sender's turn: the call returns when the packet has been dropped, or its answer is in the socket.
//! So what an answered one takes longer than a dropped one is the way back.

use std::{
    fs,
    net::{SocketAddrV4, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use aya::Ebpf;
use gateway_userspace::dataplane::snat::Snat;
use lab::{
    bench::{Table, median},
    pass::Pass,
};

use crate::{
    Effort, core,
    far::Far,
    pair::{DIP, OUTSIDE, Pair},
    way::Way,
};

/// Of one measurement: short against the second of which the kernel leaves a twentieth to others than real-time threads.
const COUNT: u32 = 100_000;
const REST: Duration = Duration::from_millis(50);
/// As many ports of the far end.
const FLOWS: [(&str, u32); 2] = [("one flow", 1), ("16 K flows", 16 * 1024)];
/// Odd, so that every flow has its turn, in no order that a cache could guess.
const STRIDE: u32 = 0x9e37_79b1;
const FIRST_PORT: u16 = 1024;

/// A way with a far end.
struct Stand {
    way: Way,
    far: Far,
    pair: Pair,
    socket: UdpSocket,
    _far: (Ebpf, Pass),
    _snat: Option<Snat>,
    /// Nanoseconds a packet, by case and round.
    cost: [Vec<f64>; FLOWS.len()],
}

impl Stand {
    fn raise(way: Way, far: Far) -> anyhow::Result<Self> {
        let pair = Pair::raise()?;
        let attached = far.attach(&pair)?;
        let snat = way.begin(&pair)?;
        let socket = pair.instance.enter(|| UdpSocket::bind((DIP, 0)))?;
        Ok(Self { way, far, pair, socket, _far: attached, _snat: snat, cost: Default::default() })
    }

    fn send(&self, flows: u32) -> anyhow::Result<f64> {
        let to =
            |n: u32| SocketAddrV4::new(OUTSIDE, FIRST_PORT + (n.wrapping_mul(STRIDE) & (flows - 1)) as u16);
        let before = self.received()?;
        let took = self.pair.instance.enter(|| -> anyhow::Result<_> {
            core::take()?;
            let began = Instant::now();
            for n in 0..COUNT {
                self.socket.send_to(&[0; 18], to(n))?;
            }
            Ok(began.elapsed())
        })?;
        let came = self.received()? - before;
        let expected = if self.far == Far::Answers { u64::from(COUNT) } else { 0 };
        // One that was lost did not have all the work done to it.
        ensure!(
            came.abs_diff(expected) * 1000 <= u64::from(COUNT),
            "{}: {came} answers, not {expected}",
            self.way.name()
        );
        Ok(took.as_nanos() as f64 / f64::from(COUNT))
    }

    /// Packets that came to the host. Nobody reads: most of them the socket has no room for.
    fn received(&self) -> anyhow::Result<u64> {
        let text = self.pair.instance.enter(|| fs::read_to_string("/proc/thread-self/net/snmp"))?;
        let mut lines = text.lines().filter_map(|line| line.strip_prefix("Ip: "));
        let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
        let place = names.split(' ').position(|name| name == "InReceives");
        let value = place.and_then(|place| values.split(' ').nth(place)).context("no counters of IP")?;
        Ok(value.parse()?)
    }
}

pub(crate) fn measure(effort: Effort) -> anyhow::Result<Table> {
    let all = Way::ALL.into_iter().flat_map(|way| Far::ALL.map(|far| (way, far)));
    let mut stands = all.map(|(way, far)| Stand::raise(way, far)).collect::<anyhow::Result<Vec<_>>>()?;
    for round in 0..=effort.rounds {
        for (case, (_, flows)) in FLOWS.into_iter().enumerate() {
            for stand in &mut stands {
                let cost = stand.send(flows)?;
                // The first round makes the flows.
                if round > 0 {
                    stand.cost[case].push(cost);
                }
                thread::sleep(REST);
            }
        }
        eprint!("\rdatagrams: round {round} of {}", effort.rounds);
    }
    eprintln!();
    let columns = [
        ("out_ns", "out, ns above no translation", 0),
        ("in_ns", "back, ns above no translation", 0),
        ("both_ns", "both, ns above no translation", 0),
        ("of_nftables", "× nftables", 2),
        ("sent_ns", "sent, ns in all", 0),
        ("answered_ns", "sent and answered, ns in all", 0),
    ];
    let title = "datagrams of an instance to the outside, one core";
    let mut table = Table::new("datagrams", title, &columns).plotting("both_ns");
    for (case, (flows, _)) in FLOWS.into_iter().enumerate() {
        let of = |way, far| {
            let stand = stands.iter().find(|stand| (stand.way, stand.far) == (way, far)).unwrap();
            median(&stand.cost[case])
        };
        let above = |way, far| of(way, far) - of(Way::Untranslated, far);
        for way in Way::ALL {
            let (out, both) = (above(way, Far::Drops), above(way, Far::Answers));
            let mut values = vec![("sent_ns", of(way, Far::Drops)), ("answered_ns", of(way, Far::Answers))];
            if way != Way::Untranslated {
                values.extend([("out_ns", out), ("in_ns", both - out), ("both_ns", both)]);
                values.push(("of_nftables", both / above(Way::Nftables, Far::Answers)));
            }
            table.add(&format!("{}: {flows}", way.name()), values);
        }
    }
    Ok(table)
}
