//! A dropped packet as a line for people: `10.0.7.7:50000 > 203.0.113.5:443 TCP SYN len 54, no-service`.

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use gateway_ebpf::{layout::Sample, reason::Reason};
use network_types::ip::IpProto;

/// What the packet was, how long, and why it was dropped. What cannot be read is left out: it may be just why it was.
pub(super) fn line(sample: &Sample) -> String {
    let mut text = packet(captured(sample));
    let length = sample.about.length;
    let reason = reason(sample.about.reason).map_or("unknown reason", Reason::name);
    write!(text, "len {length}, {reason}").expect("a string takes everything");
    text
}

/// The captured bytes, as two digits each.
pub(super) fn hex(sample: &Sample) -> String {
    captured(sample).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

/// The reason of this number.
pub(super) fn reason(number: u8) -> Option<Reason> {
    Reason::ALL.iter().copied().find(|&reason| reason as u8 == number)
}

fn captured(sample: &Sample) -> &[u8] {
    let bytes = usize::try_from(sample.about.captured).unwrap_or(usize::MAX);
    sample.headers.get(..bytes).unwrap_or(&sample.headers)
}

/// From the Ethernet header on, with a space at the end.
fn packet(frame: &[u8]) -> String {
    let mut text = String::new();
    let mut at = 12;
    while let Some(0x8100 | 0x88a8) = number::<2>(frame, at).map(u16::from_be_bytes) {
        if let Some(tag) = number::<2>(frame, at + 2).map(u16::from_be_bytes) {
            text += &format!("VLAN {} ", tag & 0xfff);
        }
        at += 4;
    }
    let rest = frame.get(at + 2..).unwrap_or_default();
    let ip = match number::<2>(frame, at).map(u16::from_be_bytes) {
        Some(0x0800) => ipv4(rest),
        Some(0x86dd) => ipv6(rest),
        Some(kind) => Some(format!("EtherType {kind:#06x} ")),
        None => None,
    };
    text + ip.as_deref().unwrap_or("unreadable ")
}

fn ipv4(packet: &[u8]) -> Option<String> {
    let source = Ipv4Addr::from(number::<4>(packet, 12)?);
    let destination = Ipv4Addr::from(number::<4>(packet, 16)?);
    let [id, field] = [4, 6].map(|at| number::<2>(packet, at).map_or(0, u16::from_be_bytes));
    let header = usize::from(packet[0] & 15) * 4;
    let part = Part { id: id.into(), offset: field & 0x1fff, more: field & 0x2000 != 0 };
    Some(segment(source.into(), destination.into(), packet[9], packet.get(header..), part))
}

fn ipv6(packet: &[u8]) -> Option<String> {
    const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
    const ROUTING: u8 = IpProto::Ipv6Route as u8;
    const FRAGMENT: u8 = IpProto::Ipv6Frag as u8;
    const AUTHENTICATION: u8 = IpProto::Ah as u8;
    const DESTINATION: u8 = IpProto::Ipv6Opts as u8;

    let source = Ipv6Addr::from(number::<16>(packet, 8)?);
    let destination = Ipv6Addr::from(number::<16>(packet, 24)?);
    let (mut protocol, mut at) = (packet[6], 40);
    let mut part = Part { id: 0, offset: 0, more: false };
    while part.offset == 0
        && let Some([next, length]) = number::<2>(packet, at)
    {
        at += match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION => (usize::from(length) + 1) * 8,
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            FRAGMENT => {
                let field = number::<2>(packet, at + 2).map_or(0, u16::from_be_bytes);
                let id = number::<4>(packet, at + 4).map_or(0, u32::from_be_bytes);
                part = Part { id, offset: field >> 3, more: field & 1 != 0 };
                8
            }
            _ => break,
        };
        protocol = next;
    }
    Some(segment(source.into(), destination.into(), protocol, packet.get(at..), part))
}

/// Of a datagram; the offset in units of eight bytes.
#[derive(Clone, Copy)]
struct Part {
    id: u32,
    offset: u16,
    more: bool,
}

fn segment(source: IpAddr, destination: IpAddr, protocol: u8, payload: Option<&[u8]>, part: Part) -> String {
    const TCP: u8 = IpProto::Tcp as u8;
    const UDP: u8 = IpProto::Udp as u8;
    const ICMP: u8 = IpProto::Icmp as u8;
    const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;

    // A later fragment has no header.
    let payload = payload.filter(|_| part.offset == 0).unwrap_or_default();
    let name = match protocol {
        TCP => "TCP ".to_owned(),
        UDP => "UDP ".to_owned(),
        ICMP => "ICMP ".to_owned(),
        ICMPV6 => "ICMPv6 ".to_owned(),
        other => format!("protocol {other} "),
    };
    let ports = number::<4>(payload, 0).filter(|_| matches!(protocol, TCP | UDP));
    let ends = match ports {
        Some([a, b, c, d]) => format!(
            "{} > {} ",
            SocketAddr::new(source, u16::from_be_bytes([a, b])),
            SocketAddr::new(destination, u16::from_be_bytes([c, d]))
        ),
        None => format!("{source} > {destination} "),
    };
    let more = match (protocol, payload) {
        (TCP, [_, _, _, _, _, _, _, _, _, _, _, _, _, flags, ..]) => flag_names(*flags),
        (ICMP | ICMPV6, [kind, code, ..]) => format!("type {kind} code {code} "),
        _ => String::new(),
    };
    let part = match part {
        Part { offset: 0, more: false, .. } => String::new(),
        Part { id, offset, more } => {
            format!("fragment {id:#x} at {}{} ", u32::from(offset) * 8, if more { "+" } else { "" })
        }
    };
    ends + &name + &more + &part
}

fn flag_names(flags: u8) -> String {
    let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
    let set = names.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 != 0);
    set.fold(String::new(), |text, (_, name)| text + name + " ")
}

/// Bytes in network order; `None`: they were not captured.
fn number<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use gateway_ebpf::layout::{About, SAMPLE_BYTES};

    use super::*;

    const V4: &str = "020000000001 020000000099 0800 45000028 00010000 40060000 0a000707 cb007105";
    const V6: &str = "020000000001 020000000099 86dd 60000000 0020 PP 40 \
                      fd000000000000010000000000000099 fd000000000000010000000000000005";
    const SYN: &str = "c350 01bb 00000001 00000000 5002 faf0 0000 0000";

    fn line_of(hex: &str, reason: Reason) -> String {
        let digits: String = hex.split_whitespace().collect();
        let bytes: Vec<u8> = (0..digits.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
            .collect();
        let mut headers = [0xee; SAMPLE_BYTES];
        headers[..bytes.len()].copy_from_slice(&bytes);
        let captured = bytes.len() as u32;
        let about = About { length: captured, captured, reason: reason as u8, ..About::default() };
        let sample = Sample { about, headers };
        assert_eq!(super::hex(&sample), digits);
        line(&sample)
    }

    #[test]
    fn a_packet_reads_as_a_line() {
        let icmp = V4.replace("4006", "4001");
        let v6 = |protocol: &str| V6.replace("PP", protocol);
        for (frame, expected) in [
            (format!("{V4} {SYN}"), "10.0.7.7:50000 > 203.0.113.5:443 TCP SYN len 54, no-service"),
            (format!("{icmp} 0800 0000"), "10.0.7.7 > 203.0.113.5 ICMP type 8 code 0 len 38, no-service"),
            (
                format!("{} {SYN}", V4.replace("0800 45", "88a8 0007 8100 0008 0800 45")),
                "VLAN 7 VLAN 8 10.0.7.7:50000 > 203.0.113.5:443 TCP SYN len 62, no-service",
            ),
            (
                format!("{} {SYN}", V4.replace("00010000", "1234 2003")),
                "10.0.7.7 > 203.0.113.5 TCP fragment 0x1234 at 24+ len 54, no-service",
            ),
            (
                format!("{} c350 01bb 0008 0000", v6("11")),
                "[fd00:0:0:1::99]:50000 > [fd00:0:0:1::5]:443 UDP len 62, no-service",
            ),
            (
                format!("{} 2c00 000000000000 0600 0010 0000beef {SYN}", v6("00")),
                "fd00:0:0:1::99 > fd00:0:0:1::5 TCP fragment 0xbeef at 16 len 90, no-service",
            ),
            (format!("{} 00", v6("84")), "fd00:0:0:1::99 > fd00:0:0:1::5 protocol 132 len 55, no-service"),
            (V4.replace("0800", "0806"), "EtherType 0x0806 len 34, no-service"),
        ] {
            assert_eq!(line_of(&frame, Reason::NoService), expected);
        }
    }

    #[test]
    fn whatever_is_cut_still_gives_a_line() {
        let whole = format!("{V4} {SYN}");
        let digits: String = whole.split_whitespace().collect();
        for bytes in 0..digits.len() / 2 {
            let text = line_of(&digits[..bytes * 2], Reason::Truncated);
            assert!(text.ends_with(&format!("len {bytes}, truncated")), "{text}");
            assert_eq!(text.starts_with("unreadable"), bytes < 34, "{bytes}: {text}");
        }
        // Lengths that lead beyond what was captured.
        let far = format!("{} 00ff 0000", V6.replace("PP", "00"));
        assert_eq!(
            line_of(&far, Reason::Truncated),
            "fd00:0:0:1::99 > fd00:0:0:1::5 protocol 0 len 58, truncated"
        );
    }
}
