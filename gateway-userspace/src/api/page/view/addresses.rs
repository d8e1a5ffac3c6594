//! Which addresses and names there are, and who sees which.

use std::time::SystemTime;

use maud::{Markup, html};

use super::{
    document::{cell, column, copy},
    text::{Tone, age, day, grouped},
};
use crate::{
    model::CERTIFICATE_ENDS_SOON,
    status::{Endpoint, Status, Time, Vip, VipKind},
};

/// Days beyond which nobody counts them.
const LONG: f64 = 1_000.0;

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
                                    (certificates(one, now))
                                }))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What the files here say; what instances say, where that is another end or the only one.
fn certificates(one: &Endpoint, now: SystemTime) -> Markup {
    let here = one.certificates.iter().filter_map(|certificate| certificate.expires).min();
    let shown = one.first_end.as_ref();
    html! {
        @for certificate in &one.certificates {
            @let file = certificate.file.rsplit('/').next().unwrap_or_default();
            @if let Some(expires) = certificate.expires {
                (validity(expires, file, now))
            } @else if shown.is_none() {
                p.certificate {
                    span.word.plain { "not known here" }
                    span.note { (file) ": " (certificate.reason.as_deref().unwrap_or_default()) }
                }
            }
        }
        @if let Some(shown) = shown.filter(|shown| here != Some(shown.expires)) {
            (validity(shown.expires, &format!("shown by {}", shown.instance), now))
        }
    }
}

/// Days left, as a word too.
fn validity(expires: Time, whose: &str, now: SystemTime) -> Markup {
    let days = expires.days_left(now);
    let (tone, word) = match days {
        ..0.0 => (Tone::Bad, "expired".to_owned()),
        ..LONG if days < CERTIFICATE_ENDS_SOON.into() => (Tone::Odd, format!("{days} days left")),
        ..LONG => (Tone::Good, format!("{days} days left")),
        _ => (Tone::Good, format!("{} years left", grouped((days / 365.25) as u64))),
    };
    html! { p.certificate { span.word.(tone.class()) { (word) } span.note { "until " (day(expires.seconds())) ", " (whose) } } }
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
