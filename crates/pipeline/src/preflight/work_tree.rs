//! The work tree and the tag of the version.

use bundle::names::tag;

use crate::{Problem, facts::Facts, request::Request};

pub(super) fn work_tree(facts: &Facts, request: &Request, problems: &mut Vec<Problem>) {
    let version = &request.version;
    let git = match &facts.git {
        Ok(git) => git,
        Err(message) => {
            problems.push(
                Problem::error("git", format!("cannot tell the commit: {message}"))
                    .hint("a release needs a git repository with at least one commit"),
            );
            return;
        }
    };
    if !git.dirty.is_empty() {
        let count = git.dirty.len();
        let first = git
            .dirty
            .iter()
            .take(3)
            .map(|line| line.trim())
            .collect::<Vec<_>>()
            .join(", ");
        let message = format!(
            "{count} files are not committed ({first}{})",
            if count > 3 { ", …" } else { "" }
        );
        problems.push(if request.allow_dirty {
            Problem::warning("work tree", message).hint("commit them, or the bundle cannot be made again")
        } else {
            Problem::error("work tree", message)
                .hint("commit them, or say --allow-dirty: the bundle then cannot be made again")
        });
    }
    let tag = tag::of(version);
    match &facts.version_tag_commit {
        Some(commit) if *commit != git.commit => {
            problems.push(
                Problem::error(&tag, format!("is a tag on another commit ({})", short(commit)))
                    .hint(format!("git checkout {tag}, or choose another version")),
            );
        }
        None if !git.version_tags.is_empty() => {
            problems.push(
                Problem::error(&tag, format!("this commit is tagged {}", git.version_tags.join(", ")))
                    .hint(format!("release that version, or `git tag {tag}`")),
            );
        }
        _ => {}
    }
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}
