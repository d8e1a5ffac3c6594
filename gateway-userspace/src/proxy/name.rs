//! Names of fields. A worker remembers those that it has seen: clients and upstreams send the same ones with each message, and to make
//! a name of bytes costs more than to find one, most of all where it is none of those that everybody knows.

use std::cell::RefCell;

use http::HeaderName;

/// The longest name that is remembered: with it, an entry has 64 bytes.
const LONGEST: usize = 31;
/// Where names are remembered, each in one place.
const PLACES: usize = 256;

thread_local! {
    static SEEN: RefCell<Box<[Seen]>> = RefCell::new((0..PLACES).map(|_| Seen::default()).collect());
}

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
        let seen = &mut seen[place(bytes)];
        if !seen.is_of(bytes) {
            seen.name = make()?;
            seen.length = bytes.len() as u8;
            seen.bytes[..bytes.len()].copy_from_slice(bytes);
        }
        Some(seen.name.clone())
    })
}

/// Of bytes that are not empty.
fn place(bytes: &[u8]) -> usize {
    let length = bytes.len();
    let some = [bytes[0], bytes[length / 2], bytes[length - 1], length as u8];
    // Fibonacci hashing: the highest bits depend on all others.
    (u32::from_ne_bytes(some).wrapping_mul(0x9e37_79b9) >> 24) as usize % PLACES
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
