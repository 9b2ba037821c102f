//! What a Dockerfile builds on: its stages, the images that they start from, and what else they read.
//!
//! Only the instructions that name images, arguments or files are read (`ARG`, `FROM`, `COPY`, `ADD`,
//! `RUN --mount=…`); everything else is BuildKit's. Names are kept **exactly as written**: a named context
//! replaces a base image only under that spelling (buildx documentation, "Additional build contexts").
//! Source: Dockerfile reference, "FROM", "Parser directives", "Here-Documents".

use std::collections::{BTreeMap, BTreeSet};

use bundle::Digest;

/// A stage of a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    /// Its name, in lower case as BuildKit compares it.
    pub name: Option<String>,
    /// What it starts from: an image, another stage, or `scratch`.
    pub from: String,
    /// What its `--platform=` says, as written.
    pub platform: Option<String>,
    /// The images and stages that it copies out of or mounts, as written.
    pub uses: Vec<String>,
    /// The names of the build arguments that it declares.
    pub args: Vec<String>,
    /// Whether it copies or mounts files of the build context.
    pub reads_context: bool,
    /// What it adds by URL.
    pub downloads: Vec<String>,
    /// The digest of the Dockerfile's text, from its start to the stage's last instruction.
    pub text: Digest,
}

/// A Dockerfile's stages and images.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dockerfile {
    /// The stages in order.
    pub stages: Vec<Stage>,
    /// Every image that it names and does not build itself, as written, each once, in order.
    pub base_images: Vec<String>,
    /// The names of the build arguments that are declared before the first stage.
    pub args: Vec<String>,
    /// The frontend that a `# syntax=` line asks for.
    pub syntax: Option<String>,
}

impl Dockerfile {
    /// Reads the text of a Dockerfile. Never fails: what BuildKit would refuse is left to BuildKit.
    pub(crate) fn parse(text: &str) -> Self {
        let mut file = Self {
            syntax: syntax_directive(text),
            ..Self::default()
        };
        let mut args = BTreeMap::new();
        for instruction in instructions(text) {
            let mut words = instruction.text.split_whitespace();
            let Some(keyword) = words.next() else { continue };
            match keyword.to_ascii_uppercase().as_str() {
                "ARG" => file.args(words, &mut args),
                "FROM" => file.from(words, &args),
                "COPY" | "ADD" => file.copy(words),
                "RUN" => file.mounts(words),
                _ => {}
            }
            if let Some(stage) = file.stages.last_mut() {
                stage.text = Digest::of(text.as_bytes().get(..instruction.end).unwrap_or_default());
            }
        }
        file
    }

    /// The stage called `name`, and every stage that it is made from, in order.
    pub(crate) fn with_sources(&self, name: &str) -> Vec<&Stage> {
        self.sources(self.position(name, self.stages.len()), &[])
    }

    /// The stages that are built for `target`, or the last stage if there is none, when those called `given` are not.
    pub(crate) fn built_stages(&self, target: Option<&str>, given: &[&str]) -> Vec<&Stage> {
        let end = self.stages.len();
        let target = match target {
            Some(target) => self.position(target, end),
            None => end.checked_sub(1),
        };
        self.sources(target, given)
    }

    fn sources(&self, target: Option<usize>, given: &[&str]) -> Vec<&Stage> {
        let mut found = BTreeSet::new();
        let mut open: Vec<usize> = target.into_iter().collect();
        while let Some(index) = open.pop() {
            let Some(stage) = self.stages.get(index) else { continue };
            let is_given = stage.name.as_deref().is_some_and(|name| given.contains(&name));
            if !is_given && found.insert(index) {
                let names = stage.uses.iter().chain([&stage.from]);
                open.extend(names.filter_map(|name| self.position(name, index)));
            }
        }
        found.into_iter().filter_map(|index| self.stages.get(index)).collect()
    }

    /// The images among those that `stages` start from, copy out of or mount.
    pub(crate) fn images_of(&self, stages: &[&Stage]) -> Vec<&str> {
        let is_used = |image: &String| {
            stages
                .iter()
                .any(|stage| stage.from == *image || stage.uses.contains(image))
        };
        let used = self.base_images.iter().filter(|image| is_used(image));
        used.map(String::as_str).collect()
    }

    /// Whether `target` is a stage.
    pub(crate) fn has_target(&self, target: &str) -> bool {
        self.stages
            .iter()
            .any(|stage| stage.name.as_deref() == Some(&target.to_lowercase()))
    }

    /// The names of all stages that have one.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().filter_map(|stage| stage.name.as_deref())
    }

    /// The stage that `name` means before the stage number `end`: a name, or a number.
    fn position(&self, name: &str, end: usize) -> Option<usize> {
        let earlier = self.stages.get(..end)?;
        let name = name.to_lowercase();
        let named = earlier.iter().rposition(|stage| stage.name.as_deref() == Some(&name));
        named.or_else(|| name.parse().ok().filter(|number| *number < end))
    }

    fn args<'a>(&mut self, words: impl Iterator<Item = &'a str>, defaults: &mut BTreeMap<String, String>) {
        for word in words {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (word, None),
            };
            match self.stages.last_mut() {
                Some(stage) => stage.args.push(name.to_owned()),
                None => {
                    self.args.push(name.to_owned());
                    let value = value.map(|value| value.trim_matches(['"', '\'']).to_owned());
                    defaults.extend(value.map(|value| (name.to_owned(), value)));
                }
            }
        }
    }

    fn copy<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        let (options, paths): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with("--"));
        if let Some(from) = options.iter().find_map(|option| option.strip_prefix("--from=")) {
            self.uses(from);
            return;
        }
        let sources = paths.split_last().map(|(_, sources)| sources).unwrap_or_default();
        let is_url = |path: &str| path.contains("://") || path.starts_with("git@");
        let Some(stage) = self.stages.last_mut() else { return };
        for path in sources {
            if is_url(path) {
                stage.downloads.push((*path).to_owned());
            } else if !path.starts_with("<<") {
                stage.reads_context = true;
            }
        }
    }

    fn mounts<'a>(&mut self, words: impl Iterator<Item = &'a str>) {
        let options = words.take_while(|word| word.starts_with("--"));
        for mount in options.filter_map(|word| word.strip_prefix("--mount=")) {
            let value = |key: &str| mount.split(',').find_map(|option| option.strip_prefix(key));
            match value("from=") {
                Some(from) => self.uses(from),
                None if matches!(value("type="), None | Some("bind")) => {
                    if let Some(stage) = self.stages.last_mut() {
                        stage.reads_context = true;
                    }
                }
                None => {}
            }
        }
    }

    fn from<'a>(&mut self, words: impl Iterator<Item = &'a str>, args: &BTreeMap<String, String>) {
        let (options, words): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with("--"));
        let platform = options.iter().find_map(|option| option.strip_prefix("--platform="));
        let mut words = words.into_iter();
        let Some(from) = words.next() else { return };
        let from = expand(from, args);
        let name = match (words.next(), words.next()) {
            (Some(word), Some(name)) if word.eq_ignore_ascii_case("as") => Some(name.to_lowercase()),
            _ => None,
        };
        self.needs(&from);
        self.stages.push(Stage {
            name,
            from,
            platform: platform.map(str::to_owned),
            uses: Vec::new(),
            args: Vec::new(),
            reads_context: false,
            downloads: Vec::new(),
            text: Digest::of(b""),
        });
    }

    /// The current stage copies out of `image` or mounts it.
    fn uses(&mut self, image: &str) {
        self.needs(image);
        if let Some(stage) = self.stages.last_mut() {
            stage.uses.push(image.to_owned());
        }
    }

    fn needs(&mut self, image: &str) {
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

/// An instruction of a Dockerfile.
struct Instruction {
    /// Its continued lines, joined, without comments and here-documents.
    text: String,
    /// Where in the file it ends, its here-documents included, in bytes.
    end: usize,
}

fn instructions(text: &str) -> Vec<Instruction> {
    let mut instructions = Vec::new();
    let mut current = String::new();
    let mut end = 0;
    let mut lines = text.split_inclusive('\n');
    while let Some(line) = lines.next() {
        end += line.len();
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
        for last in heredoc_ends(&current) {
            // Its lines are data, not instructions.
            for line in lines.by_ref() {
                end += line.len();
                if line.trim_end_matches(['\r', '\n']).trim_start_matches('\t') == last {
                    break;
                }
            }
        }
        instructions.push(Instruction {
            text: std::mem::take(&mut current),
            end,
        });
    }
    if !current.is_empty() {
        instructions.push(Instruction { text: current, end });
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

    fn sources(text: &str, stage: &str) -> (Vec<String>, Vec<String>) {
        let file = Dockerfile::parse(text);
        let stages = file.with_sources(stage);
        let names = stages.iter().map(|stage| stage.name.clone().unwrap_or_default());
        let images = file.images_of(&stages).into_iter().map(str::to_owned);
        (names.collect(), images.collect())
    }

    #[test]
    fn a_stage_comes_with_the_stages_and_images_that_it_is_made_from() {
        let text = "FROM a:1\nFROM b:1 AS b\nFROM c:1 AS c\nFROM scratch AS out\nCOPY --from=0 / /\n\
                    RUN --mount=from=d:1,target=/d ls\nRUN --mount=from=B,target=/b ls\nFROM out AS last\n";
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(sources(text, "out"), (words(" b out"), words("a:1 b:1 d:1")));
        assert_eq!(sources(text, "last").0, words(" b out last"));
        assert_eq!(sources(text, "c"), (words("c"), words("c:1")));
        assert_eq!(sources(text, "nothing"), (Vec::new(), Vec::new()));
    }

    #[test]
    fn what_a_stage_reads_of_the_build_context_is_seen() {
        for (instruction, expected) in [
            ("COPY a b /c/", true),
            ("COPY --chown=1:1 [\"a\", \"/b\"]", true),
            (
                "RUN --mount=type=cache,target=/c --mount=type=bind,target=/src ls",
                true,
            ),
            ("RUN --mount=target=/src ls", true),
            ("ADD https://example.com/a /a", false),
            ("COPY <<END /a\n. .\nEND", false),
            ("COPY --from=busybox:1 a b", false),
            ("RUN --mount=type=cache,target=/c --network=none ls", false),
            ("ARG COPY=a", false),
        ] {
            let file = Dockerfile::parse(&format!("FROM scratch\n{instruction}\n"));
            assert_eq!(file.stages[0].reads_context, expected, "{instruction}");
        }
    }

    #[test]
    fn a_stages_text_ends_with_its_last_instruction() {
        let text = |text: &str| Dockerfile::parse(text).stages[0].text;
        let start = "FROM a:1 AS a\nRUN <<END\nfirst\nEND\n";
        assert_eq!(text(start), Digest::of(start.as_bytes()));
        assert_eq!(text(&format!("{start}\n# next\nFROM b:1\nRUN b\n")), text(start));
        assert_ne!(text(&start.replace("first", "second")), text(start));
        assert_ne!(text(&format!("{start}RUN \\\n# between\n  more\n")), text(start));
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
