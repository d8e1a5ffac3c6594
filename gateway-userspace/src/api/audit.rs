//! Who changed what: a log line each (target `audit`), and the last of them for the API.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Who, wire::SCHEMA};

/// So many are kept.
const KEPT: usize = 200;

/// A change, or an attempt at one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Entry {
    /// When, RFC 3339.
    pub at: String,
    /// Who: `uid 0 (pid 4711)`, `token deploy (192.0.2.7)`, `SIGHUP`, `file watch`, `gateway`.
    pub who: String,
    /// What was asked for.
    pub what: String,
    /// The configuration in force afterwards.
    pub generation: u64,
    /// What became of it.
    pub outcome: String,
}

/// The last changes, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Trail {
    /// 1
    pub schema_version: u32,
    /// At most 200, of this process.
    pub entries: Vec<Entry>,
}

/// The log; clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Audit(Arc<Mutex<VecDeque<Entry>>>);

impl Audit {
    /// Writes a line.
    pub fn note(&self, who: &Who, what: &str, generation: u64, outcome: &str) {
        // What a stranger may have chosen must not make lines of its own.
        let [what, outcome] = [what, outcome].map(|text| text.replace(char::is_control, " "));
        log::info!(target: "audit", "audit: {who}: {what}; generation {generation}: {outcome}");
        let at = humantime::format_rfc3339_millis(SystemTime::now()).to_string();
        let entry = Entry { at, who: who.to_string(), what, generation, outcome };
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() == KEPT {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// The last ones.
    pub fn trail(&self) -> Trail {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Trail { schema_version: SCHEMA, entries: entries.iter().cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept_and_each_is_one_line() {
        let audit = Audit::default();
        for number in 0..=KEPT as u64 {
            audit.note(&Who::Signal, "apply\nforged", number, "applied");
        }
        let entries = audit.trail().entries;
        assert_eq!(entries.len(), KEPT);
        assert_eq!((entries[0].generation, entries[0].what.as_str()), (1, "apply forged"));
    }
}
