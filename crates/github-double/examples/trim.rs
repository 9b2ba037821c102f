//! Cuts GitHub's OpenAPI description down to what the double answers.
//!
//! ```console
//! $ npm pack @octokit/openapi && tar xzf octokit-openapi-*.tgz
//! $ cargo run -p github-double --example trim -- package/generated/api.github.com.json > crates/github-double/openapi.json
//! ```
//!
//! Kept: the operations below and every component that they refer to, directly or not. Prose and examples go.

use std::{collections::BTreeSet, error::Error, fs};

use serde_json::{Map, Value, json};

const OPERATIONS: [(&str, &[&str]); 10] = [
    ("/repos/{owner}/{repo}", &["get"]),
    ("/repos/{owner}/{repo}/commits/{ref}", &["get"]),
    ("/repos/{owner}/{repo}/git/ref/{ref}", &["get"]),
    ("/repos/{owner}/{repo}/git/tags/{tag_sha}", &["get"]),
    ("/repos/{owner}/{repo}/releases", &["get", "post"]),
    ("/repos/{owner}/{repo}/releases/assets/{asset_id}", &["get", "delete"]),
    ("/repos/{owner}/{repo}/releases/latest", &["get"]),
    ("/repos/{owner}/{repo}/releases/tags/{tag}", &["get"]),
    (
        "/repos/{owner}/{repo}/releases/{release_id}",
        &["get", "patch", "delete"],
    ),
    ("/repos/{owner}/{repo}/releases/{release_id}/assets", &["get", "post"]),
];

/// The errors that any operation may give, listed or not.
const ERRORS: [&str; 2] = [
    "#/components/schemas/basic-error",
    "#/components/schemas/validation-error",
];

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: trim api.github.com.json")?;
    let full: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    let mut paths = Map::new();
    for (path, methods) in OPERATIONS {
        let mut operations = Map::new();
        for method in methods {
            let operation = full["paths"][path].get(method).ok_or(format!("no {method} {path}"))?;
            operations.insert((*method).to_owned(), operation.clone());
        }
        paths.insert(path.to_owned(), operations.into());
    }
    let mut trimmed = json!({ "openapi": full["openapi"], "info": full["info"], "paths": paths, "components": {} });
    strip(&mut trimmed["paths"]);

    let mut wanted: Vec<String> = ERRORS.map(str::to_owned).into();
    references(&trimmed["paths"], &mut wanted);
    let mut taken = BTreeSet::new();
    while let Some(reference) = wanted.pop() {
        if !taken.insert(reference.clone()) {
            continue;
        }
        let pointer = reference.trim_start_matches('#');
        let mut component = full.pointer(pointer).ok_or(format!("no {reference}"))?.clone();
        strip(&mut component);
        references(&component, &mut wanted);
        let mut parts = pointer.trim_start_matches("/components/").splitn(2, '/');
        if let (Some(kind), Some(name)) = (parts.next(), parts.next()) {
            trimmed["components"][kind][name] = component;
        }
    }
    serde_json::to_writer_pretty(std::io::stdout().lock(), &trimmed)?;
    Ok(())
}

/// Removes what is for people. A property that is called `description` is not prose: it is an object.
fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| {
                let prose =
                    matches!(key.as_str(), "description" | "summary" | "title" | "example") && !value.is_object();
                !prose && key != "examples" && key != "externalDocs" && !key.starts_with("x-")
            });
            map.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                found.push(reference.clone());
            }
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}
