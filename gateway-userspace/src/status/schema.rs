//! The published schema, `docs/status.schema.json`.

use serde_json::Value;

use super::Status;
use crate::published;

/// A JSON Schema (draft-07) of [`Status`].
pub fn schema() -> Value {
    published::schema::<Status>("gateway status")
}
