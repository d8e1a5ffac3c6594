//! How far a flow is in its life, and when it is over. Pure: time and flags in, flags out.
//!
//! Both directions of a flow change one word, that of the forward map. The standards give the least that a connection may be idle:
//! 2 h 4 min once it is established, 4 min while it begins or ends (RFC 5382 REQ-5). A reset ends nothing by itself, since anyone
//! can forge one: it shortens the life to those 4 min, and the host's next segment takes that back (RFC 6146 §3.5.2.2).

use network_types::ip::IpProto;

use super::layout::{Entry, Life};
use crate::headers::{TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN};

/// The peer has taken the connection: SYN and ACK.
pub const ANSWERED: u8 = 1;
/// The host has acknowledged that.
pub const ESTABLISHED: u8 = 2;
/// The host sends nothing more.
pub const FIN_OUT: u8 = 4;
/// The peer sends nothing more.
pub const FIN_IN: u8 = 8;
/// The host has reset it.
pub const RST_OUT: u8 = 16;
/// Somebody says that the peer has.
pub const RST_IN: u8 = 32;

/// The flags after a segment that the host sent.
#[inline(always)]
pub const fn leaving(flags: u8, tcp: u8) -> u8 {
    if tcp & TCP_RST != 0 {
        return flags | RST_OUT;
    }
    if tcp & (TCP_SYN | TCP_ACK) == TCP_SYN {
        return if is_ending(flags) { 0 } else { flags };
    }
    let mut flags = flags & !RST_IN;
    if tcp & TCP_ACK != 0 && flags & ANSWERED != 0 {
        flags |= ESTABLISHED;
    }
    if tcp & TCP_FIN != 0 { flags | FIN_OUT } else { flags }
}

/// The flags after a segment that came.
#[inline(always)]
pub const fn arriving(flags: u8, tcp: u8) -> u8 {
    if tcp & TCP_RST != 0 {
        return flags | RST_IN;
    }
    let mut flags = flags;
    if tcp & (TCP_SYN | TCP_ACK) == TCP_SYN | TCP_ACK {
        flags |= ANSWERED;
    }
    if tcp & TCP_FIN != 0 { flags | FIN_IN } else { flags }
}

/// Both have ended it, or one has reset it.
#[inline(always)]
pub const fn is_ending(flags: u8) -> bool {
    flags & (FIN_OUT | FIN_IN) == FIN_OUT | FIN_IN || flags & (RST_OUT | RST_IN) != 0
}

/// Which idle time a flow has.
#[inline(always)]
pub const fn life(protocol: u8, flags: u8) -> Life {
    const TCP: u8 = IpProto::Tcp as u8;
    const UDP: u8 = IpProto::Udp as u8;
    match protocol {
        TCP if flags & ESTABLISHED != 0 && !is_ending(flags) => Life::Established,
        TCP => Life::Transitory,
        UDP => Life::Udp,
        _ => Life::Icmp,
    }
}

/// Whether an entry of the forward map is nobody's any more.
#[inline(always)]
pub const fn is_over(entry: Entry, protocol: u8, lives: &[u64; 4], now: u32) -> bool {
    entry.idle(now) as u64 > lives[life(protocol, entry.flags()) as usize & 3]
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: u8 = IpProto::Tcp as u8;
    const SYN_ACK: u8 = TCP_SYN | TCP_ACK;

    enum Sent {
        Out(u8),
        In(u8),
    }
    use Sent::{In, Out};

    fn after(segments: &[Sent]) -> u8 {
        segments.iter().fold(0, |flags, segment| match *segment {
            Out(tcp) => leaving(flags, tcp),
            In(tcp) => arriving(flags, tcp),
        })
    }

    const OPEN: [Sent; 3] = [Out(TCP_SYN), In(SYN_ACK), Out(TCP_ACK)];

    fn then(more: impl IntoIterator<Item = Sent>) -> u8 {
        after(&OPEN.into_iter().chain(more).collect::<Vec<_>>())
    }

    #[test]
    fn a_connection_lives_long_once_both_ends_have_agreed() {
        for (segments, expected) in [
            (vec![Out(TCP_SYN)], Life::Transitory),
            (vec![Out(TCP_SYN), Out(TCP_ACK)], Life::Transitory),
            (vec![Out(TCP_SYN), In(SYN_ACK)], Life::Transitory),
            (OPEN.into(), Life::Established),
        ] {
            assert_eq!(life(TCP, after(&segments)), expected);
        }
    }

    #[test]
    fn it_ends_when_both_have_said_so() {
        assert_eq!(life(TCP, then([Out(TCP_FIN | TCP_ACK)])), Life::Established);
        assert_eq!(life(TCP, then([In(TCP_FIN | TCP_ACK)])), Life::Established);
        assert_eq!(life(TCP, then([In(TCP_FIN | TCP_ACK), Out(TCP_FIN | TCP_ACK)])), Life::Transitory);
        let late = [In(TCP_FIN | TCP_ACK), Out(TCP_FIN | TCP_ACK), In(TCP_ACK), Out(TCP_ACK)];
        assert_eq!(life(TCP, then(late)), Life::Transitory);
    }

    #[test]
    fn a_forged_reset_is_taken_back_by_the_hosts_next_segment_and_an_own_one_is_not() {
        assert_eq!(life(TCP, then([In(TCP_RST)])), Life::Transitory);
        assert_eq!(life(TCP, then([In(TCP_RST), In(TCP_ACK)])), Life::Transitory);
        assert_eq!(life(TCP, then([In(TCP_RST), Out(TCP_ACK)])), Life::Established);
        assert_eq!(life(TCP, then([Out(TCP_RST | TCP_ACK), In(TCP_ACK), Out(TCP_ACK)])), Life::Transitory);
    }

    #[test]
    fn a_syn_begins_anew_where_the_last_connection_has_ended() {
        assert_eq!(then([Out(TCP_RST), Out(TCP_SYN)]), 0);
        assert_eq!(then([In(TCP_FIN), Out(TCP_FIN), Out(TCP_SYN)]), 0);
        assert_eq!(life(TCP, then([Out(TCP_SYN)])), Life::Established, "a SYN again, or a mistake");
    }

    #[test]
    fn r34_an_entry_is_over_when_it_was_idle_for_longer_than_its_life() {
        let lives = [100, 10, 20, 5];
        let entry = |flags| Entry::new(1_000, 1, 1, flags);
        for (protocol, flags, life) in [(6, ESTABLISHED, 100), (6, 0, 10), (17, 0, 20), (1, 0, 5), (58, 0, 5)]
        {
            assert!(!is_over(entry(flags), protocol, &lives, 1_000 + life), "{protocol} {flags}");
            assert!(is_over(entry(flags), protocol, &lives, 1_001 + life), "{protocol} {flags}");
        }
        assert!(!is_over(entry(0), 6, &lives, 999), "another CPU's clock is a moment behind");
    }
}
