//! Nanoseconds a packet, by BPF_PROG_TEST_RUN, above an empty program in the same rounds.
//!
//! `cargo xtask bench packets [--quick] [--json]`. The kernel hands the frame to each repetition as the last one left it, so the program
//! under test stands behind another one that makes it afresh (`wrap` in gateway-ebpf/src/bench.rs). The floor is an empty program
//! behind the same one.
#![expect(clippy::unwrap_used, reason = "a bench that cannot measure ends")]

#[path = "../tests/packets/builder.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod builder;
#[path = "forwarding/core.rs"]
#[expect(dead_code, reason = "live frames need more of it")]
mod core;
#[path = "../tests/packets/targets.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod targets;

use std::{collections::BTreeMap, path::Path, time::Duration};

use aya::{
    Ebpf,
    maps::{Array, MapData, ProgramArray},
    programs::{ProgramFd, TestRun as _, TestRunOptions, Xdp},
};
use builder::{ACK, Packet, SYN};
use gateway_ebpf::layout::{self, Service};
use gateway_userspace::{
    model::{Forwarding, Model},
    plan::Scope,
};
use lab::bench::{Run, Table};
use network_types::ip::IpProto;
use targets::{Kernel, desired, model};

/// In front of the name of the case with which one with a table of connections is compared.
const CLASSIC: &str = "classic table and ";
/// 512 K
const MANY: u32 = 512 * 1024;
/// More flows than a run has frames of them.
const ALWAYS_NEW: u32 = 1 << 28;
/// Bytes of the frames, without Ethernet's checksum, over IPv4 and IPv6.
const LENGTHS: [usize; 2] = [60, 80];

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

/// What `wrap` hands on: `Wrapped` of bench.rs.
#[repr(C)]
#[derive(Clone, Copy)]
struct Wrapped {
    frame: [u32; LENGTHS[1] / 4],
    length: u32,
    next: u32,
    flows: u32,
}

// SAFETY: repr(C), integers of one size.
unsafe impl aya::Pod for Wrapped {}

/// Which tables the program runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tables {
    Settled(Mode),
    /// All buckets have changed hands, and the window is open.
    Moved(Mode),
}

/// [`Forwarding`], in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    L2,
    Ipip,
    Gue,
    Nat,
}

const MODES: [(&str, Mode); 4] =
    [("l2", Mode::L2), ("ipip", Mode::Ipip), ("gue", Mode::Gue), ("nat", Mode::Nat)];

/// What is measured, above which floor.
struct Case {
    name: String,
    frame: Vec<u8>,
    /// A power of two.
    flows: u32,
    tables: Tables,
    /// With a table of connections in front.
    classic: bool,
    action: u32,
    /// Nanoseconds, the least of all rounds: of the empty program, and of this one.
    best: (f64, f64),
}

fn cases() -> Vec<Case> {
    let tcp = |flags, from: &str, to: &str, port| {
        let data = [0; 6];
        Packet::tcp(50_000, port, flags, 1).data(&data).ip(from, to).ethernet(&[])
    };
    let case = |name: String, frame, flows, tables, action| Case {
        name,
        frame,
        flows,
        tables,
        classic: false,
        action,
        best: (f64::MAX, f64::MAX),
    };
    let inside = [("", "10.8.7.7", "10.0.0.5"), (", IPv6", "fd00:0:0:1::99", "fd00:0:0:1::5")];
    let mut cases = Vec::new();
    for (mode, number) in MODES {
        for (family, from, to) in inside {
            for (what, flags, flows) in
                [("established", ACK, 1), ("512 K flows", ACK, MANY), ("SYN, always new", SYN, ALWAYS_NEW)]
            {
                let name = format!("{mode}: {what}{family}");
                cases.push(case(name, tcp(flags, from, to, 443), flows, Tables::Settled(number), XDP_TX));
            }
            let datagram = Packet::udp(50_000, 443, &[0; 18]).ip(from, to).ethernet(&[]);
            cases.push(case(format!("{mode}: UDP{family}"), datagram, 1, Tables::Settled(number), XDP_TX));
        }
    }
    let l2 = Tables::Settled(Mode::L2);
    let (_, from, to) = inside[0];
    for (what, flags, flows) in
        [("established", ACK, 1), ("512 K flows", ACK, MANY), ("SYN, always new", SYN, ALWAYS_NEW)]
    {
        let name = format!("l2, moved buckets: {what}");
        cases.push(case(name, tcp(flags, from, to, 443), flows, Tables::Moved(Mode::L2), XDP_TX));
    }
    for (what, flags, flows) in
        [("established", ACK, 1), ("512 K flows", ACK, MANY), ("SYN, always new", SYN, ALWAYS_NEW)]
    {
        let name = format!("{CLASSIC}l2: {what}");
        let classic = case(name, tcp(flags, from, to, 443), flows, l2, XDP_TX);
        cases.push(Case { classic: true, ..classic });
    }
    for (what, from, to, port, action) in [
        ("closed port of the public VIP", "198.51.100.7", "203.0.113.5", 443, XDP_DROP),
        ("source outside, private VIP", "198.51.100.7", "10.0.0.5", 443, XDP_DROP),
        ("foreign traffic", "10.8.7.7", "10.0.0.2", 22, XDP_PASS),
        ("foreign traffic, IPv6", "fd00:0:0:1::99", "fd00:0:0:1::2", 22, XDP_PASS),
    ] {
        cases.push(case(what.to_owned(), tcp(SYN, from, to, port), 1, l2, action));
    }
    cases
}

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let (rounds, repeat) = if has("--quick") { (5, 300_000) } else { (25, 1_000_000) };
    core::stay()?;

    let mut cases = cases();
    let mut bench = Bench::load()?;
    let mut kernels: BTreeMap<Tables, Kernel> =
        cases.iter().map(|case| (case.tables, kernel(case.tables))).collect();
    for round in 0..rounds {
        for case in &mut cases {
            let kernel = kernels.get_mut(&case.tables).unwrap();
            let (floor, cost) = bench.measure(kernel, case, repeat)?;
            case.best = (case.best.0.min(floor), case.best.1.min(cost));
        }
        eprint!("\rround {} of {rounds}", round + 1);
    }
    eprintln!();
    let tables = vec![costs(&cases), sizes(kernels.get_mut(&Tables::Settled(Mode::L2)).unwrap())?];
    let quick = if has("--quick") { " --quick" } else { "" };
    Run::new(&format!("cargo xtask bench packets{quick}"), tables)?.publish("packets", has("--json"))
}

fn costs(cases: &[Case]) -> Table {
    let columns = [
        ("above_ns", "ns above empty", 0),
        ("ns", "ns", 0),
        ("empty_ns", "ns of empty", 0),
        ("of_gateway", "× gateway", 1),
    ];
    let mut table = Table::new("program", "the kernel program alone, smallest frames", &columns);
    let above = |case: &Case| case.best.1 - case.best.0;
    for case in cases {
        let (floor, cost) = case.best;
        let mut values = vec![("above_ns", above(case)), ("ns", cost), ("empty_ns", floor)];
        if let Some(same) = case.name.strip_prefix(CLASSIC) {
            let gateway = cases.iter().find(|case| case.name == same).unwrap();
            values.push(("of_gateway", above(case) / above(gateway)));
        }
        table.add(&case.name, values);
    }
    table
}

/// How large the programs are.
fn sizes(kernel: &mut Kernel) -> anyhow::Result<Table> {
    let columns = [("verified", "verified instructions", 0), ("jited", "bytes of machine code", 0)];
    let mut table = Table::new("size", "size", &columns);
    for (name, info) in kernel.dataplane.programs()? {
        let verified = f64::from(info.verified_instruction_count().unwrap_or_default());
        table.add(name, [("verified", verified), ("jited", f64::from(info.size_jitted()))]);
    }
    Ok(table)
}

fn kernel(tables: Tables) -> Kernel {
    let (Tables::Settled(mode) | Tables::Moved(mode)) = tables;
    let mut both = model();
    both.balancer.forwarding = match mode {
        Mode::L2 => Forwarding::L2,
        Mode::Ipip => Forwarding::Ipip,
        Mode::Gue => Forwarding::Gue,
        Mode::Nat => Forwarding::Nat,
    };
    let mut wish = desired(both.clone());
    let Tables::Moved(_) = tables else { return with_udp(Kernel::new(&wish)) };
    // Every bucket goes from one instance to the other.
    let with = |keep: fn(&mut Model)| {
        let mut model = both.clone();
        keep(&mut model);
        model.into()
    };
    wish.model = with(|model| model.instances.truncate(1));
    let mut kernel = Kernel::new(&wish);
    wish.model = with(|model| drop(model.instances.remove(0)));
    kernel.step(&wish);
    kernel
}

/// Port 443 of the private VIPs serves UDP too, which no file can ask for today.
fn with_udp(mut kernel: Kernel) -> Kernel {
    let mut plan = kernel.plan.clone();
    let slot = |key| layout::slot(key, plan.config.service_multiplier);
    for vip in ["10.0.0.5", "fd00:0:0:1::5"] {
        let scope = plan.scopes[&Scope::Vip(vip.parse().unwrap())];
        let [tcp, udp] =
            [IpProto::Tcp, IpProto::Udp].map(|protocol| Service::key(scope, protocol as u8, 443));
        let service = Service { key: udp, ..plan.services[&slot(tcp)] };
        assert!(plan.services.insert(slot(udp), service).is_none(), "the slot is taken");
    }
    kernel.dataplane.apply(&plan).unwrap();
    kernel.plan = plan;
    kernel
}

/// The bench's own programs, loaded.
struct Bench(Ebpf);

impl Bench {
    fn load() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut bench =
            Self(Ebpf::load_file(root.join("target/bpf/bpfel-unknown-none/release/gateway-bench"))?);
        for name in ["empty", "wrap", "wrap_classic"] {
            bench.program(name)?.load()?;
        }
        Ok(bench)
    }

    fn program(&mut self, name: &str) -> anyhow::Result<&mut Xdp> {
        Ok(self.0.program_mut(name).unwrap().try_into()?)
    }

    /// The floor and the whole, one after the other.
    fn measure(&mut self, kernel: &mut Kernel, case: &Case, repeat: u32) -> anyhow::Result<(f64, f64)> {
        let empty = self.program("empty")?.fd()?.try_clone()?;
        let floor = self.run("wrap", &empty, case, XDP_TX, repeat)?;
        let before = counted(kernel)?;
        let gateway = kernel.dataplane.program()?.fd()?.try_clone()?;
        let wrapper = if case.classic { "wrap_classic" } else { "wrap" };
        let cost = self.run(wrapper, &gateway, case, case.action, repeat)?;
        let after = counted(kernel)?;
        // The kernel tells the last repetition's verdict alone; the program counts all.
        let all = u64::from(repeat);
        let expected = match case.action {
            XDP_TX => [all, 0],
            XDP_DROP => [0, all],
            _ => [0, 0],
        };
        let [forwarded, dropped] = [after[0] - before[0], after[1] - before[1]];
        anyhow::ensure!(
            [forwarded, dropped] == expected,
            "{}: of {all} packets {forwarded} were forwarded and {dropped} dropped",
            case.name
        );
        Ok((floor, cost))
    }

    fn run(
        &mut self,
        wrapper: &str,
        under_test: &ProgramFd,
        case: &Case,
        action: u32,
        repeat: u32,
    ) -> anyhow::Result<f64> {
        let mut programs: ProgramArray<&mut MapData> = self.0.map_mut("UNDER_TEST").unwrap().try_into()?;
        programs.set(0, under_test, 0)?;
        let mut map: Array<&mut MapData, Wrapped> = self.0.map_mut("WRAPPED").unwrap().try_into()?;
        let next = map.get(&0, 0)?.next;
        map.set(0, Wrapped { next, ..wrapped(case) }, 0)?;
        let options = TestRunOptions { data_in: Some(&case.frame), repeat, ..TestRunOptions::default() };
        let result = self.program(wrapper)?.test_run(options)?;
        anyhow::ensure!(result.return_value == action, "{}: XDP action {}", case.name, result.return_value);
        // The kernel reports the mean, in whole nanoseconds.
        Ok(result.duration.max(Duration::from_nanos(1)).as_nanos() as f64)
    }
}

fn wrapped(case: &Case) -> Wrapped {
    assert!(case.flows.is_power_of_two() && LENGTHS.contains(&case.frame.len()), "{}", case.name);
    let mut frame = [0; LENGTHS[1] / 4];
    for (word, bytes) in frame.iter_mut().zip(case.frame.chunks(4)) {
        *word = u32::from_ne_bytes(bytes.try_into().unwrap());
    }
    Wrapped { frame, length: case.frame.len() as u32, next: 0, flows: case.flows - 1 }
}

/// Packets that the program has forwarded and dropped until now.
fn counted(kernel: &Kernel) -> anyhow::Result<[u64; 2]> {
    let counters = kernel.dataplane.counters()?;
    let forwarded = counters.instances.iter().map(|line| line.packets).sum();
    let dropped = counters.drops.iter().map(|line| line.packets).sum();
    Ok([forwarded, dropped])
}
