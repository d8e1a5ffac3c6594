//! The file as a whole: what is written, what is found, where, and how it is shown.

mod certificates;
mod codes;
mod documents;
mod example;
mod random;
mod rendering;

use std::path::Path;

use super::{
    examine,
    fault::{Report, Source},
};
use crate::model::Model;

/// The example that passes.
const EXAMPLE: &str = include_str!("../../../../docs/examples/internal.toml");

/// The same of the mode without VIPs.
const NONE: &str = include_str!("../../../../docs/examples/none.toml");
/// And of the one in which clients come by the public VIP.
const EXTERNAL: &str = include_str!("../../../../docs/examples/external.toml");

/// Checks a text as `etc/gateway.toml`.
fn check(text: &str) -> (Option<Model>, Report) {
    let (resolved, faults) = examine(text, Path::new("etc"));
    let source = Source { path: "etc/gateway.toml".into(), text: text.to_owned() };
    (resolved.model, Report::new(source, faults))
}
