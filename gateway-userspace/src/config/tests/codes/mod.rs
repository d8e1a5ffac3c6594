//! Each code, shown by a change to the example. In the new text `«` stands where the caret has to be.

mod endpoints;
mod network;
mod services;
mod upstreams;

use std::collections::BTreeSet;

use super::{EXAMPLE, NONE, check};
use crate::config::code::{Code, Severity};

/// Replaces `from`, which is in the example once, by `to`, and wants exactly one finding: `code` at `«`.
#[track_caller]
fn finds(code: Code, from: &str, to: &str) {
    finds_all(&[code], from, to);
}

/// As [`finds`] for several findings, each at its own `«`, in order.
#[track_caller]
fn finds_all(codes: &[Code], from: &str, to: &str) {
    assert_eq!(EXAMPLE.matches(from).count(), 1, "`{from}` has to be in the example once");
    finds_in(codes, &EXAMPLE.replacen(from, to, 1));
}

#[track_caller]
fn finds_in(codes: &[Code], marked: &str) {
    let expected: Vec<_> = codes.iter().copied().zip(marks(marked)).collect();
    assert_eq!(expected.len(), codes.len(), "a mark is missing");
    let text = marked.replace('«', "");

    let (model, report) = check(&text);
    let found: Vec<_> = report.all().map(|f| (f.code(), report.position(f).unwrap_or_default())).collect();
    assert_eq!(found, expected, "\n{}", report.render(&annotate_snippets::Renderer::plain()));
    let refused = codes.iter().any(|code| code.severity() == Severity::Fault);
    assert_eq!(model.is_none(), refused, "a file with faults has no model, one with warnings has");
}

/// Line and column of each `«`, as if none were there.
fn marks(text: &str) -> Vec<(usize, usize)> {
    let mut marks = Vec::new();
    for (line, content) in text.lines().enumerate() {
        let columns = content.chars().enumerate().filter(|(_, c)| *c == '«').map(|(column, _)| column);
        marks.extend(columns.enumerate().map(|(earlier, column)| (line + 1, column + 1 - earlier)));
    }
    marks
}
const NAME: &str = r#"name   = "contoso" "#;
const SUBNET: &str = r#"subnet = ["10.0.0.0/24", "fd00:0:0:1::/64"]"#;
const PRIVATE: &str = r#"private = ["10.0.0.5", "fd00:0:0:1::5"]"#;
const PUBLIC: &str = r#"public  = ["203.0.113.5"]"#;
const INTERFACE: &str = r#"interface  = "eth0""#;
const FORWARDING: &str = r#"forwarding = "l2""#;
const DRAIN: &str = r#"drain      = "1h""#;
const DIP_2: &str = r#"dip  = ["10.0.0.12", "fd00:0:0:1::12"]"#;
const WEIGHT: &str = "weight = 50 ";
const SCM_ROUTES: &str = r#"routes = [{ path = "/", upstream = ["http://10.0.1.24:8080"] }]"#;
const SCM_CERTIFICATE: &str = r#"certificate = { chain = "tls/scm.pem", key = "tls/scm.key" }"#;
const PROBE: &str = "port = 8080";
const PROXY: &str = "[proxy]";

#[test]
fn syntax() {
    finds(Code::Syntax, NAME, "name   = «contoso ");
    finds(Code::Syntax, DRAIN, "drain      = \"1h\"\n«drain      = \"2h\"");
    finds_all(&[Code::Syntax, Code::Syntax], DRAIN, "drain      = «1h\nseed = «two words");
}

#[test]
fn keys_and_types() {
    finds(Code::UnknownKey, NAME, "name = \"contoso\"\n«sufix = \"contoso.com\" ");
    finds(Code::UnknownKey, PROXY, "[«proxi]\n[proxy]");
    finds(
        Code::UnknownKey,
        SCM_ROUTES,
        r#"routes = [{ path = "/", upstream = ["http://10.0.1.24:8080"], «port = 1 }]"#,
    );
    finds(Code::WrongType, NAME, "name   = «5 ");
    finds(Code::WrongType, WEIGHT, "weight = «\"50\" ");
    finds(Code::WrongType, PRIVATE, r#"private = «"10.0.0.5""#);
    finds(Code::WrongType, PRIVATE, r#"private = ["10.0.0.5", «5]"#);
    finds(Code::WrongType, SCM_CERTIFICATE, "certificate = «5");
    finds(Code::WrongType, SCM_ROUTES, "routes = «\"http://10.0.1.24:8080\"");
    finds(Code::WrongType, SCM_ROUTES, "routes = [«5]");
    finds(Code::MissingKey, "[service]\nname   = \"contoso\"", "«[service]");
    finds(Code::UnknownWord, r#"mode   = "internal""#, "mode   = «\"inside\"");
}

#[test]
fn missing_keys_are_shown_at_their_table() {
    finds(Code::MissingKey, "[balancer]\ninterface  = \"eth0\"", "«[balancer]");
    finds(Code::MissingKey, SUBNET, "subnet = «[]");
    finds(Code::MissingKey, PRIVATE, "private = «[]");
    finds(Code::MissingKey, "[[instance]]\nname = \"gw-2\"", "«[[instance]]");
    finds(Code::MissingKey, DIP_2, "dip = «[]");
    finds(Code::MissingKey, "[[endpoint]]\nrole = \"scm\"", "«[[endpoint]]");
    finds(
        Code::MissingKey,
        "[[endpoint]]\nrole = \"scm\"\ncertificate = { chain = \"tls/scm.pem\", key = \"tls/scm.key\" }",
        "«[[endpoint]]\nrole = \"scm\"",
    );
    finds(Code::MissingKey, SCM_CERTIFICATE, "certificate = «{ chain = \"tls/scm.pem\" }");
    finds(Code::MissingKey, SCM_ROUTES, "routes = [«{ path = \"/\" }]");
    finds(Code::MissingKey, SCM_ROUTES, "routes = [{ path = \"/\", upstream = «[] }]");
}

#[test]
fn numbers_and_durations() {
    finds(Code::OutOfRange, WEIGHT, "weight = «0 ");
    finds(Code::OutOfRange, WEIGHT, "weight = «65536 ");
    finds(Code::OutOfRange, WEIGHT, "weight = «-1 ");
    finds(Code::OutOfRange, WEIGHT, "weight = «9223372036854775807 ");
    finds(Code::OutOfRange, PROBE, "port = «0");
    finds(Code::OutOfRange, DRAIN, "drain      = «\"31d\"");
    finds(Code::OutOfRange, PROXY, "[snat]\nports_per_instance = «1023\n[proxy]");
    finds(Code::BadDuration, DRAIN, "drain      = «\"5\"");
    finds(Code::BadDuration, DRAIN, "drain      = «5");
    finds(Code::BadDuration, DRAIN, "drain      = «\"soon\"");
}

#[test]
fn what_was_refused_is_not_blamed_again() {
    finds(Code::BadPrefix, SUBNET, r#"subnet = [«"10.0.0.0/33", "fd00:0:0:1::/64"]"#);
    finds(Code::BadAddress, DIP_2, r#"dip = [«"10.0.0.1222"]"#);
    finds(Code::UnknownWord, r#"role = "management""#, "role = «\"managment\"");
    let certificate = r#"certificate = { chain = "tls/management.pem", key = "tls/management.key" }"#;
    finds(Code::WrongType, certificate, "certificate = «5");
    let table = "[service]\nname   = \"contoso\" ";
    finds_in(
        &[Code::WrongType],
        &format!(
            "service = «5\n{}",
            EXAMPLE.replace(table, "#").replace("\nsuffix", "\n# suffix").replace("\nmode", "\n# mode")
        ),
    );
}

/// A new code comes with a test: this one fails until it is named in this folder's tests.
#[test]
fn every_code_has_a_test() {
    let tests = [
        include_str!("mod.rs"),
        include_str!("endpoints.rs"),
        include_str!("network.rs"),
        include_str!("services.rs"),
        include_str!("upstreams.rs"),
        include_str!("../rendering.rs"),
        include_str!("../certificates.rs"),
    ]
    .concat();
    let words: BTreeSet<_> = tests.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let untested: Vec<_> =
        Code::ALL.iter().filter(|code| !words.contains(format!("{code:?}").as_str())).collect();
    assert!(untested.is_empty(), "{untested:?}");
}
