//! The internet checksum (RFC 1071) by sums of 16-bit words as big-endian numbers, and its update (RFC 1624).

use crate::address::{Address, V4};

/// Folds a sum of less than 2³² words to 16 bits.
#[inline(always)]
pub const fn fold(sum: u64) -> u16 {
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The checksum of bytes in which its own field is zero.
#[cfg(not(target_arch = "bpf"))]
pub fn of_bytes(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u64::from(*low));
    !fold(bytes.chunks(2).map(word).sum())
}

/// A checksum after one 16-bit word of what it covers has become another (RFC 1624, equation 3). A wrong one stays wrong.
#[inline(always)]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    adjust(checksum, change(old, new))
}

/// The sum of an address's words, folded as far as four bytes.
#[inline(always)]
pub const fn of_address(address: Address) -> u64 {
    let hi = if address.hi == V4 { 0 } else { address.hi };
    (hi >> 32) + (hi & 0xffff_ffff) + (address.lo >> 32) + (address.lo & 0xffff_ffff)
}

/// By how much a sum is different when an address in it becomes another one: a number that is congruent to it and not negative.
#[inline(always)]
pub const fn change_of_address(before: Address, after: Address) -> u64 {
    // A multiple of 0xffff, as every word's complement is: it adds up to nothing.
    4 * 0xffff_ffff - of_address(before) + of_address(after)
}

/// The same of one word.
#[inline(always)]
pub const fn change(before: u16, after: u16) -> u64 {
    0xffff - before as u64 + after as u64
}

/// As [`update`], where the sum of what is covered has changed by so much. It is the one that a full computation gives, since no sum of
/// data with an address in it is zero.
#[inline(always)]
pub const fn adjust(checksum: u16, change: u64) -> u16 {
    !fold(!checksum as u64 + change)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_fold_with_the_carry_around_the_end() {
        assert_eq!(fold(0), 0);
        assert_eq!(fold(0xffff), 0xffff);
        assert_eq!(fold(0x1_0000), 1);
        assert_eq!(fold(0xffff_ffff), 0xffff);
        assert_eq!(fold(u64::MAX), 0xffff);
        // RFC 1071 §3: 00 01 f2 03 f4 f5 f6 f7
        assert_eq!(fold(0x0001 + 0xf203 + 0xf4f5 + 0xf6f7), 0xddf2);
        assert_eq!(fold(0x0001_f203 + 0xf4f5_f6f7), 0xddf2);
        assert_eq!(of_bytes(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(of_bytes(&[0x00, 0x01, 0xf2]), !0xf201, "an odd one has a zero behind it");
    }

    #[test]
    fn an_update_is_what_a_new_sum_would_be() {
        // RFC 1624 §4: where the older equation gave 0xffff.
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
        for (old, new) in [(0, 0xffff), (0xffff, 0), (0x0800, 0), (7, 7)] {
            let rest = 0x1234;
            assert_eq!(
                update(!fold(rest + u64::from(old)), old, new),
                !fold(rest + u64::from(new)),
                "{old} {new}"
            );
        }
        let (a, b) = (Address::v4(0x0a00_0005), Address::v4(0xffff_ffff));
        let sum = |address| fold(0x1234_5678 + of_address(address));
        assert_eq!(adjust(!sum(a), change_of_address(a, b)), !sum(b));
        assert_eq!(adjust(!sum(b), change_of_address(b, a)), !sum(a));
    }

    #[test]
    fn addresses_sum_as_their_words_do() {
        assert_eq!(fold(of_address(Address::v4(0x0a00_0005))), 0x0a05);
        let v6 = Address::v6(0xfd00_0000_0000_0001, 5);
        assert_eq!(fold(of_address(v6)), 0xfd06);
    }
}
