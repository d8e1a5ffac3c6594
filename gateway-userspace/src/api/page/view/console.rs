//! The test console: what is to be called, and what became of it.

use std::{net::SocketAddr, time::Duration};

use maud::{Markup, html};

use super::{
    document::{Tab, copy_of, shell},
    text::Tone,
};
use crate::{
    api::{
        call::Who,
        page::{
            console::{Answer, Course, Form, METHODS, Outcome, Step, names, places},
            door::Viewer,
        },
    },
    shell::quoted,
    status::Status,
};

/// Of a client that nobody has seen yet.
const CLIENT_PORT: u16 = 40_000;

pub(in crate::api::page) fn console(
    status: &Status,
    viewer: &Viewer,
    form: &Form,
    faults: &[String],
    course: Option<&Course>,
) -> Markup {
    let content = html! {
        div.hero {
            h1 { "Test console" }
            p { "A call from the balancer's host to a VIP, as a client makes it. No DNS is needed, and no redirect is followed." }
        }
        @if !faults.is_empty() {
            div.notice.bad role="alert" #faults { ul { @for fault in faults { li { (fault) } } } }
        }
        @if let Some(course) = course { (outcome(course, form)) }
        @if course.is_some() || !faults.is_empty() { (explained(form, &viewer.who)) }
        @match viewer.csrf().filter(|_| viewer.may_change()) {
            Some(csrf) => (fields(status, form, csrf)),
            None => p.empty { "A call reaches the services behind the VIP; it takes a token with role " code { "write" } "." },
        }
    };
    shell("Test console", &status.service, viewer, Tab::Console, &content)
}

fn fields(status: &Status, form: &Form, csrf: &str) -> Markup {
    html! {
        section aria-labelledby="call" {
            h2 #call { "Call" }
            form.console method="post" action="/console" {
                input type="hidden" name="csrf" value=(csrf);
                label for="name" { "Name" }
                select #name name="name" {
                    @for (role, names) in names(status) {
                        optgroup label=(role) {
                            @for name in names { option value=(name) selected[name == form.name] { (name) } }
                        }
                    }
                }
                label for="at" { "At" }
                select #at name="at" {
                    @for place in places(status).iter().map(ToString::to_string) {
                        option value=(place) selected[place == form.at] { (place) }
                    }
                }
                label for="instance" { "Instance" }
                select #instance name="instance" {
                    option value="" { "as a new flow would get it" }
                    @for one in &status.instances { option value=(one.name) selected[one.name == form.instance] { (one.name) } }
                }
                label for="method" { "Method" }
                select #method name="method" {
                    @for method in METHODS { option selected[method == form.method] { (method) } }
                }
                label for="path" { "Path" }
                input.mono #path name="path" value=(form.path) required spellcheck="false" autocomplete="off";
                label for="headers" { "Headers" }
                textarea #headers name="headers" rows="3" spellcheck="false" placeholder="Accept: application/json" { (form.headers) }
                label for="body" { "Body" }
                textarea #body name="body" rows="3" spellcheck="false" { (form.body) }
                div.send { button.main { "Send" } }
            }
        }
    }
}

fn outcome(course: &Course, form: &Form) -> Markup {
    let repeat = repeat(form);
    html! {
        section aria-labelledby="steps" {
            h2 #steps { "What happened" }
            ol.steps { @for step in &course.steps { (one(step)) } }
        }
        @if let Some(answer) = &course.answer { (shown(answer)) }
        section aria-labelledby="again" {
            h2 #again { "The same from another host" }
            pre.command tabindex="0" aria-label="curl" { (repeat) }
            p { (copy_of(&repeat, "the command")) }
        }
    }
}

/// By which command the balancer tells, step by step, what becomes of such a call of a client's.
fn explained(form: &Form, who: &Who) -> Markup {
    let command = explain(form, who);
    html! {
        @if let Some(command) = command {
            section aria-labelledby="why" {
                h2 #why { "Why" small { "on the balancer's host; decided by its tables and the file, and nothing is sent" } }
                pre.command tabindex="0" aria-label="gateway explain" { (command) }
                p { (copy_of(&command, "the command that explains it")) }
            }
        }
    }
}

fn one(step: &Step) -> Markup {
    let (tone, word) = match step.outcome {
        Outcome::Done => (Tone::Good, "done"),
        Outcome::Odd => (Tone::Odd, "note"),
        Outcome::Failed => (Tone::Bad, "failed"),
    };
    html! {
        li {
            span.step { (step.name) }
            span.word.(tone.class()) { (word) }
            span.time { @if let Some(took) = step.took { (milliseconds(took)) } }
            div.lines { @for line in &step.lines { p { (line) } } }
        }
    }
}

fn shown(answer: &Answer) -> Markup {
    html! {
        section aria-labelledby="answer" {
            h2 #answer { "Answer " span.word.plain { (answer.status) } }
            pre tabindex="0" aria-label="Headers" { (answer.head) }
            @if answer.size > 0 {
                pre tabindex="0" aria-label="Body" { (answer.body) }
                @if answer.is_cut { p.note { "This is not all of it." } }
            } @else {
                p.empty { "No body." }
            }
        }
    }
}

fn milliseconds(took: Duration) -> String {
    format!("{:.1} ms", took.as_secs_f64() * 1e3)
}

/// For a host that clients are on.
fn repeat(form: &Form) -> String {
    let Form { name, at, method, path, .. } = form;
    let (vip, port) = at.rsplit_once(':').unwrap_or((at, "443"));
    let scheme = if port == "80" { "http" } else { "https" };
    let mut line = format!("curl -i --resolve {} -X {method}", quoted(&format!("{name}:{port}:{vip}")));
    for field in form.headers.lines().map(str::trim).filter(|field| !field.is_empty()) {
        line += &format!(" -H {}", quoted(field));
    }
    if !form.body.is_empty() {
        line += &format!(" --data-raw {}", quoted(&form.body));
    }
    line + " " + &quoted(&format!("{scheme}://{name}:{port}{path}"))
}

/// The client is whoever looks at this page, or else a word to be replaced. None: there is no such place to explain.
fn explain(form: &Form, who: &Who) -> Option<String> {
    let to: SocketAddr = form.at.parse().ok()?;
    let seen = match who {
        Who::Token { from, .. } => Some(from.ip().to_canonical()),
        _ => None,
    };
    let client = seen.filter(|ip| ip.is_ipv4() == to.is_ipv4() && !ip.is_loopback());
    let client = client
        .map_or_else(|| format!("CLIENT:{CLIENT_PORT}"), |ip| SocketAddr::new(ip, CLIENT_PORT).to_string());
    let words =
        [("from", client), ("to", to.to_string()), ("host", form.name.clone()), ("path", form.path.clone())];
    let options = words.map(|(name, value)| format!(" --{name} {}", quoted(&value)));
    Some(format!("gateway explain{}", options.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r63_the_client_of_an_explanation_is_whoever_looks_if_it_may_be_one() {
        let form = Form {
            name: "contoso.azure-api.net".into(),
            at: "10.0.0.5:443".into(),
            path: "/it's?b=$(c)".into(),
            ..Form::default()
        };
        let from = |address: &str| Who::Token { name: "deploy".into(), from: address.parse().unwrap() };
        let rest = r"--to 10.0.0.5:443 --host contoso.azure-api.net --path '/it'\''s?b=$(c)'";
        for (who, client) in [
            (from("10.0.0.99:51000"), "10.0.0.99:40000"),
            (from("[::ffff:10.0.0.99]:51000"), "10.0.0.99:40000"),
            (from("[fd00::99]:51000"), "CLIENT:40000"),
            (from("127.0.0.1:51000"), "CLIENT:40000"),
            (Who::Local { uid: 0, pid: None }, "CLIENT:40000"),
        ] {
            assert_eq!(explain(&form, &who).unwrap(), format!("gateway explain --from {client} {rest}"));
        }
        assert_eq!(explain(&Form { at: "nowhere".into(), ..form }, &from("10.0.0.99:51000")), None);
    }

    #[test]
    fn r61_a_call_can_be_repeated_elsewhere_and_a_shell_sees_words() {
        let form = Form {
            name: "contoso.azure-api.net".into(),
            at: "[fd00:0:0:1::5]:443".into(),
            method: "POST".into(),
            path: "/a?b=$(c)".into(),
            headers: "X-A: it's\r\n\r\n".into(),
            body: "{\"a\": 1}".into(),
            ..Form::default()
        };
        assert_eq!(
            repeat(&form),
            "curl -i --resolve 'contoso.azure-api.net:443:[fd00:0:0:1::5]' -X POST -H 'X-A: it'\\''s' --data-raw '{\"a\": 1}' \
             'https://contoso.azure-api.net:443/a?b=$(c)'"
        );
    }
}
