//! The same frames through the kernel and through the host: verdict, bytes and counters have to be equal.
//!
//! Frames are random, or good ones with a few bytes changed, cut or grown; the ring has moved buckets, so that the transition
//! table takes part. `GATEWAY_PARITY_FRAMES` says how many (default 100,000), `GATEWAY_PARITY_SEED` from which seed.

use gateway_ebpf::{fragment, note};
use gateway_userspace::model::{Forwarding, Model};
use network_types::ip::IpProto;
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use super::{
    builder::{ACK, FIN, Packet, RST, SYN},
    targets::{Counted, Kernel, desired, host, model, run_on_host},
};

/// An xdp test run takes 14 bytes at least.
const SHORTEST: usize = 14;

#[test]
fn kernel_and_host_agree_on_every_frame() {
    agree(model());
}

#[test]
fn kernel_and_host_agree_on_every_frame_in_nat_mode() {
    let mut model = model();
    model.balancer.forwarding = Forwarding::Nat;
    agree(model);
}

fn agree(model: Model) {
    let frames = number("GATEWAY_PARITY_FRAMES", 100_000);
    let seed = number("GATEWAY_PARITY_SEED", u64::from(std::process::id()));
    println!("seed {seed}");

    let mut wish = desired(model);
    let mut kernel = Kernel::new(&wish);
    let mut alone = (*wish.model).clone();
    alone.instances.truncate(1);
    wish.model = alone.into();
    kernel.step(&wish);

    let mut tables = host(&kernel.plan);
    let mut random = Random::of(seed);
    for n in 0..frames {
        let frame = random.frame();
        tables.now = now();
        let in_kernel = kernel.run(&frame);
        // Where the coarse clock steps in between, the two would age notes differently.
        if note::epoch(now()) != note::epoch(tables.now)
            || fragment::time(now()) != fragment::time(tables.now)
        {
            tables.now = now();
        }
        let (verdict, on_host) = run_on_host(&tables, &frame);
        assert_eq!(in_kernel, on_host, "seed {seed}, frame {n}, {verdict:?} on the host: {frame:02x?}");
    }
    assert_eq!(kernel.counters(), Counted::of_host(&tables, &kernel.plan), "seed {seed}");
    // A run that met only one kind of frame would show nothing.
    let counters = tables.counters.borrow();
    assert!(counters.drops.len() > 12, "only {:?}", counters.drops);
    assert_eq!(counters.instances.len(), 2, "{:?}", counters.instances);
}

/// What a variable of the environment says.
pub(crate) fn number<N: std::str::FromStr>(variable: &str, default: N) -> N {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn seed_bytes(seed: u64) -> [u8; 16] {
    let mut bytes = [0x5a; 16];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes
}

/// What the kernel's coarse monotonic clock says, in nanoseconds.
pub(crate) fn now() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// Frames, and what they are made of.
pub(crate) struct Random(TestRng);

impl Random {
    pub(crate) fn of(seed: u64) -> Self {
        Self(TestRng::from_seed(RngAlgorithm::XorShift, &seed_bytes(seed)))
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u32() as usize) % bound
    }

    pub(crate) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// One of few: inside, outside, or an instance's own address.
    pub(crate) fn sender(&mut self, is_v6: bool, client: usize) -> String {
        match (is_v6, self.below(8)) {
            (false, 0) => format!("198.51.100.{client}"),
            (false, 1) => "10.0.0.11".to_owned(),
            (false, _) => format!("10.0.9.{client}"),
            (true, 0) => format!("2001:db8::{client}"),
            (true, 1) => "fd00:0:0:1::11".to_owned(),
            (true, _) => format!("fd00:0:0:1::{client}"),
        }
    }

    pub(crate) fn frame(&mut self) -> Vec<u8> {
        let mut frame = match self.below(20) {
            0 => self.noise(),
            _ => self.good(),
        };
        if self.below(2) == 0 {
            self.spoil(&mut frame);
        }
        frame.resize(frame.len().max(SHORTEST), 0);
        frame
    }

    fn noise(&mut self) -> Vec<u8> {
        let length = SHORTEST + self.below(200);
        let mut frame = vec![0; length];
        self.0.fill_bytes(&mut frame);
        frame
    }

    fn good(&mut self) -> Vec<u8> {
        // Few clients, ports and sequence numbers: notes are made, met again, proved and refused.
        let client = 1 + self.below(4);
        // Some are what an instance answers from with nat.
        let source_port = match self.below(8) {
            0 => self.one_of(&[10_443, 10_080, 23_443]),
            _ => 40_000 + self.below(200) as u16,
        };
        let port = self.one_of(&[443, 443, 443, 80, 3443, 22]);
        let flags = self.one_of(&[SYN, SYN, ACK, ACK, ACK, FIN | ACK, RST, SYN | ACK, SYN | FIN, 0]);
        let sequence = self.one_of(&[1, 2, 0x1_0005, 0x7000_0000, 0x7000_0001]);
        let is_v6 = self.below(2) == 0;
        let vip = match (is_v6, self.below(5)) {
            (false, 0) => "10.0.0.9",
            (false, 1) => "203.0.113.5",
            (false, _) => "10.0.0.5",
            (true, 0) => "fd00:0:0:1::9",
            (true, _) => "fd00:0:0:1::5",
        };
        let source = self.sender(is_v6, client);
        let icmp = if is_v6 { IpProto::Ipv6Icmp } else { IpProto::Icmp };
        let mut packet = match self.below(12) {
            0 => Packet::udp(source_port, port, b"data"),
            1 => {
                let quote = Packet::tcp(port, source_port, ACK, 1)
                    .ip(vip, &source)
                    .quoted(20 + 8 + 20 * usize::from(is_v6));
                let kind = if is_v6 { self.one_of(&[1, 2, 3, 4]) } else { self.one_of(&[3, 11, 12]) };
                Packet::icmp(icmp, kind, 0, &quote)
            }
            2 => {
                let kind = self.below(256) as u8;
                Packet::icmp(icmp, kind, 0, &[0; 20])
            }
            3 => {
                let protocol = self.below(256) as u8;
                Packet::raw(protocol, &[0; 24])
            }
            _ => Packet::tcp(source_port, port, flags, sequence).data(b"data"),
        };
        if is_v6 {
            for _ in 0..self.one_of(&[0, 0, 0, 1, 2, 5]) {
                let kind =
                    self.one_of(&[IpProto::HopOpt, IpProto::Ipv6Opts, IpProto::Ipv6Route, IpProto::Ipv6Frag]);
                packet = packet.extension(kind, &[0, 0, 0, 0, 0, 0, 0]);
            }
        }
        let options: &[u8] = self.one_of(&[&[][..], &[], &[], &[1, 1, 1, 0], &[1; 40]]);
        let fragment = self.one_of(&[0, 0, 0, 0, 0x4000, 0x2000, 0x00b9, 0x20b9]);
        let tags: &[(u16, u16)] =
            self.one_of(&[&[][..], &[], &[], &[(0x8100, 5)], &[(0x88a8, 5), (0x8100, 6)], &[(0x8100, 1); 3]]);
        let is_elsewhere = self.below(30) == 0;
        let packet = packet.ip_with(&source, vip, options, fragment);
        if is_elsewhere { packet.ethernet_to([2, 0, 0, 0, 0, 0x44], tags) } else { packet.ethernet(tags) }
    }

    /// Changes a byte of the headers, cuts, or grows.
    fn spoil(&mut self, frame: &mut Vec<u8>) {
        match self.below(4) {
            0 => {
                let length = self.below(frame.len() + 1);
                frame.truncate(length);
            }
            1 => {
                let more = self.below(40);
                frame.resize(frame.len() + more, 0xa5);
            }
            _ => {
                for _ in 0..=self.below(3) {
                    let at = self.below(frame.len().min(100));
                    frame[at] = self.below(256) as u8;
                }
            }
        }
    }
}
