//! The PROXY protocol, versions 1 and 2: in front of everything else, a proxy tells for whom it connects (HAProxy's "The PROXY
//! protocol", 2020). [`read`] takes it in, [`v2::header`] gives it out.

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
