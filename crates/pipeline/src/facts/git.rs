//! What git knows: the commit, its time, its tags, and what is not committed.

use std::path::Path;

use bundle::names::tag;
use serde::Serialize;
use xshell::{Shell, cmd};

use crate::{Result, system::process::read};

/// The state of the work tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Git {
    /// The commit that is checked out.
    pub commit: String,
    /// Its committer time, in seconds since 1970. The only time that a bundle carries.
    pub time: i64,
    /// Files that differ from the commit, as `git status --porcelain` lists them.
    pub dirty: Vec<String>,
    /// Tags of the form `v<semantic version>` on this commit.
    pub version_tags: Vec<String>,
}

impl Git {
    /// Asks git about `workspace`.
    ///
    /// # Errors
    /// There is no git, no repository, or no commit yet.
    pub(crate) fn read(sh: &Shell, workspace: &Path) -> Result<Self> {
        let _dir = sh.push_dir(workspace);
        let head = read(cmd!(sh, "git log -1 --format=%H%n%ct"))?;
        let (commit, time) = head.split_once('\n').unwrap_or((&head, "0"));
        let dirty = read(cmd!(sh, "git status --porcelain --untracked-files=normal"))?;
        let tags = read(cmd!(sh, "git tag --points-at HEAD"))?;
        Ok(Self {
            commit: commit.to_owned(),
            time: time.trim().parse().unwrap_or_default(),
            dirty: dirty.lines().map(str::to_owned).collect(),
            version_tags: tags
                .lines()
                .filter(|name| tag::version(name).is_some())
                .map(str::to_owned)
                .collect(),
        })
    }
}

/// The commit that `tag` points at, if there is such a tag.
pub(crate) fn commit_of_tag(sh: &Shell, workspace: &Path, tag: &str) -> Option<String> {
    let _dir = sh.push_dir(workspace);
    let reference = format!("refs/tags/{tag}^{{commit}}");
    read(cmd!(sh, "git rev-parse --quiet --verify {reference}")).ok()
}

/// The newest version tag before HEAD, leaving out the tag of the version that is being released.
pub(crate) fn previous_version_tag(sh: &Shell, workspace: &Path, releasing: &str) -> Option<String> {
    let _dir = sh.push_dir(workspace);
    let exclude = format!("--exclude={releasing}");
    read(cmd!(
        sh,
        "git describe --tags --abbrev=0 --match v[0-9]* {exclude} HEAD"
    ))
    .ok()
    .filter(|name| tag::version(name).is_some())
}
