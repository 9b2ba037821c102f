//! What several commands read from the command line and the environment.

use std::env;

use bundle::names::tag;
use semver::Version;

use crate::{Error, Result, facts::Workspace};

pub(super) fn workspace() -> Result<Workspace> {
    let directory = env::current_dir().map_err(Error::io("find", "the current directory"))?;
    Workspace::read(&directory)
}

/// A version that can be a tag, too: image tags have no `+`.
pub(super) fn version(text: &str) -> Result<Version, String> {
    let version = Version::parse(text).map_err(|error| match tag::version(text) {
        Some(version) => format!("a version has no `v` in front; hint: {version}"),
        None => format!("not a semantic version: {error}; hint: MAJOR.MINOR.PATCH, like 2.1.0"),
    })?;
    if version.build.is_empty() {
        Ok(version)
    } else {
        Err("build metadata (`+…`) cannot be part of an image's tag; hint: leave it out".to_owned())
    }
}
