//! The instances: how each is, what it gets, and what can be done about it.

use std::time::{Duration, SystemTime};

use maud::{Markup, html};

use super::{
    Glance,
    document::{bar, cell, column},
    text::{Tone, age, grouped},
};
use crate::{
    model::AdminState,
    status::{HealthWord, Instance, Status, Time, WayWord},
};

pub(super) fn section(status: &Status, glance: &Glance<'_>) -> Markup {
    let csrf = glance.viewer.csrf().filter(|_| glance.viewer.may_change());
    html! {
        section aria-labelledby="instances" {
            h2 #instances { "Instances" }
            @if status.instances.is_empty() {
                p.empty { "The file has no instances." }
            } @else {
                table.instances role="table" {
                    thead role="rowgroup" {
                        tr role="row" {
                            (column("Instance")) (column("Health")) (column("Admin state")) (column("Weight"))
                            (column("Share of new flows")) (column("Living flows"))
                        }
                    }
                    tbody role="rowgroup" {
                        @for one in &status.instances { (row(one, csrf, glance.now)) }
                    }
                }
            }
        }
    }
}

fn row(one: &Instance, csrf: Option<&str>, now: SystemTime) -> Markup {
    html! {
        tr id=(format!("instance-{}", one.name)) role="row" {
            th role="rowheader" scope="row" {
                (one.name)
                @for dip in &one.dips {
                    span.note.mono { (dip.address) @if let Some(word) = way(dip.way) { " " span.word.bad { (word) } } }
                }
            }
            (cell("Health", &health(one, now)))
            (cell("Admin state", &admin(one, csrf, now)))
            (cell("Weight", &weight(one)))
            (cell("Share of new flows", &html! {
                div.share {
                    (bar(one.bucket_percent, if one.buckets > 0 { Tone::Good } else { Tone::Plain }))
                    span { (format!("{:.1} %", one.bucket_percent)) }
                }
            }))
            (cell("Living flows", &html! {
                @match one.flows {
                    Some(flows) => span.number { (grouped(flows.living)) },
                    None => span.quiet { "not known" },
                }
            }))
        }
    }
}

/// What is wrong with the way to an address.
fn way(word: WayWord) -> Option<&'static str> {
    match word {
        WayWord::Local | WayWord::Resolved => None,
        WayWord::Resolving => Some("resolving"),
        WayWord::Failed => Some("does not answer"),
        WayWord::NoRoute => Some("no route"),
    }
}

fn health(one: &Instance, now: SystemTime) -> Markup {
    let Some(health) = &one.health else { return html! { span.word.plain { "not probed" } } };
    let tone = match health.state {
        HealthWord::Up => Tone::Good,
        HealthWord::Unknown => Tone::Odd,
        HealthWord::Down | HealthWord::Gone => Tone::Bad,
    };
    // An old error of one that is well is no news.
    let error = health.last_error.as_ref().filter(|_| health.state != HealthWord::Up);
    html! {
        span.word.(tone.class()) { (health.state.as_str()) }
        span.note { "since " (age(health.since.age(now))) }
        @if let Some(error) = error { span.note.error { (error) } }
        @else if let Some(error) = &health.last_error { span.note { "last error: " (error) } }
    }
}

fn admin(one: &Instance, csrf: Option<&str>, now: SystemTime) -> Markup {
    html! {
        @match one.admin_state {
            None => span.word.odd { "removed" },
            Some(state) => span.word.(if state == AdminState::Auto { Tone::Plain } else { Tone::Odd }.class()) { (state.as_str()) },
        }
        @if let Some(overridden) = &one.overridden { span.note { "set at run time; the file says " (overridden.file.as_str()) } }
        @if let Some(drain) = &one.drain { span.note { "drains, " (left(drain.ends, now)) } }
        @if let (Some(csrf), Some(_)) = (csrf, one.admin_state) { (controls(one, csrf)) }
    }
}

/// The countdown.
fn left(end: Option<Time>, now: SystemTime) -> String {
    match end {
        None => "for as long as flows live".to_owned(),
        Some(end) => {
            let left = (end.seconds() - Time::from(now).seconds()).max(0.0);
            format!("{} left", age(Duration::from_secs_f64(left)))
        }
    }
}

fn controls(one: &Instance, csrf: &str) -> Markup {
    let choices = [
        ("auto", "auto", "Its probes decide."),
        ("up", "up", "In service whatever its probes say."),
        ("down", "down: drain it", "No new flows; those that began go on until the drain ends."),
    ];
    html! {
        details.change id=(format!("change-{}", one.name)) {
            summary { "Change" span.unseen { " the admin state of " (one.name) } }
            form method="post" action=(format!("/instances/{}", one.name)) {
                input type="hidden" name="csrf" value=(csrf);
                @for (state, label, meaning) in choices {
                    button name="state" value=(state) { (label) }
                    p.note { (meaning) }
                }
            }
        }
    }
}

fn weight(one: &Instance) -> Markup {
    let slow = one.health.as_ref().and_then(|health| health.slow_start);
    html! {
        @match one.weight {
            Some(weight) => span.number { (weight) },
            None => span.quiet { "none" },
        }
        @if let Some(slow) = slow { span.note { "comes back: step " (slow.step) " of " (slow.steps) } }
        @if one.weight.is_some_and(|weight| weight != one.share) { span.note { (one.share) " now" } }
        @if let Some(path) = one.data_path.as_ref().filter(|path| path.tried > path.answered) {
            span.note { (path.answered) " of " (path.tried) " connections through the VIP came about" }
        }
    }
}
