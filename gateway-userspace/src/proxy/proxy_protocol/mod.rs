//! The PROXY protocol, versions 1 and 2: in front of everything else, a proxy tells for whom it connects (HAProxy's "The PROXY
//! protocol", 2020). [`read()`] takes it in, [`v2::header`] gives it out.

mod read;
mod v1;
pub mod v2;

use std::net::SocketAddr;

pub use self::read::read;

/// The longest header that is read. Version 2 has room for 64 KiB of extensions, of which real ones fill some hundred bytes.
pub const MOST: usize = 4096;

/// The two ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    /// The client.
    pub source: SocketAddr,
    /// Where it connected to.
    pub destination: SocketAddr,
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// For a client.
    Of(Ends),
    /// The proxy connects for itself, to see whether we live (LOCAL), or does not know for whom (UNKNOWN, UNSPEC).
    Own,
}

/// Not a header, or not one of TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a PROXY protocol header of TCP")]
pub struct Malformed;

/// Reads a header at the front of `bytes`, and says how long it is. None: its end has not come.
///
/// # Errors
/// [`Malformed`], as soon as that is certain.
pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Malformed> {
    match bytes.first() {
        None => Ok(None),
        Some(b'P') => v1::parse(bytes),
        Some(_) => v2::parse(bytes),
    }
}

/// Whether `bytes` begin with `expected`, as far as they go.
fn may_be(bytes: &[u8], expected: &[u8]) -> bool {
    bytes.iter().zip(expected).all(|(byte, expected)| byte == expected)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Something like a header, and not quite.
    fn nearly() -> impl Strategy<Value = Vec<u8>> {
        let begin = prop_oneof![
            Just(b"PROXY TCP4 192.0.2.7 10.0.0.5 51000 443\r\n".to_vec()),
            Just(b"PROXY UNKNOWN\r\n".to_vec()),
            Just(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x08\x0a\0\0\x05\xc7\x38\x01\xbb".to_vec()),
            Just(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\x02xx".to_vec()),
        ];
        let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
        (begin, changes, prop::collection::vec(any::<u8>(), 0..64)).prop_map(|(mut bytes, changes, more)| {
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes.extend(more);
            bytes
        })
    }

    proptest! {
        /// In whatever pieces it comes: the same header, and nothing before its last byte.
        #[test]
        fn a_header_is_read_once_and_a_part_never_is(bytes in prop_oneof![nearly(), prop::collection::vec(any::<u8>(), 0..64)]) {
            let whole = parse(&bytes);
            for length in 0..bytes.len() {
                match (parse(&bytes[..length]), whole) {
                    (Ok(Some((header, end))), _) => {
                        prop_assert!(end <= length);
                        prop_assert_eq!(whole, Ok(Some((header, end))));
                    }
                    (Ok(None), Ok(Some((_, end)))) => prop_assert!(length < end),
                    (Ok(None), _) => {}
                    (Err(Malformed), _) => prop_assert_eq!(whole, Err(Malformed)),
                }
            }
        }
    }
}
