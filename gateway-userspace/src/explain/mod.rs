//! `gateway explain`: what becomes of a packet and of the request in it, told step by step by the code that decides (R63).
//!
//! ```text
//! question ─► frame ─► the pipeline itself, on a copy of the live tables ─► steps ─► document
//!                      the proxy's routes                                ─► request ─┘
//! ```
//!
//! Nothing here decides: `decide.rs` runs [`gateway_ebpf::pipeline`], `request.rs` asks [`crate::proxy`], and `story.rs` puts what they
//! told into words.

pub mod decide;
pub mod document;
pub mod frame;
mod names;
pub mod question;
mod request;
mod story;
mod tables;

pub use self::{
    decide::{Decision, decide},
    document::{Explanation, schema},
    frame::build,
    question::{End, Flags, Protocol, Question},
    tables::{Known, interfaces, of_file},
};
use crate::model::Model;

/// All that is to be told of a packet, and of the request where a name is asked for.
///
/// # Errors
/// The two addresses are not of one family.
pub fn explain(question: &Question, known: &mut Known, model: Option<&Model>) -> Result<Explanation, Error> {
    let frame = build(question, known)?;
    let (decision, took) = {
        let begun = std::time::Instant::now();
        let decision = decide(&mut known.tables, frame);
        (decision, begun.elapsed())
    };
    let mut explanation = story::tell(question, known, &decision);
    explanation.times.decision_microseconds = took.as_secs_f64() * 1e6;
    if let (Some(model), true) = (model, decision.is_forwarded()) {
        request::follow(question, model, &mut explanation);
    }
    Ok(explanation)
}

/// Why there is nothing to explain.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// IPv4 and IPv6.
    #[error("--from {from} and --to {to} are of two families: a packet is IPv4 or IPv6")]
    Families {
        /// The source.
        from: std::net::IpAddr,
        /// The destination.
        to: std::net::IpAddr,
    },
    /// No such interface of the balancer.
    #[error("the balancer has no interface {name}; it has {present}")]
    Interface {
        /// As asked for.
        name: String,
        /// Those it has.
        present: String,
    },
    /// Larger or smaller than can be.
    #[error("--size {size}: such a packet has {least} to 65535 bytes, its IP header included")]
    Size {
        /// As asked for.
        size: u16,
        /// The headers.
        least: u16,
    },
}
