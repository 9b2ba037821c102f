//! What is asked for: the request that a release is planned from.

use std::path::PathBuf;

use bundle::Platform;
use semver::Version;

use crate::publish::Publication;

/// What is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The version.
    pub version: Version,
    /// The platforms; all that are declared if empty.
    pub platforms: Vec<Platform>,
    /// The buildx builder; the current one if none.
    pub builder: Option<String>,
    /// Build without any network.
    pub offline: bool,
    /// Build without the build cache.
    pub no_cache: bool,
    /// The network of `RUN`, if it is not the builder's default.
    pub network: Option<String>,
    /// Parts that were built elsewhere; nothing is built here if there are any.
    pub parts: Vec<PathBuf>,
    /// Write the archives as zip, too.
    pub zip: bool,
    /// Accept a work tree with changes that are not committed.
    pub allow_dirty: bool,
    /// What comes out in the end.
    pub output: Output,
    /// Where the bundles are published, if they are.
    pub publish: Option<Publication>,
}

/// What comes out in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Bundles in `dist/`.
    Bundles,
    /// A part for another machine to merge, in this directory.
    Part(PathBuf),
}
