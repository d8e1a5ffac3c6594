//! Live frames: the kernel runs a program that makes each one, and sends it as a driver would (BPF_F_TEST_XDP_LIVE_FRAMES).

use std::path::Path;

use aya::{
    Ebpf,
    maps::{Array, MapData, PerCpuArray},
    programs::{TestRun as _, TestRunAttrs, TestRunOptions, Xdp, xdp},
};
use lab::{frame::checksum, host::Host};

use crate::{core, stage::Pair};

/// Of every frame; with Ethernet's checksum it is the smallest, 64.
pub(crate) const FRAME: usize = 60;
/// What veth takes at a time; the kernel's own default.
const BATCH: u32 = 64;

/// What is sent, and where: `Stream` of gateway-ebpf/src/bench.rs.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Stream {
    frame: [u32; FRAME / 4],
    next: u32,
    flows: u32,
    flood: u32,
    to: u32,
}

// SAFETY: repr(C), integers of one size.
unsafe impl aya::Pod for Stream {}

/// What came back: `Arrived` of bench.rs.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Arrived {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

// SAFETY: repr(C), integers of one size.
unsafe impl aya::Pod for Arrived {}

/// Whether flows stayed: `Audit` of bench.rs.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Audit {
    pub(crate) packets: u64,
    pub(crate) astray: u64,
    pub(crate) flows: u64,
}

// SAFETY: repr(C), integers of one size.
unsafe impl aya::Pod for Audit {}

/// What was sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) frames: u64,
    /// For one frame, to be made, sent, dealt with, and counted where it ended: all of it is one softirq's work.
    pub(crate) frame_ns: f64,
}

impl Stream {
    /// Frames like `frame`, TCP over IPv4 without options, of so many flows, a power of two, into a pair.
    pub(crate) fn new(frame: &[u8], flows: u32, pair: &Pair) -> Self {
        assert!(flows.is_power_of_two());
        let frame = neutral(frame.try_into().unwrap());
        let words = std::array::from_fn(|n| u32::from_ne_bytes(frame[n * 4..][..4].try_into().unwrap()));
        Self { frame: words, next: 0, flows: flows - 1, flood: 0, to: pair.near_index }
    }

    /// Every second frame is a SYN instead, of so many other flows, a power of two.
    pub(crate) fn with_flood(mut self, flows: u32) -> Self {
        assert!(flows.is_power_of_two());
        self.flood = flows - 1;
        self
    }
}

/// The frame with right checksums where source address (its second half), source port, identification and the first two bytes
/// of data are zero: the generator fills in what adds up to zero.
fn neutral(mut frame: [u8; FRAME]) -> [u8; FRAME] {
    for zero in [18, 24, 28, 34, 50, 54] {
        frame[zero..zero + 2].fill(0);
    }
    let sum = checksum(&[&frame[14..34]]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    let length = (FRAME as u16 - 34).to_be_bytes();
    let sum = checksum(&[&frame[26..34], &[0, 6], &length, &frame[34..]]);
    frame[50..52].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// The bench's own programs, loaded.
pub(crate) struct Generator(Ebpf);

impl Generator {
    pub(crate) fn load() -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut ebpf = Ebpf::load_file(root.join("target/bpf/bpfel-unknown-none/release/gateway-bench"))?;
        for name in ["generate", "sink", "audit", "reflect", "discard"] {
            program(&mut ebpf, name).load()?;
        }
        Ok(Self(ebpf))
    }

    /// Attaches one of its programs for as long as it lives.
    pub(crate) fn attach(&mut self, name: &str, host: &Host, interface: &str) -> anyhow::Result<()> {
        let program = program(&mut self.0, name);
        host.enter(|| program.attach(interface, xdp::XdpMode::Driver))?;
        Ok(())
    }

    /// Sends so many frames; `stream` goes on where it was.
    pub(crate) fn send(&mut self, stream: &mut Stream, from: &Host, frames: u32) -> anyhow::Result<Sent> {
        let mut map: Array<&mut MapData, Stream> = self.0.map_mut("STREAM").unwrap().try_into()?;
        map.set(0, *stream, 0)?;
        let program = program(&mut self.0, "generate");
        let result = from.enter(|| -> anyhow::Result<_> {
            core::take()?;
            Ok(program.test_run(TestRunOptions {
                data_in: Some(&[0; FRAME]),
                repeat: frames,
                attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                ..TestRunOptions::default()
            })?)
        })?;
        let map: Array<&mut MapData, Stream> = self.0.map_mut("STREAM").unwrap().try_into()?;
        *stream = map.get(&0, 0)?;
        // The kernel's own clock, in whole nanoseconds a frame, cut off: it stands still while the call sets up and ends, which
        // takes two grace periods, and while others have the core.
        Ok(Sent { frames: u64::from(frames), frame_ns: result.duration.as_nanos() as f64 + 0.5 })
    }

    /// What `sink` got until now, at all its interfaces.
    pub(crate) fn arrived(&self) -> anyhow::Result<Arrived> {
        let map: PerCpuArray<&MapData, Arrived> = self.0.map("ARRIVED").unwrap().try_into()?;
        Ok(map.get(&0, 0)?.iter().fold(Arrived::default(), |sum, cpu| Arrived {
            packets: sum.packets + cpu.packets,
            bytes: sum.bytes + cpu.bytes,
        }))
    }

    /// What `audit` found until now.
    pub(crate) fn audit(&self) -> anyhow::Result<Audit> {
        let map: Array<&MapData, Audit> = self.0.map("AUDIT").unwrap().try_into()?;
        Ok(map.get(&0, 0)?)
    }
}

fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> &'e mut Xdp {
    ebpf.program_mut(name).unwrap().try_into().unwrap()
}
