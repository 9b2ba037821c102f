//! Paths of requests, taken apart.

use std::collections::BTreeMap;

use crate::world::Wanted;

/// A path and a query, decoded.
#[derive(Debug)]
pub(crate) struct Path {
    pub(crate) segments: Vec<String>,
    pub(crate) query: BTreeMap<String, String>,
}

impl Path {
    pub(crate) fn parse(path: &str, query: &str) -> Self {
        let segments = path.trim_matches('/').split('/').map(|segment| {
            percent_encoding::percent_decode_str(segment)
                .decode_utf8_lossy()
                .into_owned()
        });
        Self {
            segments: segments.collect(),
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        }
    }

    /// The repository, and what follows it.
    pub(crate) fn repository(&self) -> Option<(Wanted, Vec<&str>)> {
        let segments: Vec<_> = self.segments.iter().map(String::as_str).collect();
        match segments.as_slice() {
            ["repos", owner, name, rest @ ..] => Some((Wanted::Name(format!("{owner}/{name}")), rest.to_vec())),
            ["repositories", id, rest @ ..] => Some((Wanted::Number(id.parse().ok()?), rest.to_vec())),
            _ => None,
        }
    }

    /// A number of the query.
    pub(crate) fn number(&self, name: &str, default: usize) -> usize {
        self.query
            .get(name)
            .and_then(|value| value.parse().ok())
            .unwrap_or(default)
    }
}
