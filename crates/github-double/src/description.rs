//! GitHub's OpenAPI description, trimmed by `examples/trim.rs`; every JSON call and answer is held against it.
//!
//! Two departures are GitHub's own: an asset's state can be `starter`, which the description does not list, and
//! errors come from every call, listed or not.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock, Mutex},
};

use jsonschema::Validator;
use serde_json::{Value, json};

use crate::{path::Path, shared::lock};

static DESCRIPTION: LazyLock<Description> = LazyLock::new(Description::load);

struct Description {
    document: Value,
    validators: Mutex<BTreeMap<String, Arc<Validator>>>,
}

/// A call and its answer.
pub(crate) struct Exchange<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a Path,
    /// The body; null where it is not JSON.
    pub(crate) request: &'a Value,
    pub(crate) status: u16,
    pub(crate) answer: Option<&'a Value>,
}

/// Everything in which an exchange is not as described.
pub(crate) fn violations(exchange: &Exchange<'_>) -> Vec<String> {
    let call = format!("{} /{}", exchange.method, exchange.path.segments.join("/"));
    let problems = match DESCRIPTION.operation(exchange) {
        Some(pointer) => DESCRIPTION.check(&pointer, exchange),
        None => vec!["is no call that the description has".to_owned()],
    };
    problems
        .into_iter()
        .map(|problem| format!("{call}: {problem}"))
        .collect()
}

impl Description {
    fn load() -> Self {
        let parsed = serde_json::from_str(include_str!("../openapi.json"));
        let mut document: Value = parsed.unwrap_or_else(|error| panic!("openapi.json: {error}"));
        if let Some(states) = document.pointer_mut("/components/schemas/release-asset/properties/state/enum") {
            *states = json!(["uploaded", "open", "starter"]);
        }
        to_json_schema(&mut document);
        Self {
            document,
            validators: Mutex::default(),
        }
    }

    /// The pointer to the operation that a path means: of those that fit, the one with the fewest parameters.
    fn operation(&self, exchange: &Exchange<'_>) -> Option<String> {
        let method = exchange.method.to_lowercase();
        let (_, rest) = exchange.path.repository()?;
        let paths = self.document["paths"].as_object()?;
        let fitting = paths.iter().filter(|(_, operations)| operations.get(&method).is_some());
        let (template, _) = fitting
            .filter(|(template, _)| fits(template, &rest))
            .min_by_key(|(template, _)| template.matches('{').count())?;
        Some(format!("/paths/{}/{method}", template.replace('/', "~1")))
    }

    fn check(&self, pointer: &str, exchange: &Exchange<'_>) -> Vec<String> {
        let operation = &self.document.pointer(pointer).cloned().unwrap_or_default();
        let mut problems = self.check_query(operation, exchange.path);
        let schema = format!("{pointer}/requestBody/content/application~1json/schema");
        if let Some(described) = self.document.pointer(&schema) {
            problems.extend(self.validate(&schema, exchange.request, "the request"));
            let known = &described["properties"];
            let keys = exchange
                .request
                .as_object()
                .into_iter()
                .flat_map(|request| request.keys());
            let unknown = keys.filter(|key| known.get(key.as_str()).is_none());
            problems.extend(unknown.map(|key| format!("the request has a key `{key}` that is not described")));
        }
        let status = exchange.status;
        let listed = operation["responses"].get(status.to_string());
        match (listed, exchange.answer) {
            (None, Some(answer)) if status >= 400 => problems.extend(self.check_error(answer)),
            (None, _) if status != 304 && status < 400 => {
                problems.push(format!("the answer {status} is not described"));
            }
            (Some(listed), Some(answer)) => {
                let response = match listed["$ref"].as_str() {
                    Some(reference) => reference.trim_start_matches('#').to_owned(),
                    None => format!("{pointer}/responses/{status}"),
                };
                let schema = format!("{response}/content/application~1json/schema");
                if self.document.pointer(&schema).is_some() {
                    problems.extend(self.validate(&schema, answer, "the answer"));
                } else if status >= 400 {
                    problems.extend(self.check_error(answer));
                }
            }
            _ => {}
        }
        problems
    }

    fn check_error(&self, answer: &Value) -> Vec<String> {
        let schemas = ["validation-error", "basic-error"].map(|name| format!("/components/schemas/{name}"));
        let [validation, basic] = schemas.map(|schema| self.validate(&schema, answer, "the error"));
        if validation.is_empty() { validation } else { basic }
    }

    fn check_query(&self, operation: &Value, path: &Path) -> Vec<String> {
        let listed = operation["parameters"].as_array().cloned().unwrap_or_default();
        let resolved = listed.iter().map(|parameter| match parameter["$ref"].as_str() {
            Some(reference) => self
                .document
                .pointer(reference.trim_start_matches('#'))
                .unwrap_or(parameter),
            None => parameter,
        });
        let described: BTreeMap<_, _> = resolved
            .filter(|parameter| parameter["in"] == "query")
            .filter_map(|parameter| Some((parameter["name"].as_str()?, parameter)))
            .collect();
        let mut problems = Vec::new();
        for (name, value) in &path.query {
            match described.get(name.as_str()) {
                None => problems.push(format!("the query has `{name}`, which is not described")),
                Some(parameter) if parameter["schema"]["type"] == "integer" && value.parse::<u64>().is_err() => {
                    problems.push(format!("the query's `{name}` is no number"));
                }
                Some(_) => {}
            }
        }
        let required = described.iter().filter(|(_, parameter)| parameter["required"] == true);
        let missing = required.filter(|(name, _)| !path.query.contains_key(**name));
        problems.extend(missing.map(|(name, _)| format!("the query has no `{name}`")));
        problems
    }

    fn validate(&self, schema: &str, value: &Value, what: &str) -> Vec<String> {
        let validator = match self.validator(schema) {
            Ok(validator) => validator,
            Err(error) => return vec![error],
        };
        let errors = validator.iter_errors(value);
        errors
            .map(|error| format!("{what} at `{}`: {error}", error.instance_path()))
            .collect()
    }

    fn validator(&self, schema: &str) -> Result<Arc<Validator>, String> {
        let mut validators = lock(&self.validators);
        if let Some(validator) = validators.get(schema) {
            return Ok(Arc::clone(validator));
        }
        // References go from the root, so what they lead to is put under it.
        let mut rooted = self.document.pointer(schema).cloned().unwrap_or_default();
        rooted["components"] = self.document["components"].clone();
        let built = jsonschema::options().should_validate_formats(true).build(&rooted);
        let validator = Arc::new(built.map_err(|error| format!("{schema} is no JSON schema: {error}"))?);
        validators.insert(schema.to_owned(), Arc::clone(&validator));
        Ok(validator)
    }
}

/// Whether a template, `/repos/{owner}/{repo}/…`, is for what follows a repository. `{ref}` and `{tag}` hold slashes.
fn fits(template: &str, rest: &[&str]) -> bool {
    let template: Vec<_> = template.trim_start_matches('/').split('/').skip(3).collect();
    let open = template.last().is_some_and(|last| matches!(*last, "{ref}" | "{tag}"));
    let lengths = if open {
        rest.len() >= template.len()
    } else {
        rest.len() == template.len()
    };
    lengths
        && template.iter().zip(rest).all(|(expected, found)| match *expected {
            "{release_id}" | "{asset_id}" => found.parse::<u64>().is_ok(),
            expected => expected.starts_with('{') || expected == *found,
        })
}

/// OpenAPI 3.0 says `nullable` where JSON Schema lists the type `null`.
fn to_json_schema(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(to_json_schema),
        Value::Object(map) => {
            map.values_mut().for_each(to_json_schema);
            if map.get("nullable") == Some(&Value::Bool(true)) {
                map.remove("nullable");
                let inner = value.take();
                *value = json!({ "anyOf": [inner, { "type": "null" }] });
            }
        }
        _ => {}
    }
}
