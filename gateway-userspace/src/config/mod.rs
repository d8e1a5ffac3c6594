//! From `gateway.toml` to [`crate::model::Model`].

pub mod check;

use std::{fmt, path::Path};

use crate::model::Model;

/// Everything that is wrong with a file, each with code, place, caret and remedy.
#[derive(Debug)]
pub struct Faults;

impl fmt::Display for Faults {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// Reads and checks a file; warnings go to the log.
///
/// # Errors
/// All faults at once.
pub fn load(_path: &Path) -> Result<Model, Faults> {
    Err(Faults)
}
