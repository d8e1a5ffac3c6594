//! By which ports instances' own flows leave, and who finds none (R34).

use std::collections::BTreeMap;

use gateway_ebpf::reason::Reason;
use maud::{Markup, html};

use super::{
    document::{bar, cell, column},
    text::{Tone, counted, grouped},
};
use crate::status::{SnatDestination, SnatVip, Status};

/// Destinations of an instance.
const SHOWN: usize = 3;
/// Per cent of the ports to one destination at which a warning begins.
const SCARCE: f64 = 75.0;

pub(super) fn section(status: &Status) -> Markup {
    let instances = status.instances.iter();
    let told: Vec<_> = instances.filter_map(|one| Some((&one.name, one.snat.as_ref()?))).collect();
    html! {
        section aria-labelledby="snat" {
            h2 #snat { "SNAT" small { "by which ports instances' own flows leave" } }
            @if told.is_empty() {
                p.empty { "Not in use: instances' own flows leave with their own addresses." }
            } @else {
                table.snat role="table" {
                    thead role="rowgroup" {
                        tr role="row" {
                            (column("Instance")) (column("Ports in use")) (column("Found no port")) (column("Most flows to"))
                        }
                    }
                    tbody role="rowgroup" {
                        @for (name, snat) in told {
                            tr role="row" {
                                th role="rowheader" scope="row" { (name) }
                                (cell("Ports in use", &html! { @for vip in &snat.vips { (ports(vip)) } }))
                                (cell("Found no port", &without_port(&snat.failed)))
                                (cell("Most flows to", &destinations(&snat.top)))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A port carries a flow to each destination: what runs out is the ports to one of them.
fn ports(vip: &SnatVip) -> Markup {
    let percent = |ports: u32| f64::from(ports) * 100.0 / f64::from(vip.allocated.max(1));
    let is_scarce = percent(vip.busiest) >= SCARCE;
    html! {
        div.ports {
            span.mono { (vip.vip) }
            div.share {
                (bar(percent(vip.used), if is_scarce { Tone::Odd } else { Tone::Good }))
                span { (grouped(vip.used.into())) " of " (grouped(vip.allocated.into())) }
                @if is_scarce { span.word.odd { (grouped(vip.busiest.into())) " to one destination" } }
            }
        }
    }
}

fn without_port(failed: &BTreeMap<String, u64>) -> Markup {
    let failed: Vec<_> = failed.iter().filter(|(_, packets)| **packets > 0).collect();
    let meaning = |name: &str| Reason::ALL.iter().find(|one| one.name() == name).map(|one| one.meaning());
    html! {
        @if failed.is_empty() { span.quiet { "none" } }
        @for (reason, &packets) in failed {
            span.word.bad { (counted(packets, "packet")) }
            span.note { code { (reason) } @if let Some(meaning) = meaning(reason) { ": " (meaning) } }
        }
    }
}

fn destinations(top: &[SnatDestination]) -> Markup {
    html! {
        @if top.is_empty() { span.quiet { "nowhere" } }
        @else {
            ul.names {
                @for one in top.iter().take(SHOWN) {
                    li {
                        span.mono { (one.protocol) " " (one.destination) }
                        span { (counted(one.flows.into(), "flow")) }
                        @if one.failed > 0 { span.word.bad { (counted(one.failed, "packet")) " found no port" } }
                    }
                }
            }
        }
    }
}
