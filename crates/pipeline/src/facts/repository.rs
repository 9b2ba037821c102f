//! What is so in the repository: git, declared files, the lock file, what is vendored.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use bundle::{Digest, names::tag};
use semver::Version;
use xshell::Shell;

use super::{
    changelog,
    dockerfile::Dockerfile,
    git::{self, Git},
    lock_file::Lock,
    vendored::{CRATES, Vendor},
    workspace::Workspace,
};
use crate::{
    Error, Result,
    declaration::{Declaration, Updater},
};

/// What is so in a repository.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// The state of the work tree; the message if git could not tell.
    pub git: Result<Git, String>,
    /// The commit that the version's tag points at, if there is such a tag.
    pub version_tag_commit: Option<String>,
    /// The text of the compose file, if it is there.
    pub compose: Option<String>,
    /// The Dockerfiles that are declared and there, by path in the workspace.
    pub dockerfiles: BTreeMap<PathBuf, Dockerfile>,
    /// Declared files and contexts that are not there.
    pub missing: Vec<PathBuf>,
    /// Declared files that are directories.
    pub directories: Vec<PathBuf>,
    /// The lock file.
    pub lock: Lock,
    /// The vendored images.
    pub vendor: Vendor,
    /// Whether crates are vendored.
    pub vendored_crates: bool,
    /// The digest of Cargo.lock, if it is there.
    pub cargo_lock: Option<Digest>,
    /// The changelog of the version; the message if there is none.
    pub changelog: Result<String, String>,
}

impl Facts {
    /// Reads what a release of `version` depends on.
    ///
    /// # Errors
    /// A file that is there cannot be read.
    pub(crate) fn read(workspace: &Workspace, version: &Version) -> Result<Self> {
        let Workspace { root, declaration, .. } = workspace;
        let sh = Shell::new().map_err(|error| Error::Content {
            path: root.clone(),
            message: error.to_string(),
        })?;
        let git = Git::read(&sh, root).map_err(|error| error.to_string());
        let mut facts = Self {
            version_tag_commit: git
                .is_ok()
                .then(|| git::commit_of_tag(&sh, root, &tag::of(version)))
                .flatten(),
            changelog: changelog(&sh, workspace, version)?,
            git,
            compose: None,
            dockerfiles: BTreeMap::new(),
            missing: Vec::new(),
            directories: Vec::new(),
            lock: Lock::read(&root.join(&declaration.lock_file))?,
            vendor: Vendor::read(&workspace.vendor_directory())?,
            cargo_lock: digest_of(&root.join("Cargo.lock"))?,
            vendored_crates: workspace.vendor_directory().join(CRATES).is_dir(),
        };
        facts.compose = facts.text(root, &declaration.compose_file)?;
        for build in declaration.build_sources() {
            if facts.dockerfiles.contains_key(&build.dockerfile) {
                continue;
            }
            if let Some(text) = facts.text(root, &build.dockerfile)? {
                facts
                    .dockerfiles
                    .insert(build.dockerfile.clone(), Dockerfile::parse(&text));
            }
            facts.expect(root, &build.context);
        }
        for file in &declaration.files {
            facts.expect_file(root, &file.path);
        }
        if let Some(Updater::Prebuilt(binaries)) = &declaration.updater {
            for binary in binaries.values() {
                facts.expect_file(root, &binary.path);
            }
        }
        Ok(facts)
    }

    /// The commit that is checked out; empty if git could not tell, which [`crate::preflight`] refuses.
    pub(crate) fn commit(&self) -> &str {
        self.git.as_ref().map_or("", |git| &git.commit)
    }

    /// Whether files are not committed.
    pub(crate) fn is_dirty(&self) -> bool {
        self.git.as_ref().is_ok_and(|git| !git.dirty.is_empty())
    }

    /// Every registry image that the release needs: those that ship, then those that others are built on.
    pub(crate) fn references(&self, declaration: &Declaration) -> Vec<String> {
        let mut references: Vec<_> = declaration.registry_images().map(|image| image.reference()).collect();
        for image in self.dockerfiles.values().flat_map(|file| &file.base_images) {
            if !references.contains(image) {
                references.push(image.clone());
            }
        }
        references
    }

    fn text(&mut self, root: &Path, path: &Path) -> Result<Option<String>> {
        let full = root.join(path);
        if !full.is_file() {
            self.expect_file(root, path);
            return Ok(None);
        }
        fs::read_to_string(&full).map(Some).map_err(Error::io("read", full))
    }

    fn expect_file(&mut self, root: &Path, path: &Path) {
        if root.join(path).is_dir() {
            self.directories.push(path.to_owned());
        } else {
            self.expect(root, path);
        }
    }

    fn expect(&mut self, root: &Path, path: &Path) {
        if !root.join(path).exists() && !self.missing.iter().any(|missing| missing == path) {
            self.missing.push(path.to_owned());
        }
    }
}

/// The version that the commit in `root` is tagged with, if it is tagged with exactly one.
pub(crate) fn tagged_version(root: &Path) -> Option<Version> {
    let git = Git::read(&Shell::new().ok()?, root).ok()?;
    match git.version_tags.as_slice() {
        [tag] => tag::version(tag),
        _ => None,
    }
}

fn digest_of(path: &Path) -> Result<Option<Digest>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(Digest::of(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

fn changelog(sh: &Shell, workspace: &Workspace, version: &Version) -> Result<Result<String, String>> {
    let Some(file) = &workspace.declaration.changelog.file else {
        return Ok(changelog::from_commits(sh, &workspace.root, version).map_err(|error| error.to_string()));
    };
    let path = workspace.root.join(file);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => return Ok(Err(format!("cannot read {file}: {error}"))),
    };
    Ok(changelog::from_file(&text, version)
        .ok_or_else(|| format!("{file} has neither a section \"{version}\" nor one \"Unreleased\"")))
}
