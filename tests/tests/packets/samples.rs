//! Dropped packets that the kernel program shows to user space.

use std::{fmt::Write as _, time::SystemTime};

use gateway_userspace::dataplane::Shown;

use super::{
    builder::{ACK, Packet, SYN},
    targets::{Action, Kernel, desired, model},
};

/// Of how many drops of a kind one is shown.
const EVERY: u16 = 1024;

fn syn(source: u16) -> Packet {
    Packet::tcp(source, 443, SYN, 1)
}

fn drop_it(kernel: &mut Kernel, packet: Packet) -> Vec<u8> {
    let frame = packet.ip("198.51.100.7", "203.0.113.5").ethernet(&[]);
    assert_eq!(kernel.run(&frame).action, Action::Drop);
    frame
}

fn shown(kernel: &Kernel, reason: &str) -> Shown {
    let drops = kernel.dataplane.counters().unwrap().drops;
    drops.into_iter().find(|line| line.reason == reason).unwrap().sample.unwrap()
}

fn hex(frame: &[u8]) -> String {
    frame.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Runs it on one CPU: the first of each CPU is shown.
fn stay_here() {
    let mut one = nix::sched::CpuSet::new();
    one.set(0).unwrap();
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &one).unwrap();
}

#[test]
fn the_first_drop_of_a_kind_is_shown_with_its_headers_and_then_one_in_1024() {
    stay_here();
    let mut kernel = Kernel::new(&desired(model()));
    let before = SystemTime::now();
    let frame = drop_it(&mut kernel, syn(1));
    let sample = shown(&kernel, "no-service");
    assert_eq!(sample.line, "198.51.100.7:1 > 203.0.113.5:443 TCP SYN len 54, no-service");
    assert_eq!((sample.hex, sample.length, sample.interface.as_str()), (hex(&frame), 54, "lo"));
    let time = humantime::parse_rfc3339(&sample.time).unwrap();
    let age = time.duration_since(before).unwrap_or_else(|error| error.duration());
    assert!(age.as_secs() < 10, "{} is not now", sample.time);
    for source in 2..=EVERY {
        drop_it(&mut kernel, syn(source));
    }
    assert!(shown(&kernel, "no-service").line.starts_with("198.51.100.7:1 > "));
    drop_it(&mut kernel, syn(EVERY + 1));
    drop_it(&mut kernel, syn(EVERY + 2));
    assert!(shown(&kernel, "no-service").line.starts_with("198.51.100.7:1025 > "));
}

#[test]
fn a_frame_of_any_length_is_shown_up_to_128_bytes() {
    stay_here();
    let mut kernel = Kernel::new(&desired(model()));
    for data in (0..10).chain(88..100).chain([1_000]) {
        let mut frame = vec![];
        // One of these is shown.
        for _ in 0..EVERY {
            frame = drop_it(&mut kernel, Packet::raw(253, &vec![0xd7; data]));
        }
        let sample = shown(&kernel, "protocol");
        assert_eq!(sample.hex, hex(&frame[..frame.len().min(128)]));
        assert_eq!(sample.length as usize, frame.len());
    }
}

#[test]
fn what_the_slow_programs_drop_is_shown_too() {
    let mut kernel = Kernel::new(&desired(model()));
    let frame = syn(9).ip("198.51.100.7", "203.0.113.5").ethernet(&[(0x8100, 7)]);
    kernel.run(&frame);
    assert_eq!(
        shown(&kernel, "no-service").line,
        "VLAN 7 198.51.100.7:9 > 203.0.113.5:443 TCP SYN len 58, no-service"
    );
    let mut lost = desired(model());
    lost.ways.clear();
    kernel.step(&lost);
    // An established flow: a new one would find nobody in service.
    kernel.run(&Packet::tcp(9, 3443, ACK, 1).ip("198.51.100.7", "203.0.113.5").ethernet(&[(0x8100, 7)]));
    assert!(shown(&kernel, "neighbour").line.starts_with("VLAN 7 198.51.100.7:9 > "));
}
