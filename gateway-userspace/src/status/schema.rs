//! The published schema, `docs/status.schema.json`.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Status;

/// A JSON Schema (draft-07) of [`Status`].
pub fn schema() -> Value {
    let settings = SchemaSettings::draft07().for_serialize();
    let mut schema = settings.into_generator().into_root_schema_for::<Status>().to_value();
    schema["title"] = "gateway status".into();
    schema
}
