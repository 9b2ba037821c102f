//! The file that pins each service's image by ID: a Compose file, read over the product's own.
//!
//! It also holds the project's name, in an extension that Compose ignores: listing the containers then needs no call of
//! Compose.

use std::{fs, path::Path};

use bundle::Digest;
use serde_json::{Map, Value, json};

/// The extension that holds the project's name.
const PROJECT: &str = "x-project";

/// The text of the file: the image of each service, by ID.
pub(crate) fn text<'a>(project: &str, images: impl IntoIterator<Item = (&'a str, Digest)>) -> String {
    let services: Map<String, Value> = images
        .into_iter()
        .map(|(service, id)| (service.to_owned(), json!({ "image": id })))
        .collect();
    format!("{:#}\n", json!({ PROJECT: project, "services": services }))
}

/// The project's name in the file `pins`; none if the file is missing, or was written before names were.
pub(crate) fn project_of(pins: &Path) -> Option<String> {
    let json: Value = serde_json::from_slice(&fs::read(pins).ok()?).ok()?;
    json.get(PROJECT)?.as_str().map(str::to_owned)
}
