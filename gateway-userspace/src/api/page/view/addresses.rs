//! Which addresses and names there are, and who sees which.

use std::time::SystemTime;

use maud::{Markup, html};

use super::{
    document::{cell, column, copy},
    text::{Tone, age, day, grouped},
};
use crate::{
    model::CERTIFICATE_ENDS_SOON,
    status::{Certificate, SnatVip, Status, Time, Vip, VipKind},
};

/// Days beyond which nobody counts them.
const LONG: f64 = 1_000.0;
const DAY: f64 = 86_400.0;

pub(super) fn vips(status: &Status) -> Markup {
    html! {
        section aria-labelledby="vips" {
            h2 #vips { "Virtual addresses" }
            div.cards.two { @for vip in &status.vips { (one(vip)) } }
        }
    }
}

/// R9: an address only once clients reach the service on it.
fn one(vip: &Vip) -> Markup {
    let udp = vip.udp_ports.iter().map(|port| format!("{port}/udp"));
    let ports: Vec<_> = vip.ports.iter().map(ToString::to_string).chain(udp).collect();
    let kind = if vip.kind == VipKind::Private { "Private VIP" } else { "Public VIP" };
    let address = vip.address.to_string();
    html! {
        div.card.vip {
            h3 { (kind) @if vip.ready { span.word.good { "ready" } } @else { span.word.bad { "not ready" } } }
            @if vip.ready {
                p.address { span.mono { (address) } (copy(&address)) }
            } @else {
                p.reason { (vip.reason.as_deref().unwrap_or("not claimed yet")) }
            }
            p.note { "port " (ports.join(", ")) " · on " (vip.interface) }
        }
    }
}

pub(super) fn roles(status: &Status, now: SystemTime) -> Markup {
    html! {
        section aria-labelledby="roles" {
            h2 #roles { "Names" small { "what clients ask for, by role" } }
            @if status.endpoints.is_empty() {
                p.empty { "The file has no endpoints." }
            } @else {
                table role="table" {
                    thead role="rowgroup" {
                        tr role="row" { (column("Role")) (column("Names")) (column("Certificate")) }
                    }
                    tbody role="rowgroup" {
                        @for one in &status.endpoints {
                            tr role="row" {
                                th role="rowheader" scope="row" { (one.role) }
                                (cell("Names", &html! {
                                    ul.names { @for host in &one.hosts { li { span.mono { (host) } (copy(host)) } } }
                                }))
                                (cell("Certificate", &html! {
                                    @for certificate in &one.certificates { (validity(certificate, now)) }
                                }))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Days left, as a word too.
fn validity(certificate: &Certificate, now: SystemTime) -> Markup {
    let file = certificate.file.rsplit('/').next().unwrap_or_default();
    let Some(expires) = certificate.expires else {
        let reason = certificate.reason.as_deref().unwrap_or_default();
        return html! { p.certificate { span.word.plain { "not known here" } span.note { (file) ": " (reason) } } };
    };
    let days = ((expires.seconds() - Time::from(now).seconds()) / DAY).floor();
    let (tone, word) = match days {
        ..0.0 => (Tone::Bad, "expired".to_owned()),
        ..LONG if days < CERTIFICATE_ENDS_SOON.into() => (Tone::Odd, format!("{days} days left")),
        ..LONG => (Tone::Good, format!("{days} days left")),
        _ => (Tone::Good, format!("{} years left", grouped((days / 365.25) as u64))),
    };
    html! { p.certificate { span.word.(tone.class()) { (word) } span.note { "until " (day(expires.seconds())) ", " (file) } } }
}

/// The use of SNAT ports.
pub(super) fn outbound(status: &Status) -> Markup {
    let has_snat = status.instances.iter().any(|one| one.snat.is_some());
    html! {
        section aria-labelledby="snat" {
            h2 #snat { "SNAT" small { "by which ports instances' own flows leave" } }
            @if has_snat {
                table role="table" {
                    thead role="rowgroup" {
                        tr role="row" {
                            (column("Instance")) (column("Public VIP")) (column("Ports used")) (column("Failed"))
                            (column("Most flows to"))
                        }
                    }
                    tbody role="rowgroup" {
                        @for instance in &status.instances {
                            @if let Some(snat) = &instance.snat {
                                @for vip in &snat.vips {
                                    @let failed = snat.failed.values().sum::<u64>();
                                    tr role="row" {
                                        th role="rowheader" scope="row" { (instance.name) }
                                        (cell("Public VIP", &html! { span.mono { (vip.vip) } }))
                                        (cell("Ports used", &usage(vip)))
                                        (cell("Failed", &html! {
                                            @if failed == 0 { span.quiet { "none" } }
                                            @else { span.word.bad { (grouped(failed)) " failed" } }
                                        }))
                                        (cell("Most flows to", &html! {
                                            @if let Some(top) = snat.top.first() {
                                                span.mono { (top.protocol) " " (top.destination) } ", " (grouped(top.flows.into()))
                                            } @else { span.quiet { "nowhere" } }
                                        }))
                                    }
                                }
                            }
                        }
                    }
                }
            } @else {
                p.empty { "Not in use: instances' own flows leave with their own addresses." }
            }
        }
    }
}

/// R34: 75 per cent is where a warning begins.
fn usage(vip: &SnatVip) -> Markup {
    let percent =
        if vip.allocated == 0 { 0.0 } else { f64::from(vip.busiest) * 100.0 / f64::from(vip.allocated) };
    let tone = if percent >= 75.0 { Tone::Odd } else { Tone::Good };
    html! {
        div.share {
            (super::document::bar(percent, tone))
            span { (grouped(vip.used.into())) " of " (grouped(vip.allocated.into())) }
            @if tone == Tone::Odd { span.word.odd { "nearly used up" } }
        }
    }
}

pub(super) fn table(status: &Status) -> Markup {
    html! {
        section aria-labelledby="sources" {
            h2 #sources { "Who sees which source address" }
            table.light role="table" {
                thead role="rowgroup" {
                    tr role="row" { (column("Connection")) (column("Seen by")) (column("Source address")) }
                }
                tbody role="rowgroup" {
                    @for row in &status.address_table {
                        tr role="row" {
                            th role="rowheader" scope="row" { (row.connection) }
                            (cell("Seen by", &html! { (row.observer) }))
                            (cell("Source address", &html! { (row.source) }))
                        }
                    }
                }
            }
        }
    }
}

/// For times in a sentence.
pub(super) fn ago(time: Time, now: SystemTime) -> String {
    format!("{} ago", age(time.age(now)))
}
