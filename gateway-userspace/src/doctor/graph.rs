//! Checks in the order of what they depend on, and the one cause that is told first. Pure.

use super::{
    facts::{Facts, Place},
    report::{Checked, Finding, Report, SCHEMA_VERSION, Severity, State},
};

/// Something that is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// `vip-unique`
    pub(super) id: &'static str,
    /// What is looked at, as the subject of a sentence.
    pub(super) title: &'static str,
    /// What has to be right before it means anything: checks that stand before it in the list.
    pub(super) needs: &'static [&'static str],
    /// What it comes to.
    pub(super) judge: fn(&Facts) -> Outcome,
}

/// What a check comes to by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// As it should be, as was seen by this.
    Fine(String),
    /// At least one thing is wrong.
    Found(Vec<Finding>),
    /// It cannot be told, for this reason.
    Unknown(String),
    /// Nothing of this host's, for this reason.
    Elsewhere(String),
}

impl Check {
    /// `vip-unique`
    pub fn id(&self) -> &'static str {
        self.id
    }
}

impl Outcome {
    /// What is wrong, or what is seen where nothing is.
    pub(super) fn of(findings: Vec<Finding>, seen: impl Into<String>) -> Self {
        if findings.is_empty() { Self::Fine(seen.into()) } else { Self::Found(findings) }
    }
}

/// Looks at everything, by what is known.
pub fn examine(checks: &[Check], facts: &Facts) -> Report {
    let mut done: Vec<Checked> = Vec::new();
    for check in checks {
        let outcome = match stopped(check, checks, &done) {
            Some(because) => (State::Skipped, because, Vec::new()),
            None => match (check.judge)(facts) {
                Outcome::Fine(seen) => (State::Fine, seen, Vec::new()),
                Outcome::Unknown(why) => (State::Unknown, why, Vec::new()),
                Outcome::Elsewhere(why) => (State::Skipped, why, Vec::new()),
                Outcome::Found(findings) => {
                    let is_error = findings.iter().any(|one| one.severity == Severity::Error);
                    let seen = findings.first().map(|one| one.cause.clone()).unwrap_or_default();
                    (if is_error { State::Error } else { State::Warning }, seen, findings)
                }
            },
        };
        let (state, evidence, findings) = outcome;
        let (id, title) = (check.id.to_owned(), check.title.to_owned());
        done.push(Checked { id, title, state, evidence, findings });
    }
    let root = root(checks, &done).map(ToOwned::to_owned);
    Report {
        schema_version: SCHEMA_VERSION,
        ok: done.iter().all(|check| check.findings.is_empty()),
        place: facts.place.iter().map(Place::to_string).collect(),
        root_cause: root,
        checks: done,
    }
}

/// Because of what a check means nothing.
fn stopped(check: &Check, checks: &[Check], done: &[Checked]) -> Option<String> {
    check.needs.iter().find_map(|need| {
        let before = done.iter().find(|one| one.id == *need)?;
        match before.state {
            State::Error => Some(format!("because of {need}: {}", before.evidence)),
            State::Unknown => Some(format!("because {need} is not known: {}", before.evidence)),
            // One that is nothing of this host's stops nothing; one that was stopped itself does.
            State::Skipped => {
                let own = checks.iter().find(|one| one.id == *need)?;
                stopped(own, checks, done)
            }
            State::Fine | State::Warning => None,
        }
    })
}

/// The worst finding on which most other checks depend; of equal ones the first.
fn root<'d>(checks: &[Check], done: &'d [Checked]) -> Option<&'d str> {
    let worst = |one: &Checked| one.findings.iter().map(|finding| finding.severity).max();
    let found = done.iter().filter(|one| !one.findings.is_empty());
    let ranked = found.rev().max_by_key(|one| (worst(one), dependents(&one.id, checks)));
    ranked.map(|one| one.id.as_str())
}

/// How many checks depend on this one, directly or not.
fn dependents(id: &str, checks: &[Check]) -> usize {
    checks.iter().filter(|check| depends(check, id, checks)).count()
}

fn depends(check: &Check, id: &str, checks: &[Check]) -> bool {
    check
        .needs
        .iter()
        .any(|need| *need == id || checks.iter().any(|other| other.id == *need && depends(other, id, checks)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{ALL, PREFLIGHT};

    fn check(id: &'static str, needs: &'static [&'static str], judge: fn(&Facts) -> Outcome) -> Check {
        Check { id, title: "that", needs, judge }
    }

    fn wrong(_: &Facts) -> Outcome {
        Outcome::Found(vec![Finding::error("it is wrong", "seen", "mend it")])
    }

    fn odd(_: &Facts) -> Outcome {
        Outcome::Found(vec![Finding::warning("it is odd", "seen", "look at it")])
    }

    fn fine(_: &Facts) -> Outcome {
        Outcome::Fine("seen".into())
    }

    fn dark(_: &Facts) -> Outcome {
        Outcome::Unknown("no permission".into())
    }

    fn elsewhere(_: &Facts) -> Outcome {
        Outcome::Elsewhere("another host's".into())
    }

    fn states(report: &Report) -> Vec<&'static str> {
        report.checks.iter().map(|check| check.state.as_str()).collect()
    }

    #[test]
    fn r62_what_depends_on_something_wrong_or_unknown_is_skipped_and_says_so() {
        let checks = [
            check("a", &[], odd),
            check("b", &["a"], wrong),
            check("c", &["b"], fine),
            check("d", &["c"], wrong),
            check("e", &[], dark),
            check("f", &["e"], wrong),
            check("g", &[], elsewhere),
            check("h", &["g"], fine),
        ];
        let report = examine(&checks, &Facts::default());
        assert_eq!(
            states(&report),
            ["warning", "error", "skipped", "skipped", "unknown", "skipped", "skipped", "fine"]
        );
        assert_eq!(report.checks[3].evidence, "because of b: it is wrong");
        assert_eq!(report.checks[5].evidence, "because e is not known: no permission");
        assert_eq!((report.root_cause.as_deref(), report.worst()), (Some("b"), Some(Severity::Error)));
        assert!(!report.ok);
    }

    #[test]
    fn r62_the_cause_of_most_is_told_first_and_what_is_not_known_is_not_wrong() {
        let checks =
            [check("a", &[], wrong), check("b", &[], wrong), check("c", &["b"], fine), check("d", &[], odd)];
        assert_eq!(examine(&checks, &Facts::default()).root_cause.as_deref(), Some("b"));
        let report = examine(&[check("a", &[], dark), check("b", &[], fine)], &Facts::default());
        assert_eq!(
            (report.ok, report.root_cause, states(&examine(&[check("a", &[], dark)], &Facts::default()))),
            (true, None, vec!["unknown"])
        );
    }

    #[test]
    fn every_check_stands_behind_those_that_it_depends_on() {
        for (place, check) in ALL.iter().enumerate() {
            for need in check.needs {
                assert!(ALL[..place].iter().any(|one| one.id == *need), "{} needs {need}", check.id);
            }
            assert_eq!(ALL.iter().filter(|one| one.id == check.id).count(), 1, "{}", check.id);
        }
        assert!(PREFLIGHT.iter().all(|id| ALL.iter().any(|check| check.id == *id)));
    }
}
