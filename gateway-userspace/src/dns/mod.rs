//! The names of a configuration in the DNS (R50 to R54).
//!
//! `Model ─► Records` ([`mod@records`]), and from these, each a pure function: text for other servers ([`formats`]), and answers
//! ([`answer`]). [`serve`] has the sockets; [`mod@examine`] asks other servers, and [`check`] judges
//! what they say.

pub mod answer;
pub mod check;
pub mod client;
pub mod examine;
pub mod formats;
pub mod https;
pub mod records;
pub mod serial;
pub mod serve;

use std::path::Path;

use anyhow::Context as _;

pub use self::{records::Records, serial::Serial};
use crate::{config, model::Model};

/// Reads a file, and what the DNS says of it.
///
/// # Errors
/// The file has faults, or its time cannot be told.
pub fn load(path: &Path) -> anyhow::Result<(Model, Records)> {
    let model = config::load(path)?;
    let records = records(&model, path)?;
    Ok((model, records))
}

/// What the DNS says of a model that was read from this file.
///
/// # Errors
/// The file's time cannot be told.
pub fn records(model: &Model, path: &Path) -> anyhow::Result<Records> {
    let serial =
        serial::of(model, path).with_context(|| format!("cannot tell how old {} is", path.display()))?;
    Ok(Records::new(model, serial))
}
