//! Nanoseconds a packet, by BPF_PROG_TEST_RUN, above an empty program in the same rounds.
//!
//! `cargo xtask bench packets [--quick] [--json]`. The MACs of balancer and instances are all the same here, so that the
//! rewritten frame, which the kernel feeds to the next repetition, is the frame it was.
#![expect(clippy::unwrap_used, reason = "a bench that cannot measure ends")]

#[path = "../tests/packets/builder.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod builder;
#[path = "../tests/packets/targets.rs"]
#[expect(dead_code, reason = "the tests use all of it")]
mod targets;

use std::{path::Path, time::Duration};

use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray, PerCpuValues, ProgramArray},
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use builder::{ACK, OURS, Packet, SYN};
use targets::{Kernel, desired, model};

/// `vary`'s state for one CPU: the next flow and how many there are.
#[repr(C)]
#[derive(Clone, Copy)]
struct Flows {
    next: u32,
    count: u32,
}

// SAFETY: repr(C), two integers without padding between or behind.
unsafe impl aya::Pod for Flows {}

/// What is measured, above which floor.
struct Case {
    name: &'static str,
    frame: Vec<u8>,
    /// One flow: the program is run by itself. More: behind `vary`, and the floor is an empty program behind it.
    flows: u32,
    /// In a ring all of whose buckets have changed hands.
    moved: bool,
    action: u32,
}

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

fn cases() -> Vec<Case> {
    let tcp =
        |flags| Packet::tcp(50_000, 443, flags, 1).data(&[0; 6]).ip("10.0.7.7", "10.0.0.5").ethernet(&[]);
    let case = |name, frame, flows, moved, action| Case { name, frame, flows, moved, action };
    let public =
        Packet::tcp(50_000, 443, SYN, 1).data(&[0; 6]).ip("198.51.100.7", "203.0.113.5").ethernet(&[]);
    let foreign = Packet::tcp(50_000, 22, ACK, 1).data(&[0; 6]).ip("10.0.7.7", "10.0.0.2").ethernet(&[]);
    let v6 =
        Packet::tcp(50_000, 443, ACK, 1).data(&[0; 6]).ip("fd00:0:0:1::99", "fd00:0:0:1::5").ethernet(&[]);
    let stranger =
        Packet::tcp(50_000, 443, SYN, 1).data(&[0; 6]).ip("198.51.100.7", "10.0.0.5").ethernet(&[]);
    vec![
        case("established, one flow", tcp(ACK), 1, false, XDP_TX),
        case("established, one flow, IPv6", v6, 1, false, XDP_TX),
        case("SYN, one flow", tcp(SYN), 1, false, XDP_TX),
        case("established, 500,000 flows", tcp(ACK), 500_000, false, XDP_TX),
        case("SYN, always new", tcp(SYN), 500_000, false, XDP_TX),
        case("moved bucket: established, one flow", tcp(ACK), 1, true, XDP_TX),
        case("moved bucket: 500,000 flows", tcp(ACK), 500_000, true, XDP_TX),
        case("moved bucket: SYN, always new", tcp(SYN), 500_000, true, XDP_TX),
        case("closed port on the public VIP", public, 1, false, XDP_DROP),
        case("source outside, private VIP", stranger, 1, false, XDP_DROP),
        case("foreign traffic", foreign, 1, false, XDP_PASS),
    ]
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let (rounds, repeat) = if has("--quick") { (5, 300_000) } else { (25, 1_000_000) };

    let mut bench = load_bench();
    let mut settled = Kernel::new(&measured());
    let mut moved = moved();
    let mut best = vec![(f64::MAX, f64::MAX); cases().len()];
    for round in 0..rounds {
        for (case, best) in cases().iter().zip(&mut best) {
            let kernel = if case.moved { &mut moved } else { &mut settled };
            let (floor, cost) = measure(&mut bench, kernel, case, repeat);
            *best = (best.0.min(floor), best.1.min(cost));
        }
        eprint!("\rround {} of {rounds}", round + 1);
    }
    eprintln!();
    let info = settled.dataplane.program().unwrap().info().unwrap();
    let verified = info.verified_instruction_count().unwrap_or_default();
    let size = info.size_jitted();
    if has("--json") {
        let rows: Vec<_> = cases()
            .iter()
            .zip(&best)
            .map(|(case, (floor, cost))| serde_json::json!({ "case": case.name, "floor_ns": floor, "ns": cost, "above_ns": cost - floor }))
            .collect();
        let text = serde_json::json!({ "schema_version": 1, "rows": rows, "verified_instructions": verified, "jited_bytes": size });
        println!("{text:#}");
        return;
    }
    println!("{:<40} {:>8} {:>8} {:>8}", "ns a packet, 64-byte frames, l2", "empty", "ours", "above");
    for (case, (floor, cost)) in cases().iter().zip(&best) {
        println!("{:<40} {floor:>8.1} {cost:>8.1} {:>8.1}", case.name, cost - floor);
    }
    println!("verified instructions {verified}, machine code {size} bytes");
}

fn measured() -> gateway_userspace::plan::Desired {
    let mut wish = desired(model());
    wish.ways.values_mut().for_each(|way| way.mac = OURS);
    wish
}

/// Every bucket goes from one instance to the other.
fn moved() -> Kernel {
    let mut wish = measured();
    let both = (*wish.model).clone();
    let mut first = both.clone();
    first.instances.truncate(1);
    let mut second = both;
    second.instances.remove(0);
    wish.model = first.into();
    let mut kernel = Kernel::new(&wish);
    wish.model = second.into();
    kernel.step(&wish);
    kernel
}

fn load_bench() -> Ebpf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut ebpf = Ebpf::load_file(root.join("target/bpf/bpfel-unknown-none/release/gateway-bench")).unwrap();
    for name in ["empty", "vary"] {
        program(&mut ebpf, name).load().unwrap();
    }
    ebpf
}

fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> &'e mut Xdp {
    ebpf.program_mut(name).unwrap().try_into().unwrap()
}

/// The floor and the whole, one after the other.
fn measure(bench: &mut Ebpf, kernel: &mut Kernel, case: &Case, repeat: u32) -> (f64, f64) {
    if case.flows == 1 {
        let floor = run(program(bench, "empty"), &case.frame, repeat, XDP_TX);
        return (floor, run(kernel.dataplane.program().unwrap(), &case.frame, repeat, case.action));
    }
    let mut flows: PerCpuArray<&mut MapData, Flows> = bench.map_mut("FLOWS").unwrap().try_into().unwrap();
    let all = vec![Flows { next: 0, count: case.flows }; aya::util::nr_cpus().unwrap()];
    flows.set(0, PerCpuValues::try_from(all).unwrap(), 0).unwrap();
    let empty = program(bench, "empty").fd().unwrap().try_clone().unwrap();
    under_test(bench, &empty);
    let floor = run(program(bench, "vary"), &case.frame, repeat, XDP_TX);
    under_test(bench, kernel.dataplane.program().unwrap().fd().unwrap());
    (floor, run(program(bench, "vary"), &case.frame, repeat, case.action))
}

fn under_test(bench: &mut Ebpf, program: &aya::programs::ProgramFd) {
    let mut programs: ProgramArray<&mut MapData> = bench.map_mut("UNDER_TEST").unwrap().try_into().unwrap();
    programs.set(0, program, 0).unwrap();
}

fn run(program: &mut Xdp, frame: &[u8], repeat: u32, action: u32) -> f64 {
    let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::default() };
    let result = program.test_run(options).unwrap();
    assert_eq!(result.return_value, action, "the last repetition's verdict");
    // The kernel reports the mean, in whole nanoseconds.
    result.duration.max(Duration::from_nanos(1)).as_nanos() as f64
}
