//! Why packets were dropped.

use maud::{Markup, html};

use super::{
    document::{cell, column},
    plot::plot,
    text::{grouped, scaled},
};
use crate::{api::page::history::Rates, dataplane::Dropped, status::Status};

/// Reasons that are shown at once; the rest is a click away.
const SHOWN: usize = 6;

pub(super) fn section(status: &Status, rates: &Rates) -> Markup {
    let mut drops: Vec<&Dropped> = status.counters.iter().flat_map(|counters| &counters.drops).collect();
    let now = |one: &Dropped| rates.reasons.get(&*one.reason).and_then(|rates| rates.last()).copied();
    let total = |one: &Dropped| std::cmp::Reverse((now(one).unwrap_or(0.0) > 0.0, one.packets));
    drops.sort_by_key(|one| total(one));
    let (first, rest) = drops.split_at(drops.len().min(SHOWN));
    html! {
        section aria-labelledby="drops" {
            h2 #drops { "Dropped, by reason" small { "since the program was loaded" } }
            @if drops.is_empty() {
                p.empty { "Nothing was dropped." }
            } @else {
                (table(first, rates))
                @if !rest.is_empty() {
                    details #more-drops { summary { (rest.len()) " more" } (table(rest, rates)) }
                }
            }
        }
    }
}

fn table(drops: &[&Dropped], rates: &Rates) -> Markup {
    html! {
        table role="table" {
            thead role="rowgroup" {
                tr role="row" {
                    (column("Reason")) (column("At")) (column("Packets")) (column("Last five minutes")) (column("Whose doing, and what to do"))
                }
            }
            tbody role="rowgroup" {
                @for one in drops {
                    tr role="row" {
                        th role="rowheader" scope="row" { code { (one.reason) } span.note { (one.meaning) } }
                        (cell("At", &html! { span.mono { (one.name) } }))
                        (cell("Packets", &html! { span.number { (grouped(one.packets)) } }))
                        (cell("Last five minutes", &rate(one, rates)))
                        (cell("Whose doing, and what to do", &html! { (one.remedy) }))
                    }
                }
            }
        }
    }
}

/// Of the reason, wherever it occurred.
fn rate(one: &Dropped, rates: &Rates) -> Markup {
    html! {
        @if let Some(rates) = rates.reasons.get(&*one.reason) {
            div.small.dropped {
                (plot(&one.reason, rates))
                span { (scaled(rates.last().copied().unwrap_or(0.0))) "/s" }
            }
        } @else {
            span.quiet { "none" }
        }
    }
}
