//! The frame of every page, and pieces that several use.

use maud::{DOCTYPE, Markup, html};

use super::text::Tone;
use crate::api::{page::door::Viewer, tokens::Role};

/// Where in the navigation a page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tab {
    Overview,
    Console,
}

/// A page of somebody who is in.
pub(super) fn shell(title: &str, service: &str, viewer: &Viewer, here: Tab, content: &Markup) -> Markup {
    let tabs = [(Tab::Overview, "/", "Overview"), (Tab::Console, "/console", "Test console")];
    let role = match (viewer.session.is_some(), viewer.role) {
        (true, Role::Write) => "may change",
        _ => "may look",
    };
    let bar = html! {
        a.skip href="#main" { "Skip to the content" }
        header.bar {
            a.brand href="/" { (logo()) (service) }
            nav aria-label="Pages" {
                @for (tab, path, name) in tabs {
                    a href=(path) aria-current=[(tab == here).then_some("page")] { (name) }
                }
            }
            div.who {
                span { (viewer.name) span.note { (role) } }
                @if let Some(csrf) = viewer.csrf() {
                    form method="post" action="/logout" {
                        input type="hidden" name="csrf" value=(csrf);
                        button.quiet { "Log out" }
                    }
                } @else {
                    a href="/login" { "Log in" }
                }
            }
        }
    };
    page(title, &bar, content)
}

fn page(title: &str, bar: &Markup, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · gateway" }
                link rel="icon" href="/page.svg" type="image/svg+xml";
                link rel="stylesheet" href="/page.css";
                script src="/page.js" defer {}
            }
            body {
                (bar)
                main #main tabindex="-1" { (content) }
            }
        }
    }
}

/// To get in, and why it did not work.
pub(in crate::api::page) fn login(has_tokens: bool, error: Option<&str>) -> Markup {
    let content = html! {
        div.login {
            h1 { (logo()) "gateway" }
            @if let Some(error) = error { p.notice.bad role="alert" #error { (error) } }
            @if has_tokens {
                form method="post" action="/login" {
                    // For what keeps passwords.
                    input type="text" name="user" value="gateway" autocomplete="username" hidden;
                    label for="token" { "Token" }
                    input #token name="token" type="password" autocomplete="current-password" required
                        autofocus aria-describedby=[error.map(|_| "error")];
                    button.main { "Log in" }
                    p.note { code { "gateway token NAME --role read|write" } " makes one, on the balancer's host." }
                }
            } @else {
                p { "Nobody can log in: the balancer has no tokens." }
                p.note {
                    "Name a file of them by " code { "balancer.tokens" } "; " code { "gateway token" } " makes them. \
                    The overview is at " a href="/" { "the first page" } ", on the balancer's host itself."
                }
            }
        }
    };
    page("Log in", &html! {}, &content)
}

/// One thing to say.
pub(in crate::api::page) fn message(text: &str) -> Markup {
    let content = html! {
        div.login {
            h1 { (logo()) "gateway" }
            p.notice.bad role="alert" { (text) }
            p { a href="/" { "To the overview" } }
        }
    };
    page("Not done", &html! {}, &content)
}

fn logo() -> Markup {
    html! { img src="/page.svg" alt="" width="22" height="22"; }
}

/// Roles are said, for a table that is laid out as cards on a narrow screen would be none to a screen reader.
pub(super) fn column(name: &str) -> Markup {
    html! { th role="columnheader" scope="col" { (name) } }
}

pub(super) fn cell(column: &str, content: &Markup) -> Markup {
    html! { td role="cell" data-label=(column) { (content) } }
}

/// Only where there is a script.
pub(super) fn copy(text: &str) -> Markup {
    copy_of(text, text)
}

/// The same of what is too long to be its own name.
pub(super) fn copy_of(text: &str, what: &str) -> Markup {
    html! { button.copy type="button" data-copy=(text) aria-label=(format!("Copy {what}")) { "Copy" } }
}

/// A share, beside its number.
pub(super) fn bar(percent: f64, tone: Tone) -> Markup {
    let width = format!("{:.1}", percent.clamp(0.0, 100.0));
    html! {
        svg.gauge.(tone.class()) viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
            rect.whole width="100" height="8" rx="2" {}
            rect.part width=(width) height="8" rx="2" {}
        }
    }
}
