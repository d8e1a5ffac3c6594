//! What balancers send comes out as it went in.

use std::{sync::Arc, time::Duration};

use gateway_ebpf::decap::decapsulated;
use gateway_userspace::model::Snat;

use super::fixture::{BALANCER, BALANCER6, DIP, DIP6, INSIDE, Instance, VIP, VIP6, segment, wish};
use crate::builder::{ACK, Packet, SYN};

#[test]
fn r11_every_tunnel_of_either_family_is_taken_off() {
    let mut instance = Instance::new(&wish(false));
    for (vip, service) in [(VIP, "10.0.0.5:443"), (VIP6, "[fd00:0:0:1::5]:443")] {
        let inner = || segment(vip);
        for (from, to) in [(BALANCER, DIP), (BALANCER6, DIP6)] {
            let ipip = inner().in_ip().ip(from, to).ethernet(&[]);
            instance.unwraps(&format!("ipip {vip} {to}"), &ipip, inner(), service);
            let gue = inner().gue(0xc001, &[]).ip(from, to).ethernet(&[]);
            instance.unwraps(&format!("gue {vip} {to}"), &gue, inner(), service);
            // No list of hops: nothing is asked for, as in a settled bucket, but its room is there.
            let listed = inner().gue(0xc001, &[0; 36]).ip(from, to).ethernet(&[]);
            instance.run(&listed);
        }
    }
}

#[test]
fn a_syn_counts_as_a_beginning_and_a_tail_behind_the_packet_stays() {
    let mut instance = Instance::new(&wish(false));
    let inner = || Packet::tcp(50_000, 443, SYN, 7).ip(INSIDE, VIP);
    let frame = inner().in_ip().ip(BALANCER, DIP).ethernet(&[]);
    let became = instance.unwraps("syn", &frame, inner(), "10.0.0.5:443");
    assert_eq!(became.counted.forwarded["gw-1"], (1, frame.len() as u64, 1));
    let mut padded = frame.clone();
    padded.extend([0; 6]);
    let became = instance.both("padded", &padded);
    let mut expected = inner().ethernet(&[]);
    expected.extend([0; 6]);
    assert_eq!(became.outcome.frame, expected);
}

#[test]
fn r21_answers_to_the_instances_own_flows_come_out_where_there_are_such() {
    const PUBLIC: &str = "203.0.113.5";
    let inner = || Packet::tcp(443, 8192, SYN | ACK, 1).ip("198.51.100.7", PUBLIC);
    let frame = inner().in_ip().ip(BALANCER, DIP).ethernet(&[]);
    let mut wish = wish(false);
    Instance::new(&wish).drops("without SNAT", &frame, PUBLIC, "no-service");
    let snat = Snat { ports_per_instance: 1024, return_after: Duration::from_secs(300) };
    Arc::make_mut(&mut wish.model).snat = Some(snat);
    Instance::new(&wish).unwraps("with SNAT", &frame, inner(), PUBLIC);
}

#[test]
fn the_hop_limit_inside_is_left_alone() {
    let mut instance = Instance::new(&wish(false));
    for (vip, service) in [(VIP, "10.0.0.5:443"), (VIP6, "[fd00:0:0:1::5]:443")] {
        let inner = || segment(vip).hops(1);
        let frame = inner().in_ip().ip(BALANCER, DIP).hops(1).ethernet(&[]);
        instance.unwraps(vip, &frame, inner(), service);
    }
}

/// RFC 6040, figure 4: rows are what arrives inside, columns what arrives outside: not-ECT, ECT(0), ECT(1), CE.
const FIGURE_4: [(u8, [Option<u8>; 4]); 4] = {
    const NOT: u8 = 0b00;
    const ONE: u8 = 0b01;
    const ZERO: u8 = 0b10;
    const CE: u8 = 0b11;
    [
        (NOT, [Some(NOT), Some(NOT), Some(NOT), None]),
        (ZERO, [Some(ZERO), Some(ZERO), Some(ONE), Some(CE)]),
        (ONE, [Some(ONE), Some(ONE), Some(ONE), Some(CE)]),
        (CE, [Some(CE), Some(CE), Some(CE), Some(CE)]),
    ]
};

#[test]
fn r12_congestion_on_the_tunnels_way_is_told_as_rfc_6040_has_it() {
    const DSCP: u8 = 46 << 2;
    let mut instance = Instance::new(&wish(false));
    for (inside, row) in FIGURE_4 {
        for (outside, expected) in [0b00, 0b10, 0b01, 0b11].into_iter().zip(row) {
            assert_eq!(decapsulated(outside, DSCP | inside), expected.map(|ecn| DSCP | ecn));
            for (vip, service) in [(VIP, "10.0.0.5:443"), (VIP6, "[fd00:0:0:1::5]:443")] {
                for (from, to) in [(BALANCER, DIP), (BALANCER6, DIP6)] {
                    let name = format!("{vip} over {to}: {outside:02b} around {inside:02b}");
                    // What routers made of the outer DSCP is not the packet's (RFC 2983, pipe).
                    let inner = segment(vip).service(DSCP | inside).in_ip();
                    let frame = inner.ip(from, to).service(8 << 2 | outside).ethernet(&[]);
                    match expected {
                        Some(ecn) => {
                            instance.unwraps(&name, &frame, segment(vip).service(DSCP | ecn), service);
                        }
                        None => instance.drops(&name, &frame, service, "congestion"),
                    }
                }
            }
        }
    }
}
