//! What is to be published, and where.

use std::path::PathBuf;

use serde::Serialize;

use super::target::Target;

/// Publishing what came out.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    /// Where.
    pub target: Target,
    /// How; the bundles are those that come out.
    pub request: Request,
}

/// What is to be published.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The bundles; all of one version and commit.
    pub bundles: Vec<PathBuf>,
    /// Further files, such as an SBOM.
    pub assets: Vec<PathBuf>,
    /// Whether the release becomes the latest one, if not by its version.
    pub latest: Option<bool>,
    /// The notes' file, instead of the bundles' changelog.
    pub notes: Option<PathBuf>,
}

/// Makes a GitHub Release of the bundles.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PublishRelease {
    /// The repository, `owner/name`.
    pub repository: String,
    /// The tag, which is there.
    pub tag: String,
    /// Where, and how.
    #[serde(skip)]
    pub publication: Publication,
}
