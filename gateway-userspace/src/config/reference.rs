//! The reference for people and editors, made from the tables that the code itself uses: the generated parts of
//! `docs/configuration.md`, and `docs/gateway.schema.json`.

use serde_json::{Map, Value, json};

use super::{
    code::{Code, Severity},
    keys::{self, Fallback, Key, Kind, Table},
};
use crate::model::Mode;

/// Every table of the file with its keys, as Markdown.
pub fn keys() -> String {
    let section = |table: &Table| {
        let rows: String = table.keys.iter().map(row).collect();
        format!(
            "### `{}`\n{}\n\n| key | takes | default | meaning | example |\n|---|---|---|---|---|\n{rows}",
            table.heading, table.meaning
        )
    };
    keys::TABLES.iter().map(section).collect::<Vec<_>>().join("\n")
}

fn row(key: &Key) -> String {
    let default = default(key);
    let (name, takes, meaning, example) = (key.name, takes(key.kind), key.meaning, key.example);
    format!("| `{name}` | {takes} | {default} | {meaning} | `{example}` |\n")
}

/// What holds where the key is not there.
pub(crate) fn default(key: &Key) -> String {
    match key.default {
        Fallback::Required => "required".to_owned(),
        Fallback::Written(value) => format!("`{value}`"),
        Fallback::Described(words) => words.to_owned(),
    }
}

/// What may stand there, in words.
pub(crate) fn takes(kind: Kind) -> String {
    match kind {
        Kind::Text(what) => format!("string: {what}"),
        Kind::Word(words) => words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", "),
        Kind::Switch => "`true` or `false`".to_owned(),
        Kind::Whole(least, most) => format!("whole number, {least} to {most}"),
        Kind::Duration(least, most) => {
            let [least, most] = [least, most]
                .map(|ms| humantime::format_duration(std::time::Duration::from_millis(ms)).to_string());
            format!("duration, {least} to {most}")
        }
        Kind::Texts(what) => format!("list of strings: {what} each"),
        Kind::Pairs(what) => format!("table of strings: {what} each"),
        Kind::Inner(_) => "table".to_owned(),
        Kind::OneOrMore(_) => "table, or list of tables".to_owned(),
        Kind::Inners(_) => "list of tables".to_owned(),
    }
}

/// Every code with its remedy, as Markdown.
pub fn codes() -> String {
    let row = |code: &Code| {
        let warning = if code.severity() == Severity::Warning { " (warning)" } else { "" };
        format!("| `{code}` | {}{warning} | {} |\n", code.title(), code.remedy())
    };
    let rows: String = Code::ALL.iter().map(row).collect();
    format!("| code | what | remedy |\n|---|---|---|\n{rows}")
}

/// A JSON Schema (draft-07) of the file, for editors.
pub fn schema() -> Value {
    let mut schema = table(&keys::ROOT);
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("gateway.toml");
    // R1: without VIPs nothing is said of them.
    let mode = json!({ "required": ["mode"], "properties": { "mode": { "const": Mode::None.as_str() } } });
    schema["if"] = json!({ "required": ["service"], "properties": { "service": mode } });
    schema["else"] = json!({ "required": ["network", "vip", "balancer"] });
    schema
}

fn table(table: &Table) -> Value {
    let properties: Map<_, _> = table.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<_> =
        table.keys.iter().filter(|k| k.default == Fallback::Required).map(|k| k.name).collect();
    json!({
        "type": "object",
        "description": table.meaning,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let inner = |name| keys::table(name).map_or(json!({}), table);
    let mut property = match key.kind {
        Kind::Text(_) => json!({ "type": "string" }),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Switch => json!({ "type": "boolean" }),
        Kind::Whole(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Duration(..) => json!({ "type": "string", "pattern": "[0-9] *[a-z]+ *$" }),
        Kind::Texts(_) => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Pairs(_) => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Inner(name) => inner(name),
        Kind::OneOrMore(name) => {
            json!({ "anyOf": [inner(name), { "type": "array", "items": inner(name), "minItems": 1 }] })
        }
        Kind::Inners(name) => json!({ "type": "array", "items": inner(name) }),
    };
    property["description"] = json!(key.meaning);
    if let Fallback::Written(value) = key.default {
        property["default"] = json_of(value);
    }
    if key.default == Fallback::Required && matches!(key.kind, Kind::Texts(_) | Kind::Inners(_)) {
        property["minItems"] = json!(1);
    }
    property
}

/// A value as written in TOML.
fn json_of(written: &str) -> Value {
    let parsed = format!("value = {written}").parse::<toml::Table>();
    parsed.ok().and_then(|table| serde_json::to_value(table.get("value")?).ok()).unwrap_or(Value::Null)
}
