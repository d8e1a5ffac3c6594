//! What `gateway check --json` prints, and its published schema, `docs/check.schema.json` (R92).

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{
    code::Severity,
    fault::{Fault, Report},
};
use crate::published;

/// Of the document; grows when a field changes its meaning.
const SCHEMA_VERSION: u32 = 1;

/// All that was found in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Findings {
    /// 1
    pub schema_version: u32,
    /// The file is refused for any of them.
    pub faults: Vec<Finding>,
    /// The file is taken all the same.
    pub warnings: Vec<Finding>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// `C012`; `gateway help C012` says more.
    pub code: String,
    /// What is wrong, in a sentence.
    pub message: String,
    /// The file, as it was named.
    pub path: String,
    /// From 1; null where the finding is of the file as a whole.
    pub line: Option<usize>,
    /// From 1, in characters; null where there is no line.
    pub column: Option<usize>,
    /// What to do about it here, where more can be said than the code says.
    pub help: Option<String>,
}

impl Report {
    /// For programs, as JSON.
    pub fn json(&self) -> Value {
        // Text and numbers: there is nothing in it that JSON cannot say.
        serde_json::to_value(self.findings()).unwrap_or_default()
    }

    /// For programs.
    pub fn findings(&self) -> Findings {
        let list = |severity| self.of(severity).map(|fault| self.finding(fault)).collect();
        Findings {
            schema_version: SCHEMA_VERSION,
            faults: list(Severity::Fault),
            warnings: list(Severity::Warning),
        }
    }

    fn finding(&self, fault: &Fault) -> Finding {
        let (line, column) = self.position(fault).unzip();
        Finding {
            code: fault.code().to_string(),
            message: fault.message().to_owned(),
            path: self.path().to_string_lossy().into_owned(),
            line,
            column,
            help: fault.help().map(ToOwned::to_owned),
        }
    }
}

/// A JSON Schema (draft-07) of [`Findings`].
pub fn schema() -> Value {
    published::schema::<Findings>("gateway check")
}
