//! What comes, and what of it is dropped.

use maud::{Markup, html};

use super::{plot::plot, text::scaled};
use crate::api::page::history::Rates;

pub(super) fn section(rates: &Rates) -> Markup {
    let figures = [
        ("Packets", "packets/s", &rates.packets, "traffic"),
        ("Traffic", "bit/s", &rates.bits, "traffic"),
        ("New connections", "SYNs/s", &rates.syns, "traffic"),
        ("Dropped", "packets/s", &rates.drops, "dropped"),
    ];
    html! {
        section aria-labelledby="traffic" {
            h2 #traffic { "Traffic" small { "to the VIPs, last five minutes" } }
            div.cards.four {
                @for (what, unit, rates, class) in figures {
                    div.card.(class) {
                        h3 {
                            (what)
                            @if let Some(most) = rates.iter().copied().reduce(f64::max) { span.most { "most " (scaled(most)) } }
                        }
                        p.figure {
                            (rates.last().map_or_else(|| "–".to_owned(), |now| scaled(*now))) " "
                            span.unit { (unit) }
                        }
                        (plot(what, rates))
                    }
                }
            }
        }
    }
}
