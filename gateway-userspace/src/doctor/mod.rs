//! `gateway doctor`: what is wrong on this host, with cause, evidence and remedy (R62).
//!
//! ```text
//! gather ─► Facts ─► checks, a graph ─► Report
//! (I/O)     (pure from here on)
//! ```
//!
//! A fact that could not be had is [`Seen::Unseen`], with the reason: what is not known is never taken for wrong. A check whose
//! precondition failed is skipped and says because of what, so one cause is not told ten times.

mod check;
mod facts;
mod gather;
mod graph;
mod report;

pub use self::{
    check::{ALL, PREFLIGHT},
    facts::{Facts, Place, Seen},
    gather::{Ask, gather},
    graph::examine,
    report::{Checked, Finding, Report, Severity, State, schema},
};
