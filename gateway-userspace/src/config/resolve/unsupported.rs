//! Features of the file that this version does not have: in use, they are refused, never ignored.

use crate::config::{
    code::Code,
    fault::{Fault, Problem, Span},
    file::File,
};

/// Reports each use of a feature that is still to come.
pub(super) fn refuse(file: &File, faults: &mut Vec<Fault>) {
    if file.snat.enabled.value() == Some(&true) {
        refuse_at(file.snat.enabled.span(), &not_yet("SNAT").help("write `false`"), faults);
    }
}

fn refuse_at(at: Option<Span>, problem: &Problem, faults: &mut Vec<Fault>) {
    faults.extend(at.map(|at| problem.clone().at(at)));
}

fn not_yet(what: &str) -> Problem {
    Problem::new(Code::NotSupported, format!("{what} is not supported yet")).label("not supported yet")
}
