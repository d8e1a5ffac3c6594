//! Documents that are made from the code and published in `docs/` (R92).

use schemars::{JsonSchema, generate::SchemaSettings};

/// A JSON Schema (draft-07) of what a command prints.
pub(crate) fn schema<T: JsonSchema>(command: &str) -> serde_json::Value {
    let settings = SchemaSettings::draft07().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    schema["title"] = command.into();
    schema
}

/// Compares `docs/NAME` with what it has to be; writes it where that is asked for. `test` finds the test that does so.
#[cfg(test)]
#[track_caller]
pub(crate) fn is_up_to_date(name: &str, expected: &str, test: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    if std::env::var_os("GATEWAY_UPDATE_DOCS").is_some() {
        std::fs::write(&file, expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        found == expected,
        "docs/{name} is out of date: GATEWAY_UPDATE_DOCS=1 cargo test -p gateway-userspace {test}"
    );
}
