//! The documents that are made from the code's own tables. `GATEWAY_UPDATE_DOCS=1 cargo test -p gateway-userspace
//! documents` writes them anew.

use std::{fs, path::PathBuf};

use crate::{
    config::{effective_schema, findings_schema, keys, reference},
    published,
};

fn document(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

#[track_caller]
fn is_up_to_date(name: &str, expected: &str) {
    published::is_up_to_date(name, expected, "documents");
}

/// The text with what stands between the two marks of that name replaced.
fn with_part(text: &str, name: &str, part: &str) -> String {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let (before, rest) = text.split_once(&begin).unwrap();
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}{begin}{part}{end}{after}")
}

#[test]
fn configuration_md_has_every_key_and_code() {
    let text = fs::read_to_string(document("configuration.md")).unwrap();
    let text = with_part(&text, "keys", &reference::keys());
    is_up_to_date("configuration.md", &with_part(&text, "codes", &reference::codes()));
}

#[test]
fn the_schema_is_the_one_of_the_code() {
    is_up_to_date("gateway.schema.json", &format!("{:#}\n", reference::schema()));
}

#[test]
fn r92_schemas_of_what_is_said_of_a_file_are_those_of_the_code() {
    is_up_to_date("check.schema.json", &format!("{:#}\n", findings_schema()));
    is_up_to_date("config-show.schema.json", &format!("{:#}\n", effective_schema()));
}

#[test]
fn defaults_are_those_that_hold() {
    let written = |table: &str, key: &str| {
        let schema = reference::schema();
        schema["properties"][table]["properties"][key]["default"].clone()
    };
    let text = include_str!("minimal.toml");
    let (model, report) = super::check(text);
    let model = model.unwrap_or_else(|| panic!("{}", report.render(&annotate_snippets::Renderer::plain())));
    assert_eq!(written("service", "suffix"), model.service.suffix.as_str());
    assert_eq!(written("balancer", "drain"), humantime::format_duration(model.balancer.drain).to_string());
    assert_eq!(written("balancer", "admin"), model.balancer.admin.to_string());
    assert_eq!(written("probe", "port"), model.probe.port);
    assert_eq!(written("probe", "path"), model.probe.path.as_str());
    assert_eq!(written("probe", "interval"), humantime::format_duration(model.probe.interval).to_string());
    assert_eq!(written("probe", "timeout"), humantime::format_duration(model.probe.timeout).to_string());
    assert_eq!(written("probe", "rise"), model.probe.rise);
    assert_eq!(written("probe", "fall"), model.probe.fall);
    assert_eq!(written("probe", "vip_port"), model.probe.vip_port);
    assert_eq!(written("probe", "status"), model.probe.status.to_string());
    assert_eq!(written("probe", "verify"), model.probe.verify);
    assert_eq!(written("probe", "panic"), model.probe.panic);
    assert_eq!(
        written("probe", "slow_start"),
        humantime::format_duration(model.probe.slow_start).to_string()
    );
    assert_eq!(written("proxy", "http"), model.proxy.http.as_str());
    let limit = |key: &str| {
        reference::schema()["properties"]["proxy"]["properties"]["limits"]["properties"][key]["default"]
            .clone()
    };
    let limits = model.proxy.limits;
    assert_eq!(
        (limit("head_bytes"), limit("target_bytes")),
        (limits.head_bytes.into(), limits.target_bytes.into())
    );
    for (key, duration) in [
        ("queue_wait", limits.queue_wait),
        ("handshake", limits.handshake),
        ("first_byte", limits.first_byte),
        ("head", limits.head),
        ("idle", limits.idle),
        ("request_body", limits.request_body),
        ("response", limits.response),
        ("upstream_connect", limits.upstream_connect),
        ("upstream_answer", limits.upstream_answer),
        ("upstream_body", limits.upstream_body),
        ("upstream_idle", limits.upstream_idle),
    ] {
        assert_eq!(limit(key), humantime::format_duration(duration).to_string(), "{key}");
    }
}

#[test]
fn examples_in_the_documents_pass() {
    let text = fs::read_to_string(document("configuration.md")).unwrap();
    let blocks: Vec<_> =
        text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(!blocks.is_empty());
    let files = fs::read_dir(document("examples")).unwrap();
    let files: Vec<_> = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    for text in blocks.into_iter().chain(files.iter().map(String::as_str)) {
        let (_, report) = super::check(text);
        assert_eq!(report.all().count(), 0, "{}", report.render(&annotate_snippets::Renderer::plain()));
    }
}

#[test]
fn examples_of_keys_are_toml() {
    for key in keys::TABLES.iter().flat_map(|table| table.keys) {
        let parsed = format!("{} = {}", key.name, key.example).parse::<toml::Table>();
        assert!(parsed.is_ok(), "{parsed:?}");
    }
}
