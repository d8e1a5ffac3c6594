//! What may stand in a field: `field-vchar`, space and tab (RFC 9110, section 5.5). Pure.
//!
//! Every byte of every head is asked, in both directions, so eight are asked at once.

use bytes::Bytes;
use http::HeaderValue;

/// Whether a byte may.
pub(super) fn is_value_byte(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Whether all may.
pub(super) fn is_value(bytes: &[u8]) -> bool {
    let is_plain = |word: &[u8; 8]| is_plain(u64::from_ne_bytes(*word));
    // The last eight, some of which were looked at, are a word too.
    let all_plain =
        bytes.last_chunk().is_some_and(|last| bytes.as_chunks().0.iter().all(is_plain) && is_plain(last));
    all_plain || bytes.iter().all(|byte| is_value_byte(*byte))
}

/// Whether eight bytes may, of which none is a tab, which hardly anything has.
fn is_plain(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    // The highest bit of a byte is set where it is below a space, or was DEL: exact as to whether there is one.
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    let delete = word ^ (ONES * 0x7f);
    let deletes = delete.wrapping_sub(ONES) & !delete;
    (controls | deletes) & HIGH == 0
}

/// A field's value; None: a byte may not stand in one.
pub(super) fn value(bytes: Bytes) -> Option<HeaderValue> {
    // SAFETY: a HeaderValue may have any byte that `is_value_byte` lets pass, and no other.
    is_value(&bytes).then(|| unsafe { HeaderValue::from_maybe_shared_unchecked(bytes) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_byte_may_or_may_not_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for (before, behind) in [(0, 0), (0, 7), (3, 4), (7, 0), (8, 0), (5, 20), (0xff, 1)] {
                let bytes = [&b"a".repeat(before)[..], &[byte], &[0xff; 20][..behind]].concat();
                let expected = HeaderValue::from_bytes(&bytes).ok();
                assert_eq!(is_value_byte(byte), expected.is_some(), "{byte}");
                assert_eq!(value(bytes.into()), expected, "{byte} behind {before}, in front of {behind}");
            }
        }
    }

    proptest! {
        /// It is what the http crate has for one.
        #[test]
        fn it_is_a_header_value(bytes in prop::collection::vec(prop_oneof![Just(b'\t'), Just(0x7f), 0x1e..0x22_u8, any::<u8>()], 0..40)) {
            prop_assert_eq!(value(Bytes::copy_from_slice(&bytes)), HeaderValue::from_bytes(&bytes).ok());
        }
    }
}
