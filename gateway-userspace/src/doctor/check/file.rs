//! The file and what it names.

use super::seen;
use crate::{
    doctor::{
        facts::{Facts, Place, Seen},
        graph::Outcome,
        report::Finding,
    },
    model::CERTIFICATE_ENDS_SOON,
};

const DAY: i64 = 24 * 3600;

pub(super) fn file(facts: &Facts) -> Outcome {
    match &facts.file {
        Seen::Seen(file) => {
            let instances = file.model.instances.len();
            Outcome::Fine(format!(
                "{}: service {}, {instances} instances",
                file.path, file.model.service.name
            ))
        }
        Seen::Unseen(why) => Outcome::Found(vec![Finding::error(
            "the configuration file cannot be used",
            why.trim(),
            "`gateway check` shows every fault at its place",
        )]),
    }
}

pub(super) fn certificates(facts: &Facts) -> Outcome {
    let file = seen!(facts.file);
    // Balancers have none; instances need all of them.
    let is_needed = facts.place.contains(&Place::Instance);
    let faults: Vec<_> =
        file.certified.faults.iter().filter(|fault| is_needed || !fault.is_unreadable).collect();
    let mut findings: Vec<_> = faults
        .iter()
        .map(|fault| {
            let help = fault.help.as_ref().map_or_else(String::new, |help| format!("{help}; "));
            let remedy = format!("{help}`gateway check --config {}` shows the place", file.path);
            Finding::error(&fault.message, format!("{} of {}", fault.code, file.path), remedy)
        })
        .collect();
    let soon = file.now + i64::from(CERTIFICATE_ENDS_SOON) * DAY;
    for (chain, until) in file.certified.ends.iter().filter(|(_, until)| (file.now..soon).contains(until)) {
        let days = (until - file.now) / DAY;
        findings.push(Finding::warning(
            format!("the certificate {chain} is good for {days} days more"),
            format!("`openssl x509 -enddate -noout -in {chain}`"),
            "renew it; proxies take a changed file up by themselves",
        ));
    }
    let unread = file.certified.faults.len() - faults.len();
    let read = file.certified.ends.len();
    if findings.is_empty() && read == 0 && unread > 0 {
        return Outcome::Elsewhere("they are on the instances".into());
    }
    Outcome::of(findings, format!("{read} are good, with their keys and for their names"))
}
