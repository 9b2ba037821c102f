//! The images that a compose file names.
//!
//! The file is read as YAML, and variables in `image:` are replaced as Compose does. What cannot be
//! known from the one file that the device gets is refused: `include`, `extends` from another file, and
//! `build` without an image. Source: Compose specification, "services", "interpolation".

use std::collections::BTreeMap;

use serde_yaml_ng::Value;

/// An image that a service runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceImage {
    /// The service.
    pub service: String,
    /// The image as Compose will ask the engine for it, variables replaced.
    pub image: String,
}

/// Reads the services' images from the text of a compose file.
pub(crate) fn images(text: &str, variables: &BTreeMap<String, String>) -> Result<Vec<ServiceImage>, String> {
    let mut file: Value = serde_yaml_ng::from_str(text).map_err(|error| format!("is not YAML: {error}"))?;
    file.apply_merge()
        .map_err(|error| format!("has a merge key that cannot be applied: {error}"))?;
    if file.get("include").is_some() {
        return Err("uses `include`, but the device gets this one file only".to_owned());
    }
    let services = file
        .get("services")
        .and_then(Value::as_mapping)
        .ok_or("has no `services`, so it is not a compose file")?;
    let mut images = Vec::new();
    for (name, service) in services {
        let name = name.as_str().ok_or("has a service whose name is not a string")?;
        if service
            .get("extends")
            .is_some_and(|extends| extends.get("file").is_some())
        {
            return Err(format!(
                "service `{name}` extends another file, but the device gets this one only"
            ));
        }
        let image = service
            .get("image")
            .and_then(Value::as_str)
            .ok_or_else(|| format!("service `{name}` has no `image`: the device builds nothing"))?;
        let image = interpolate(image, variables).map_err(|error| format!("service `{name}`: {error}"))?;
        images.push(ServiceImage {
            service: name.to_owned(),
            image,
        });
    }
    Ok(images)
}

/// Replaces `$NAME`, `${NAME}`, `${NAME:-default}`, `${NAME-default}`, `${NAME:?message}`,
/// `${NAME?message}`, `${NAME:+other}`, `${NAME+other}`, and `$$` by `$`.
fn interpolate(text: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(inside) = rest.strip_prefix('{') {
            let end = inside
                .find('}')
                .ok_or_else(|| format!("`{text}` has a `${{` without its `}}`"))?;
            out.push_str(&braced(&inside[..end], variables)?);
            rest = &inside[end + 1..];
        } else {
            let end = name_end(rest);
            out.push_str(&value(&rest[..end], variables)?);
            rest = &rest[end..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn braced(inside: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    let (name, operation) = inside.split_at(name_end(inside));
    let set = variables.get(name);
    let filled = set.filter(|value| !value.is_empty());
    // A colon makes an empty value count as none.
    let (found, operation) = match operation.strip_prefix(':') {
        Some(operation) => (filled, operation),
        None => (set, operation),
    };
    match (operation.chars().next(), operation.get(1..).unwrap_or_default()) {
        (None | Some('?'), _) => value(name, variables),
        (Some('-'), default) => Ok(found.cloned().unwrap_or_else(|| default.to_owned())),
        (Some('+'), other) => Ok(found.map(|_| other.to_owned()).unwrap_or_default()),
        _ => Err(format!("`${{{inside}}}` is not a variable")),
    }
}

fn value(name: &str, variables: &BTreeMap<String, String>) -> Result<String, String> {
    variables
        .get(name)
        .cloned()
        .ok_or_else(|| format!("image uses the variable `{name}`, whose value on the device is not known here"))
}

fn name_end(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(image: &str, expected: Result<&str, &str>) {
        let variables = BTreeMap::from([
            ("V".to_owned(), "2.1.0".to_owned()),
            ("EMPTY".to_owned(), String::new()),
        ]);
        let actual = interpolate(image, &variables);
        match expected {
            Ok(expected) => assert_eq!(actual.as_deref(), Ok(expected), "{image}"),
            Err(part) => assert!(actual.clone().unwrap_err().contains(part), "{image}: {actual:?}"),
        }
    }

    #[test]
    fn variables_are_replaced_as_compose_does() {
        check("a:${V}", Ok("a:2.1.0"));
        check("a:$V-x", Ok("a:2.1.0-x"));
        check("a:${V:?set the version}", Ok("a:2.1.0"));
        check("a:${NONE:-1}", Ok("a:1"));
        check("a:${EMPTY:-1}", Ok("a:1"));
        check("a:${EMPTY-1}", Ok("a:"));
        check("a:${V:+other}", Ok("a:other"));
        check("a$$b", Ok("a$b"));
        check("a:${NONE}", Err("`NONE`"));
        check("a:${V", Err("without its"));
        check("a:${V/x}", Err("not a variable"));
    }

    #[test]
    fn merged_and_plain_services_are_found() {
        let text = "x-base: &base\n  image: a:1\nservices:\n  one:\n    <<: *base\n  two:\n    image: b:2\n";
        let images = images(text, &BTreeMap::new()).unwrap();
        assert_eq!(
            images
                .iter()
                .map(|i| format!("{}={}", i.service, i.image))
                .collect::<Vec<_>>(),
            ["one=a:1", "two=b:2"]
        );
    }

    #[test]
    fn what_one_file_cannot_tell_is_refused() {
        for (text, part) in [
            ("include: [x.yml]\nservices: {}", "include"),
            ("services:\n  a:\n    build: .", "has no `image`"),
            (
                "services:\n  a:\n    image: x:1\n    extends: {file: y.yml, service: b}",
                "extends another file",
            ),
            ("hello", "not a compose file"),
            ("a: [", "is not YAML"),
        ] {
            let error = images(text, &BTreeMap::new()).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
