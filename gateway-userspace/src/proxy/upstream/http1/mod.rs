//! HTTP/1.1 with an upstream, one exchange after the other on a connection: a head is written in one piece, and an answer read in
//! the task of the request that waits for it, so nobody has to be woken in between.

mod answer;
mod link;
mod request;
mod sending;
mod wire;

pub(in crate::proxy) use self::link::Link;
pub(super) use self::{link::Failed, sending::Sending, wire::Stream};
pub use self::{link::Lost, wire::Unlinked};
