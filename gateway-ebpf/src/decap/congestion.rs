//! What a router on the tunnel's way says of congestion, told to the packet inside (RFC 6040 §4.2).

use core::mem::offset_of;

use crate::{
    checksum,
    frame::Frame,
    headers::{Ipv4, Ipv6},
    parse::IpHeader,
};

/// The two bits of ECN in a type of service or traffic class (RFC 3168 §5).
const ECN: u8 = 3;
/// Does not know ECN.
const NOT_ECT: u8 = 0;
/// Knows it, as experiments do (RFC 8311).
const ECT_1: u8 = 1;
/// Knows it.
const ECT_0: u8 = 2;
/// Congestion experienced.
const CE: u8 = 3;

/// The inner type of service (or traffic class) of a packet that leaves a tunnel, given the outer one and its own: RFC 6040's
/// figure 4. `None`: to be dropped.
#[inline(always)]
pub const fn decapsulated(outer: u8, inner: u8) -> Option<u8> {
    match (inner & ECN, outer & ECN) {
        (NOT_ECT, CE) => None,
        (NOT_ECT | CE, _) => Some(inner),
        (_, CE) => Some(inner | CE),
        (ECT_0, ECT_1) => Some(inner & !ECN | ECT_1),
        _ => Some(inner),
    }
}

/// A header whose type of service can be changed.
pub(super) trait Marked: IpHeader {
    /// Writes it to the header at `offset`.
    fn mark<F: Frame>(&self, frame: &mut F, offset: usize, service: u8) -> Option<()>;
}

impl Marked for Ipv4 {
    #[inline(always)]
    fn mark<F: Frame>(&self, frame: &mut F, offset: usize, service: u8) -> Option<()> {
        if service == self.service {
            return Some(());
        }
        // RFC 1624; the word's other half is the version and the header's length.
        let sum = checksum::update(u16::from_be(self.checksum), self.service.into(), service.into());
        frame.write(offset + offset_of!(Self, service), service)?;
        frame.write(offset + offset_of!(Self, checksum), sum.to_be())
    }
}

impl Marked for Ipv6 {
    #[inline(always)]
    fn mark<F: Frame>(&self, frame: &mut F, offset: usize, service: u8) -> Option<()> {
        let word = u32::from_be(self.version_class_flow) & 0xf00f_ffff | u32::from(service) << 20;
        frame.write(offset + offset_of!(Self, version_class_flow), word.to_be())
    }
}
