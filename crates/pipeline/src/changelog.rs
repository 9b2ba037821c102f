//! The changelog of a version: from the commits since the last version tag, or from a file.

use std::{fmt::Write, path::Path};

use semver::Version;
use xshell::{Shell, cmd};

use crate::{Result, git, process::read};

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
///
/// # Errors
/// Git fails.
pub(crate) fn from_commits(sh: &Shell, workspace: &Path, version: &Version) -> Result<String> {
    let since = git::previous_version_tag(sh, workspace, &format!("v{version}"));
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
}
