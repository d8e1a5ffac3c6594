//! Names of fields. A worker remembers those that it has seen: clients and upstreams send the same ones with each message, and to make
//! a name of bytes costs more than to find one, most of all where it is none of those that everybody knows.

use std::cell::RefCell;

use http::HeaderName;

/// The longest name that is remembered: with it, an entry has 64 bytes.
const LONGEST: usize = 31;
/// In so many places.
const PAIRS: usize = 128;

thread_local! {
    static SEEN: RefCell<Box<[Pair]>> = RefCell::new((0..PAIRS).map(|_| Pair::default()).collect());
}

/// The two that were asked for last of those that share a place: with one, two that many messages have would each time be made anew.
type Pair = [Seen; 2];

/// A name, and the bytes that it was made of, in their case. There is none where there are no bytes.
#[derive(Debug)]
struct Seen {
    length: u8,
    bytes: [u8; LONGEST],
    name: HeaderName,
}

impl Default for Seen {
    fn default() -> Self {
        Self { length: 0, bytes: [0; LONGEST], name: http::header::HOST }
    }
}

impl Seen {
    fn is_of(&self, bytes: &[u8]) -> bool {
        self.bytes.get(..usize::from(self.length)) == Some(bytes)
    }
}

/// A field's name, in whatever case; None: it is none (RFC 9110, section 5.1).
pub(super) fn name(bytes: &[u8]) -> Option<HeaderName> {
    let make = || HeaderName::from_bytes(bytes).ok();
    if bytes.is_empty() || bytes.len() > LONGEST {
        return make();
    }
    SEEN.with_borrow_mut(|seen| {
        let [last, before] = &mut seen[place(bytes)];
        if !last.is_of(bytes) {
            if !before.is_of(bytes) {
                before.name = make()?;
                before.length = bytes.len() as u8;
                before.bytes[..bytes.len()].copy_from_slice(bytes);
            }
            std::mem::swap(last, before);
        }
        Some(last.name.clone())
    })
}

/// Of bytes that are not empty.
fn place(bytes: &[u8]) -> usize {
    let length = bytes.len();
    let some = [bytes[0], bytes[length / 2], bytes[length - 1], length as u8];
    // Fibonacci hashing: the highest bits depend on all others.
    (u32::from_ne_bytes(some).wrapping_mul(0x9e37_79b9) >> 25) as usize % PAIRS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn those_that_share_a_place_are_told_apart() {
        // Alike where it is looked at to find the place.
        let names = ["x-abc-d", "x-xbc-d", "X-abc-d", "x-abc-e", "x-ab"];
        assert_eq!(place(names[0].as_bytes()), place(names[1].as_bytes()));
        for _ in 0..2 {
            for text in names {
                assert_eq!(name(text.as_bytes()), HeaderName::from_bytes(text.as_bytes()).ok(), "{text}");
            }
        }
        let long = "x".repeat(LONGEST + 1);
        for text in ["", "a b", "a:", long.as_str(), &long[1..]] {
            assert_eq!(name(text.as_bytes()), HeaderName::from_bytes(text.as_bytes()).ok(), "{text}");
        }
    }

    proptest! {
        /// Whatever came before, it is the name that the http crate makes.
        #[test]
        fn it_is_what_http_has(all in prop::collection::vec("[a-cA-C:\u{80}-]{0,4}", 1..50)) {
            for text in all {
                prop_assert_eq!(name(text.as_bytes()), HeaderName::from_bytes(text.as_bytes()).ok());
            }
        }
    }
}
