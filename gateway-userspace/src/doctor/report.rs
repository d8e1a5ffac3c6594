//! What was found, for programs: `gateway doctor --json` (R92), and what the text for people is made from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::published;

/// Of [`Report`]; grows when a field changes its meaning.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// What was found on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// Of this structure: 1.
    pub schema_version: u32,
    /// No check found anything.
    pub ok: bool,
    /// The parts that this host has: `balancer`, `instance`, `client`.
    pub place: Vec<String>,
    /// The check to look at first: the finding of which most other checks depend. Absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_cause: Option<String>,
    /// Every check, each behind those that it depends on.
    pub checks: Vec<Checked>,
}

/// A check, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Checked {
    /// `vip-unique`
    pub id: String,
    /// What is looked at.
    pub title: String,
    /// What came of it.
    pub state: State,
    /// What was seen; of a check that was skipped or came to nothing, because of what.
    pub evidence: String,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is as it should be.
    Fine,
    /// It works, but not well, or not for long.
    Warning,
    /// It does not work.
    Error,
    /// It cannot be told from here, or could not be looked at.
    Unknown,
    /// Not looked at: something that it depends on is wrong, or is nothing of this host's.
    Skipped,
}

impl State {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        }
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Exit code 1.
    Warning,
    /// Exit code 2.
    Error,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in a sentence.
    pub cause: String,
    /// By what it was seen.
    pub evidence: String,
    /// What mends it: a command where there is one.
    pub remedy: String,
}

impl Finding {
    /// It does not work.
    pub(super) fn error(
        cause: impl Into<String>,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            severity: Severity::Error,
            cause: cause.into(),
            evidence: evidence.into(),
            remedy: remedy.into(),
        }
    }

    /// It works, but not well, or not for long.
    pub(super) fn warning(
        cause: impl Into<String>,
        evidence: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(cause, evidence, remedy) }
    }
}

impl Report {
    /// How bad the worst finding is.
    pub fn worst(&self) -> Option<Severity> {
        self.checks.iter().flat_map(|check| &check.findings).map(|finding| finding.severity).max()
    }
}

/// A JSON Schema (draft-07) of [`Report`].
pub fn schema() -> serde_json::Value {
    published::schema::<Report>("gateway doctor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r92_the_schema_is_the_one_of_the_code() {
        published::is_up_to_date("doctor.schema.json", &format!("{:#}\n", schema()), "doctor");
    }
}
