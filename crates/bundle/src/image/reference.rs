//! Image references as Docker normalises them (distribution/reference, `normalize.go`).

/// Whether `name` can be an image's name: lower-case parts between slashes, perhaps a registry
/// first.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let edges = |part: &str| {
        let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        edge(part.as_bytes().first()) && edge(part.as_bytes().last())
    };
    let part = |part: &str| {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        edges(part) && part.bytes().all(allowed)
    };
    if name.len() > 255 {
        return false;
    }
    match name.split_once('/') {
        Some((registry, rest)) if is_registry(registry) => {
            let host = registry
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b".-:".contains(&b));
            host && edges(registry) && rest.split('/').all(part)
        }
        _ => name.split('/').all(part),
    }
}

/// Whether `tag` can be an image's tag.
#[must_use]
pub fn is_tag(tag: &str) -> bool {
    (1..=128).contains(&tag.len())
        && !tag.starts_with(['.', '-'])
        && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// The full name that engines store: `postgres` is `docker.io/library/postgres`.
#[must_use]
pub fn normalise(name: &str) -> String {
    match name.split_once('/') {
        Some((registry, _)) if is_registry(registry) => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
        None => format!("docker.io/library/{name}"),
    }
}

/// Whether the first part of a name is a registry and not a user.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_like_docker() {
        let check = |name, full| assert_eq!(normalise(name), full);
        check("postgres", "docker.io/library/postgres");
        check("grafana/grafana", "docker.io/grafana/grafana");
        check("ghcr.io/a/b", "ghcr.io/a/b");
        check("localhost/a", "localhost/a");
        check("localhost:5000/a", "localhost:5000/a");
        check("docker.io/library/postgres", "docker.io/library/postgres");
    }

    #[test]
    fn names_and_tags() {
        for name in ["postgres", "a/b-c", "ghcr.io/a/b_c", "localhost:5000/a"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "A", "a:b", "a//b", "-a", "a/", "ghcr.io/", "a b", "../a"] {
            assert!(!is_name(name), "{name}");
        }
        assert!(is_tag("2.1.0-rc.1"));
        for tag in ["", ".a", "a b", "a:b", "2.1.0+build"] {
            assert!(!is_tag(tag), "{tag}");
        }
    }
}
