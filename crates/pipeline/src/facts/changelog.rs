//! The changelog of a version: from the commits since the last version tag, or from a file.

use std::{fmt::Write, path::Path};

use bundle::names::tag;
use semver::Version;
use xshell::{Shell, cmd};

use super::git;
use crate::{Result, system::process::read};

/// At most so many commits are listed; more would fill the device's page with noise.
const MOST_COMMITS: usize = 200;

/// The kinds of Conventional Commits that a user sees, under the heading they get.
const HEADINGS: [(&str, &[&str]); 3] = [
    ("Added", &["feat"]),
    ("Fixed", &["fix", "revert"]),
    ("Changed", &["perf", "refactor"]),
];

/// The kinds of Conventional Commits that a user does not see.
const SILENT: [&str; 6] = ["build", "chore", "ci", "docs", "style", "test"];

/// The changelog from the commits since the last version tag.
pub(crate) fn from_commits(sh: &Shell, workspace: &Path, version: &Version) -> Result<String> {
    let since = git::previous_version_tag(sh, workspace, &tag::of(version));
    let range = since.map_or_else(|| "HEAD".to_owned(), |tag| format!("{tag}..HEAD"));
    let _dir = sh.push_dir(workspace);
    let log = read(cmd!(sh, "git log --no-merges --format=%s {range}"))?;
    Ok(from_subjects(log.lines()))
}

/// Groups commits' subjects (newest first) by the kinds of Conventional Commits 1.0.0; subjects of
/// other forms are listed as they are.
pub(crate) fn from_subjects<'a>(subjects: impl Iterator<Item = &'a str>) -> String {
    let mut groups: Vec<(&str, Vec<String>)> = HEADINGS.iter().map(|(heading, _)| (*heading, Vec::new())).collect();
    let mut others = Vec::new();
    let mut more = 0;
    for (index, subject) in subjects.enumerate() {
        if index >= MOST_COMMITS {
            more += 1;
            continue;
        }
        let Some((kind, breaking, text)) = conventional(subject) else {
            others.push(subject.to_owned());
            continue;
        };
        let text = if breaking {
            format!("**breaking:** {text}")
        } else {
            text
        };
        match HEADINGS.iter().position(|(_, kinds)| kinds.contains(&kind)) {
            Some(group) => groups[group].1.push(text),
            None if breaking => groups[2].1.push(text),
            None => {}
        }
    }
    if more > 0 {
        others.push(format!("and {more} earlier commits"));
    }
    let grouped = groups.iter().any(|(_, lines)| !lines.is_empty());
    let mut out = String::new();
    for (heading, lines) in groups.iter().filter(|(_, lines)| !lines.is_empty()) {
        section(&mut out, Some(heading), lines);
    }
    if !others.is_empty() {
        section(&mut out, grouped.then_some("Other"), &others);
    }
    out.truncate(out.trim_end().len());
    out
}

/// The section of `version` in a file of the Keep-a-Changelog form, or `Unreleased`; none if neither is there.
pub(crate) fn from_file(text: &str, version: &Version) -> Option<String> {
    let wanted = [format!("{version}"), "Unreleased".to_owned()];
    wanted.iter().find_map(|name| {
        let mut lines = text.lines().skip_while(|line| !heads(line, name));
        lines.next()?;
        let body: Vec<_> = lines
            .take_while(|line| !line.starts_with("## ") && !line.starts_with('['))
            .collect();
        let body = body.join("\n").trim().to_owned();
        (!body.is_empty()).then_some(body)
    })
}

/// A changelog's file with nothing in it yet.
pub(crate) const EMPTY: &str = "\
# Changelog

The format is [Keep a Changelog 1.1.0](https://keepachangelog.com/en/1.1.0/), and versions are
[semantic](https://semver.org/spec/v2.0.0.html).

## [Unreleased]
";

/// `text` with a section for `version`: what stands under `Unreleased`, or else `commits`. `Unreleased` stays, empty.
pub(crate) fn with_version(text: &str, version: &Version, date: &str, commits: &str) -> Result<String, String> {
    let version_name = version.to_string();
    if text.lines().any(|line| heads(line, &version_name)) {
        return Err(format!("has a section for {version} already"));
    }
    let is_section = |line: &&str| line.starts_with("## ");
    let lines: Vec<_> = text.lines().collect();
    let unreleased = lines.iter().position(|line| heads(line, "Unreleased"));
    let begin = unreleased.or_else(|| lines.iter().position(is_section));
    let begin = begin.unwrap_or(lines.len());
    let (head, rest) = lines.split_at(begin);
    // Its own text ends where the next section, or the list of links, begins.
    let (own, rest) = match unreleased {
        Some(_) => {
            let body = rest.get(1..).unwrap_or_default();
            let end = body.iter().position(|line| is_section(line) || line.starts_with('['));
            body.split_at(end.unwrap_or(body.len()))
        }
        None => (&[] as &[&str], rest),
    };
    let own = own.join("\n");
    let changes = if own.trim().is_empty() {
        commits.trim()
    } else {
        own.trim()
    };
    if changes.is_empty() {
        return Err(format!("nothing has changed that {version} could tell of"));
    }
    let head = head.join("\n");
    let rest = rest.join("\n");
    let mut out = format!(
        "{}\n\n## [Unreleased]\n\n## [{version}] - {date}\n\n{changes}\n",
        head.trim_end()
    );
    if !rest.trim().is_empty() {
        out.push_str(&format!("\n{}\n", rest.trim()));
    }
    Ok(out.trim_start().to_owned())
}

/// Whether `line` is the second-level heading of `name`: `## [2.1.0] - 2026-01-01`.
fn heads(line: &str, name: &str) -> bool {
    line.strip_prefix("## ")
        .and_then(|title| title.split_whitespace().next())
        .is_some_and(|first| {
            first
                .trim_matches(['[', ']'])
                .trim_start_matches('v')
                .eq_ignore_ascii_case(name)
        })
}

/// Splits `feat(scope)!: text`. The kind must be one that is known, so that `component: summary` stays whole.
fn conventional(subject: &str) -> Option<(&str, bool, String)> {
    let (head, text) = subject.split_once(": ")?;
    let (head, breaking) = head.strip_suffix('!').map_or((head, false), |head| (head, true));
    let (kind, scope) = match head.split_once('(') {
        Some((kind, scope)) => (kind, Some(scope.strip_suffix(')')?)),
        None => (head, None),
    };
    let known = SILENT.contains(&kind) || HEADINGS.iter().any(|(_, kinds)| kinds.contains(&kind));
    known.then(|| {
        (
            kind,
            breaking,
            scope.map_or_else(|| text.to_owned(), |scope| format!("{scope}: {text}")),
        )
    })
}

fn section(out: &mut String, heading: Option<&str>, lines: &[String]) {
    // Writing to a String cannot fail.
    if let Some(heading) = heading {
        writeln!(out, "### {heading}\n").ok();
    }
    for line in lines {
        writeln!(out, "- {line}").ok();
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conventional_commits_are_grouped() {
        let text = from_subjects(
            [
                "feat(api): add export",
                "chore: tidy",
                "fix!: keep readings",
                "release notes by hand",
            ]
            .into_iter(),
        );
        assert_eq!(
            text,
            "### Added\n\n- api: add export\n\n### Fixed\n\n- **breaking:** keep readings\n\n### Other\n\n- release notes by hand"
        );
    }

    #[test]
    fn other_styles_are_listed_as_they_are() {
        assert_eq!(
            from_subjects(["bundle: read zip", "updater: wait"].into_iter()),
            "- bundle: read zip\n- updater: wait"
        );
    }

    #[test]
    fn long_histories_are_cut() {
        let subjects: Vec<_> = (0..MOST_COMMITS + 5).map(|n| format!("commit {n}")).collect();
        let text = from_subjects(subjects.iter().map(String::as_str));
        assert_eq!(text.lines().count(), MOST_COMMITS + 1);
        assert!(text.ends_with("- and 5 earlier commits"));
    }

    #[test]
    fn a_files_section_is_found() {
        let file = "# Changelog\n\n## [Unreleased]\n\n- soon\n\n## [2.1.0] - 2026-01-01\n\n### Added\n- x\n\n## [2.0.0]\n- y\n\n[2.1.0]: link\n";
        assert_eq!(
            from_file(file, &Version::new(2, 1, 0)).as_deref(),
            Some("### Added\n- x")
        );
        assert_eq!(from_file(file, &Version::new(2, 0, 0)).as_deref(), Some("- y"));
        assert_eq!(from_file(file, &Version::new(3, 0, 0)).as_deref(), Some("- soon"));
        assert_eq!(from_file("# nothing", &Version::new(3, 0, 0)), None);
    }

    #[test]
    fn a_file_gets_the_section_of_a_version() {
        let with = |text: &str, commits: &str| with_version(text, &Version::new(2, 1, 0), "2026-01-02", commits);
        let file =
            "# Changelog\n\n## [Unreleased]\n\n### Added\n- x\n\n## [2.0.0] - 2025-01-01\n- y\n\n[2.0.0]: link\n";
        let written = with(file, "- a commit").unwrap();
        assert_eq!(
            written,
            "# Changelog\n\n## [Unreleased]\n\n## [2.1.0] - 2026-01-02\n\n### Added\n- x\n\n\
             ## [2.0.0] - 2025-01-01\n- y\n\n[2.0.0]: link\n"
        );
        // And a release finds it there.
        assert_eq!(
            from_file(&written, &Version::new(2, 1, 0)).as_deref(),
            Some("### Added\n- x")
        );
        assert_eq!(
            with(&written, "- a commit").unwrap_err(),
            "has a section for 2.1.0 already"
        );
        assert!(with(EMPTY, "").unwrap_err().contains("nothing has changed"));
        let first = with(EMPTY, "- a commit").unwrap();
        assert!(
            first.ends_with("\n\n## [Unreleased]\n\n## [2.1.0] - 2026-01-02\n\n- a commit\n"),
            "{first}"
        );
        let bare = with("# Changelog\n\n## [2.0.0]\n- y\n", "- a commit").unwrap();
        assert!(bare.ends_with("- a commit\n\n## [2.0.0]\n- y\n"), "{bare}");
    }
}
