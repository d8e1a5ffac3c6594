//! The strict gate: lets in only requests that can be understood in one way. Pure, but for its timer.

mod chunked;
pub(super) mod fields;
mod head;
mod refusal;
mod timer;

pub use self::refusal::Refusal;
pub(crate) use self::timer::Timer;
pub(super) use self::{
    chunked::Chunked,
    head::{Body, Complete, Head},
};
