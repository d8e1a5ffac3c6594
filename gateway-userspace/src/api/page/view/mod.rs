//! HTML of the pages, from what they are to show. Pure.

mod addresses;
mod console;
mod document;
mod drops;
mod instances;
mod plot;
mod settings;
mod snat;
mod text;
mod traffic;

#[cfg(test)]
mod tests;

use std::time::SystemTime;

use maud::{Markup, html};

use self::{
    document::{Tab, shell},
    text::Tone,
};
use super::{door::Viewer, history::Rates, session::Notice};
use crate::status::{State, Status};

pub(super) use self::{
    console::console,
    document::{login, message},
};

/// What an overview shows beside the status.
pub(super) struct Glance<'v> {
    pub(super) viewer: &'v Viewer,
    pub(super) rates: Rates,
    pub(super) notice: Option<Notice>,
    pub(super) now: SystemTime,
}

/// The whole page.
pub(super) fn overview(status: &Status, glance: &Glance<'_>) -> Markup {
    let title = format!("{} is {}", status.service, status.state.as_str());
    let content = html! { div #live data-source="/live" { (live(status, glance)) } };
    shell(&title, &status.service, glance.viewer, Tab::Overview, &content)
}

/// What of it is kept up to date.
pub(super) fn live(status: &Status, glance: &Glance<'_>) -> Markup {
    html! {
        (head(status, glance))
        @if let Some(notice) = &glance.notice {
            p.notice.(if notice.good { Tone::Good } else { Tone::Bad }.class()) role="status" { (notice.text) }
        }
        (trouble(status))
        (addresses::vips(status))
        (traffic::section(&glance.rates))
        (instances::section(status, glance))
        (drops::section(status, &glance.rates))
        (addresses::roles(status, glance.now))
        (snat::section(status))
        (addresses::table(status))
        (settings::section(status, glance))
    }
}

/// The word that everything below explains.
fn head(status: &Status, glance: &Glance<'_>) -> Markup {
    let tone = match status.state {
        State::Serving => Tone::Good,
        State::Starting => Tone::Odd,
        State::Degraded => Tone::Odd,
        State::NotServing => Tone::Bad,
    };
    let up = status.instances.iter().filter(|one| one.buckets > 0).count();
    html! {
        div.hero {
            h1 { (status.service) " is " span.state.(tone.class()) role="status" { (status.state.as_str()) } }
            p {
                (up) " of " (text::counted(status.instances.len() as u64, "instance")) " take new flows · "
                (status.mode) " mode · " (status.forwarding) " · generation " (status.generation) " · up "
                (text::age(status.since.age(glance.now)))
            }
            p.feed { span #feed role="status" {} " As of " (text::clock(glance.now)) " UTC" }
        }
    }
}

fn trouble(status: &Status) -> Markup {
    html! {
        @if !status.trouble.is_empty() {
            section.trouble.worst[status.state == State::NotServing] aria-labelledby="trouble" {
                h2 #trouble { "What is wrong" }
                ul { @for one in &status.trouble { li { (one) } } }
            }
        }
    }
}
