//! What was published stays (R92). `GATEWAY_UPDATE_DOCS=1 cargo test -p gateway-userspace status` writes the schema anew, and
//! adds fields to the list; nothing takes one away but a hand, with another [`super::SCHEMA_VERSION`].

use std::{collections::BTreeSet, env, fs, path::PathBuf};

use serde_json::Value;

use super::{Status, schema, testing};
use crate::published;

fn is_updated() -> bool {
    env::var_os("GATEWAY_UPDATE_DOCS").is_some()
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn r92_the_schema_is_the_one_of_the_code() {
    published::is_up_to_date("status.schema.json", &format!("{:#}\n", schema()), "status");
}

#[test]
fn r92_no_field_goes_and_none_comes_unseen() {
    let file = path("src/status/fields.txt");
    let mut fields = BTreeSet::new();
    collect(&serde_json::to_value(testing::full()).unwrap(), "", &mut fields);
    let text = fs::read_to_string(&file).unwrap_or_default();
    let listed: BTreeSet<_> = text.lines().map(ToOwned::to_owned).collect();
    let gone: Vec<_> = listed.difference(&fields).collect();
    assert!(
        gone.is_empty(),
        "{gone:?} were published and are missing: keep them, and see that status/testing.rs has an example of each"
    );
    if is_updated() {
        let all: Vec<_> = listed.union(&fields).map(|field| format!("{field}\n")).collect();
        fs::write(&file, all.concat()).unwrap();
    } else {
        let new: Vec<_> = fields.difference(&listed).collect();
        assert!(
            new.is_empty(),
            "{new:?} are not listed: GATEWAY_UPDATE_DOCS=1 cargo test -p gateway-userspace status"
        );
    }
}

/// The path and type of every value: `vips[].address string`.
fn collect(value: &Value, path: &str, into: &mut BTreeSet<String>) {
    let kind = match value {
        Value::Object(fields) => {
            let dot = if path.is_empty() { "" } else { "." };
            fields.iter().for_each(|(name, value)| collect(value, &format!("{path}{dot}{name}"), into));
            return;
        }
        Value::Array(items) => {
            items.iter().for_each(|item| collect(item, &format!("{path}[]"), into));
            return;
        }
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
    };
    into.insert(format!("{path} {kind}"));
}

#[test]
fn r92_what_is_written_is_read() {
    for status in [testing::full(), testing::serving()] {
        let text = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
    }
}

#[test]
fn r92_a_reader_ignores_what_it_does_not_know() {
    let mut value = serde_json::to_value(testing::full()).unwrap();
    value["vips"][0]["colour"] = "blue".into();
    serde_json::from_value::<Status>(value).unwrap();
}
