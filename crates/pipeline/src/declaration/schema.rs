//! The JSON Schema of the declaration, made from its types.

use super::raw::Release;

/// The schema's text, as it is checked in under `docs/`.
pub fn text() -> String {
    let schema = schemars::schema_for!(Release);
    // A schema always has a JSON form.
    serde_json::to_string_pretty(&schema).unwrap_or_default() + "\n"
}
