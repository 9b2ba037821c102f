//! What a Dockerfile builds on: its stages and the images that they start from.
//!
//! Only the instructions that name images are read (`ARG` before the first `FROM`, `FROM`, `COPY --from`,
//! `RUN --mount=…,from=`); everything else is BuildKit's. Names are kept **exactly as written**: a named context
//! replaces a base image only under that spelling (buildx documentation, "Additional build contexts").
//! Source: Dockerfile reference, "FROM", "Parser directives", "Here-Documents".

use std::collections::BTreeMap;

/// A stage of a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its name, in lower case as BuildKit compares it.
    pub name: Option<String>,
    /// What it starts from: an image, another stage, or `scratch`.
    pub from: String,
}

/// A Dockerfile's stages and images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dockerfile {
    /// The stages in order.
    pub stages: Vec<Stage>,
    /// Every image that it names and does not build itself, as written, each once, in order.
    pub base_images: Vec<String>,
    /// The frontend that a `# syntax=` line asks for.
    pub syntax: Option<String>,
}

impl Dockerfile {
    /// Reads the text of a Dockerfile. Never fails: what BuildKit would refuse is left to BuildKit.
    pub fn parse(text: &str) -> Self {
        let mut file = Self {
            syntax: syntax_directive(text),
            ..Self::default()
        };
        let mut args = BTreeMap::new();
        for instruction in instructions(text) {
            let mut words = instruction.split_whitespace();
            let Some(keyword) = words.next() else { continue };
            match keyword.to_ascii_uppercase().as_str() {
                "ARG" if file.stages.is_empty() => {
                    for (name, value) in words.filter_map(|word| word.split_once('=')) {
                        args.insert(name.to_owned(), value.trim_matches(['"', '\'']).to_owned());
                    }
                }
                "FROM" => file.from(words, &args),
                "COPY" | "ADD" => {
                    let from = words
                        .take_while(|word| word.starts_with("--"))
                        .find_map(|word| word.strip_prefix("--from="));
                    file.uses(from);
                }
                "RUN" => {
                    let mounts = words.take_while(|word| word.starts_with("--"));
                    for mount in mounts.filter_map(|word| word.strip_prefix("--mount=")) {
                        file.uses(mount.split(',').find_map(|option| option.strip_prefix("from=")));
                    }
                }
                _ => {}
            }
        }
        file
    }

    /// Whether `target` is a stage.
    pub fn has_target(&self, target: &str) -> bool {
        self.stages
            .iter()
            .any(|stage| stage.name.as_deref() == Some(&target.to_lowercase()))
    }

    /// The names of all stages that have one.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().filter_map(|stage| stage.name.as_deref())
    }

    fn from<'a>(&mut self, words: impl Iterator<Item = &'a str>, args: &BTreeMap<String, String>) {
        let mut words = words.skip_while(|word| word.starts_with("--"));
        let Some(from) = words.next() else { return };
        let from = expand(from, args);
        let name = match (words.next(), words.next()) {
            (Some(word), Some(name)) if word.eq_ignore_ascii_case("as") => Some(name.to_lowercase()),
            _ => None,
        };
        self.uses(Some(&from));
        self.stages.push(Stage { name, from });
    }

    fn uses(&mut self, image: Option<&str>) {
        let Some(image) = image else { return };
        let is_stage = self.has_target(image) || image.parse::<usize>().is_ok() || image == "scratch";
        if !is_stage && !self.base_images.iter().any(|known| known == image) {
            self.base_images.push(image.to_owned());
        }
    }
}

/// The `# syntax=` directive, which counts only in the comments at the very top.
fn syntax_directive(text: &str) -> Option<String> {
    text.lines()
        .map_while(|line| line.trim_start().strip_prefix('#'))
        .filter_map(|comment| comment.split_once('='))
        .find(|(key, _)| key.trim().eq_ignore_ascii_case("syntax"))
        .map(|(_, value)| value.trim().to_owned())
}

/// Instructions with continued lines joined, without comments and here-documents.
fn instructions(text: &str) -> Vec<String> {
    let mut instructions = Vec::new();
    let mut current = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let trimmed = line.trim();
        if trimmed.starts_with('#') || (trimmed.is_empty() && current.is_empty()) {
            continue;
        }
        if let Some(start) = trimmed.strip_suffix('\\') {
            current.push_str(start);
            current.push(' ');
            continue;
        }
        current.push_str(trimmed);
        for end in heredoc_ends(&current) {
            // Its lines are data, whatever they look like.
            for line in lines.by_ref() {
                if line.trim_start_matches('\t') == end {
                    break;
                }
            }
        }
        instructions.push(std::mem::take(&mut current));
    }
    if !current.is_empty() {
        instructions.push(current);
    }
    instructions
}

/// The words that end the here-documents which an instruction opens.
fn heredoc_ends(instruction: &str) -> Vec<String> {
    let keyword = instruction.split_whitespace().next().unwrap_or_default();
    if !["RUN", "COPY", "ADD"]
        .iter()
        .any(|word| keyword.eq_ignore_ascii_case(word))
    {
        return Vec::new();
    }
    instruction
        .split_whitespace()
        .filter_map(|word| word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<"))
        .filter(|word| !word.starts_with('<'))
        .map(|word| word.trim_start_matches('-').trim_matches(['"', '\'']).to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}

/// Replaces `$name`, `${name}` and `${name:-default}` by global build arguments' defaults.
fn expand(text: &str, args: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (name, default, after) = match rest.strip_prefix('{').and_then(|r| r.split_once('}')) {
            Some((inside, after)) => match inside.split_once(":-") {
                Some((name, default)) => (name, default, after),
                None => (inside, "", after),
            },
            None => {
                let end = rest
                    .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .unwrap_or(rest.len());
                (&rest[..end], "", &rest[end..])
            }
        };
        out.push_str(args.get(name).map_or(default, String::as_str));
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, base_images: &[&str], targets: &[&str]) {
        let file = Dockerfile::parse(text);
        assert_eq!(file.base_images, base_images, "{text}");
        assert_eq!(file.targets().collect::<Vec<_>>(), targets, "{text}");
    }

    #[test]
    fn stages_are_not_base_images() {
        check(
            "FROM --platform=$BUILDPLATFORM rust:1-trixie AS Build\nFROM scratch as out\nCOPY --from=build /x /x\nFROM build\n",
            &["rust:1-trixie"],
            &["build", "out"],
        );
    }

    #[test]
    fn images_are_found_in_copy_and_mounts() {
        check(
            "FROM scratch\nCOPY --chown=1:1 --from=busybox:1 /bin/sh /\nRUN --mount=type=bind,from=alpine:3,target=/a ls\nCOPY --from=0 /a /b\n",
            &["busybox:1", "alpine:3"],
            &[],
        );
    }

    #[test]
    fn arguments_continuations_and_comments_are_understood() {
        check(
            "ARG TAG=17 OTHER=\"a\"\nARG NAME=postgres\nFROM \\\n# between\n  ${NAME}:$TAG-${VARIANT:-alpine} AS db\n",
            &["postgres:17-alpine"],
            &["db"],
        );
    }

    #[test]
    fn here_documents_are_data() {
        check(
            "FROM debian:12\nRUN <<EOF cat\nFROM evil:1\nEOF\nCOPY <<-\"END\" /x\n\tFROM evil:2\n\tEND\nFROM alpine:3 AS last\n",
            &["debian:12", "alpine:3"],
            &["last"],
        );
    }

    #[test]
    fn a_syntax_line_counts_only_at_the_top() {
        assert_eq!(
            Dockerfile::parse("# syntax = docker/dockerfile:1\nFROM scratch")
                .syntax
                .as_deref(),
            Some("docker/dockerfile:1")
        );
        assert_eq!(
            Dockerfile::parse("FROM scratch\n# syntax=docker/dockerfile:1").syntax,
            None
        );
    }
}
