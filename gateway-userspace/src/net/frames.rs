//! The frames with which an address is claimed on a link, by offset.
//!
//! ARP for IPv4 on Ethernet is RFC 826, its use here RFC 5227; neighbour discovery is RFC 4861.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::plan::Mac;

/// In bytes, padding to Ethernet's minimum left to the driver.
pub(super) const ARP_FRAME: usize = 42;
/// In bytes.
pub(super) const ADVERTISEMENT_FRAME: usize = 86;

const BROADCAST: Mac = [0xff; 6];
/// Ethernet's group for ff02::1 (RFC 2464, section 7).
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

const ETHERTYPE_AT: usize = 12;
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];

/// Hardware type Ethernet, protocol type IPv4, and both addresses' lengths.
const ARP_ETHERNET_IPV4: [u8; 6] = [0, 1, 0x08, 0, 6, 4];
const ARP_TYPES_AT: usize = 14;
const ARP_OPERATION_AT: usize = 20;
const ARP_SENDER_MAC_AT: usize = 22;
const ARP_SENDER_IP_AT: usize = 28;
const ARP_TARGET_IP_AT: usize = 38;
const ARP_REQUEST: [u8; 2] = [0, 1];

const IPV6_AT: usize = 14;
const IPV6_NEXT_HEADER_AT: usize = 20;
const IPV6_SOURCE_AT: usize = 22;
const IPV6_DESTINATION_AT: usize = 38;
const ICMPV6: u8 = 58;
const ICMPV6_AT: usize = 54;
const ICMPV6_CHECKSUM_AT: usize = 56;
const ND_FLAGS_AT: usize = 58;
const ND_TARGET_AT: usize = 62;
const ND_OPTION_AT: usize = 78;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// "Who has `ip`?", from nobody (sender address 0), so that no cache is changed by the asking (RFC 5227, 2.1.1).
pub(super) fn arp_probe(own: Mac, ip: Ipv4Addr) -> [u8; ARP_FRAME] {
    arp_request(own, Ipv4Addr::UNSPECIFIED, ip)
}

/// "`ip` is mine", as a request that names it twice (RFC 5227, 2.3): the gratuitous ARP that every cache takes up.
pub(super) fn arp_announcement(own: Mac, ip: Ipv4Addr) -> [u8; ARP_FRAME] {
    arp_request(own, ip, ip)
}

/// "Who has `target`?", from `sender`: a question that changes nothing at who has it.
pub(super) fn arp_request(own: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> [u8; ARP_FRAME] {
    let mut frame = [0; ARP_FRAME];
    put(&mut frame, 0, &BROADCAST);
    put(&mut frame, 6, &own);
    put(&mut frame, ETHERTYPE_AT, &ETHERTYPE_ARP);
    put(&mut frame, ARP_TYPES_AT, &ARP_ETHERNET_IPV4);
    put(&mut frame, ARP_OPERATION_AT, &ARP_REQUEST);
    put(&mut frame, ARP_SENDER_MAC_AT, &own);
    put(&mut frame, ARP_SENDER_IP_AT, &sender.octets());
    put(&mut frame, ARP_TARGET_IP_AT, &target.octets());
    frame
}

/// Who else claims `ip` by this frame: it says that it has it, or it is probing for it too (RFC 5227, 2.1.1).
pub(super) fn arp_claimant(frame: &[u8], own: Mac, ip: Ipv4Addr) -> Option<Mac> {
    let arp = get(frame, ETHERTYPE_AT)? == ETHERTYPE_ARP && get(frame, ARP_TYPES_AT)? == ARP_ETHERNET_IPV4;
    let sender: [u8; 4] = get(frame, ARP_SENDER_IP_AT)?;
    let target: [u8; 4] = get(frame, ARP_TARGET_IP_AT)?;
    let has_it = sender == ip.octets();
    let probes = get(frame, ARP_OPERATION_AT)? == ARP_REQUEST
        && sender == Ipv4Addr::UNSPECIFIED.octets()
        && target == ip.octets();
    let mac: Mac = get(frame, ARP_SENDER_MAC_AT)?;
    (arp && (has_it || probes) && mac != own).then_some(mac)
}

/// An unsolicited neighbour advertisement to all nodes, with the override flag (RFC 4861, 7.2.6).
pub(super) fn advertisement(own: Mac, ip: Ipv6Addr) -> [u8; ADVERTISEMENT_FRAME] {
    const OVERRIDE: u8 = 0x20;
    const TARGET_MAC_OPTION: [u8; 2] = [2, 1];
    let mut frame = [0; ADVERTISEMENT_FRAME];
    put(&mut frame, 0, &ALL_NODES_MAC);
    put(&mut frame, 6, &own);
    put(&mut frame, ETHERTYPE_AT, &ETHERTYPE_IPV6);
    let payload_len = (ADVERTISEMENT_FRAME - ICMPV6_AT) as u16;
    put(&mut frame, IPV6_AT, &[0x60, 0, 0, 0]);
    put(&mut frame, IPV6_AT + 4, &payload_len.to_be_bytes());
    // A hop limit of 255 proves that the frame crossed no router.
    put(&mut frame, IPV6_NEXT_HEADER_AT, &[ICMPV6, 255]);
    put(&mut frame, IPV6_SOURCE_AT, &ip.octets());
    put(&mut frame, IPV6_DESTINATION_AT, &ALL_NODES.octets());
    put(&mut frame, ICMPV6_AT, &[ADVERTISEMENT]);
    put(&mut frame, ND_FLAGS_AT, &[OVERRIDE]);
    put(&mut frame, ND_TARGET_AT, &ip.octets());
    put(&mut frame, ND_OPTION_AT, &TARGET_MAC_OPTION);
    put(&mut frame, ND_OPTION_AT + TARGET_MAC_OPTION.len(), &own);
    let checksum = icmpv6_checksum(&frame);
    put(&mut frame, ICMPV6_CHECKSUM_AT, &checksum.to_be_bytes());
    frame
}

/// "Who has `target`?", from `source` (RFC 4861, 4.3): a question that changes nothing at who has it.
pub(super) fn solicitation(own: Mac, source: Ipv6Addr, target: Ipv6Addr) -> [u8; ADVERTISEMENT_FRAME] {
    const SOURCE_MAC_OPTION: [u8; 2] = [1, 1];
    let [.., a, b, c] = target.octets();
    let mut frame = advertisement(own, target);
    put(&mut frame, 0, &[0x33, 0x33, 0xff, a, b, c]);
    put(&mut frame, IPV6_SOURCE_AT, &source.octets());
    put(&mut frame, IPV6_DESTINATION_AT, &Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0).octets());
    put(&mut frame, IPV6_DESTINATION_AT + 13, &[a, b, c]);
    put(&mut frame, ICMPV6_AT, &[SOLICITATION, 0, 0, 0, 0]);
    put(&mut frame, ND_OPTION_AT, &SOURCE_MAC_OPTION);
    let checksum = icmpv6_checksum(&frame);
    put(&mut frame, ICMPV6_CHECKSUM_AT, &checksum.to_be_bytes());
    frame
}

/// Who else claims `ip` by this frame: it advertises it, or its own duplicate-address detection asks for it (from the
/// unspecified address; RFC 4862, 5.4.3).
pub(super) fn nd_claimant(frame: &[u8], own: Mac, ip: Ipv6Addr) -> Option<Mac> {
    let [next_header] = get(frame, IPV6_NEXT_HEADER_AT)?;
    let nd = get(frame, ETHERTYPE_AT)? == ETHERTYPE_IPV6 && next_header == ICMPV6;
    let source: [u8; 16] = get(frame, IPV6_SOURCE_AT)?;
    let [kind] = get(frame, ICMPV6_AT)?;
    let claims = kind == ADVERTISEMENT || kind == SOLICITATION && source == Ipv6Addr::UNSPECIFIED.octets();
    let target: [u8; 16] = get(frame, ND_TARGET_AT)?;
    let mac: Mac = get(frame, 6)?;
    (nd && claims && target == ip.octets() && mac != own).then_some(mac)
}

/// Over the pseudo-header (RFC 8200, 8.1) and the message, whose checksum field is 0.
fn icmpv6_checksum(frame: &[u8; ADVERTISEMENT_FRAME]) -> u16 {
    let message_len = (ADVERTISEMENT_FRAME - ICMPV6_AT) as u32;
    // Both addresses and the message lie one behind the other.
    let words = frame[IPV6_SOURCE_AT..].chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let sum = words.sum::<u32>() + message_len + u32::from(ICMPV6);
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

fn put(frame: &mut [u8], at: usize, bytes: &[u8]) {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
}

fn get<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    frame.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = [2, 0, 0, 0, 0, 1];
    const OTHER: Mac = [2, 0, 0, 0, 0, 2];
    const V4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

    fn v6() -> Ipv6Addr {
        "fd00:0:0:1::5".parse().unwrap()
    }

    fn hex(frame: &[u8]) -> String {
        frame.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn r10_a_probe_asks_from_nobody() {
        assert_eq!(
            hex(&arp_probe(OWN, V4)),
            "ffffffffffff0200000000010806000108000604000102000000000100000000\
             0000000000000a000005"
        );
    }

    #[test]
    fn an_announcement_names_the_address_twice() {
        assert_eq!(
            hex(&arp_announcement(OWN, V4)),
            "ffffffffffff020000000001080600010800060400010200000000010a000005\
             0000000000000a000005"
        );
    }

    #[test]
    fn r10_an_answer_and_a_rival_probe_are_conflicts() {
        assert_eq!(arp_claimant(&arp_announcement(OTHER, V4), OWN, V4), Some(OTHER));
        assert_eq!(arp_claimant(&arp_probe(OTHER, V4), OWN, V4), Some(OTHER));
    }

    #[test]
    fn own_frames_other_addresses_and_short_frames_are_no_conflicts() {
        assert_eq!(arp_claimant(&arp_probe(OWN, V4), OWN, V4), None);
        assert_eq!(arp_claimant(&arp_probe(OTHER, Ipv4Addr::new(10, 0, 0, 6)), OWN, V4), None);
        // An ordinary request for the address by somebody who has another one.
        assert_eq!(arp_claimant(&arp_request(OTHER, Ipv4Addr::new(10, 0, 0, 9), V4), OWN, V4), None);
        for len in 0..ARP_FRAME {
            assert_eq!(arp_claimant(&arp_probe(OTHER, V4)[..len], OWN, V4), None);
        }
        for len in 0..ND_OPTION_AT {
            assert_eq!(nd_claimant(&advertisement(OTHER, v6())[..len], OWN, v6()), None);
        }
    }

    #[test]
    fn an_advertisement_overrides_and_its_checksum_is_right() {
        let frame = advertisement(OWN, v6());
        assert_eq!(
            hex(&frame[..ICMPV6_CHECKSUM_AT]),
            "33330000000102000000000186dd6000000000203afffd000000000000010000000000000005\
             ff0200000000000000000000000000018800"
        );
        assert_eq!(hex(&frame[ND_FLAGS_AT..]), "20000000fd0000000000000100000000000000050201020000000001");
        // RFC 1071: summed up with its checksum, a right message gives all ones.
        let words = frame[IPV6_SOURCE_AT..].chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
        let sum: u32 = words.sum::<u32>() + 32 + 58;
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }

    #[test]
    fn a_solicitation_goes_to_the_group_of_its_target_and_its_checksum_is_right() {
        let source: Ipv6Addr = "fe80::1".parse().unwrap();
        let frame = solicitation(OWN, source, v6());
        assert_eq!(hex(&frame[..6]), "3333ff000005");
        assert_eq!(hex(&frame[IPV6_DESTINATION_AT..ICMPV6_AT]), "ff0200000000000000000001ff000005");
        assert_eq!(hex(&frame[ND_FLAGS_AT..]), "00000000fd0000000000000100000000000000050101020000000001");
        let words = frame[IPV6_SOURCE_AT..].chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
        let sum: u32 = words.sum::<u32>() + 32 + 58;
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
        assert_eq!(nd_claimant(&frame, OTHER, v6()), None, "a question is no claim");
    }

    #[test]
    fn r10_an_advertisement_and_a_rival_solicitation_are_conflicts() {
        let mut frame = advertisement(OTHER, v6());
        assert_eq!(nd_claimant(&frame, OWN, v6()), Some(OTHER));
        assert_eq!(nd_claimant(&frame, OTHER, v6()), None);
        put(&mut frame, ICMPV6_AT, &[SOLICITATION]);
        assert_eq!(nd_claimant(&frame, OWN, v6()), None, "asked by a host that has an address of its own");
        put(&mut frame, IPV6_SOURCE_AT, &[0; 16]);
        assert_eq!(nd_claimant(&frame, OWN, v6()), Some(OTHER));
    }
}
