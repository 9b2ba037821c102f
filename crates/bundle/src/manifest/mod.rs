//! The manifest: what a bundle holds, and all that a device must know before it acts.
//!
//! Reading goes: size limit → format version and requirements ([`mod@format`]) → types → consistency
//! ([`check`]). A manifest that passed names every file once, its digest and size, and agrees with
//! itself. Unknown keys are accepted, because a newer minor format may add some; a key given twice
//! is refused, because two readers could take different values.
//!
//! Nothing here knows whether a manifest is *trustworthy*: that is [`crate::read::verify`].

mod check;
mod format;
mod image;
mod rules;

pub use check::Inconsistency;
pub(crate) use check::MAX_SIZE;
pub use format::{AnyManifest, FormatVersion, LegacyManifest};
pub use image::{ImageRecord, LayerRecord, PlatformImage};
pub use rules::{Backup, BackupKind, DataRule, EnvironmentKey, EnvironmentValue, FileRecord, FileRole, GitHub, Health};

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::digest::HexDigest;
use crate::names::ProductName;
use crate::platform::Platform;

/// The largest manifest that is read, in bytes.
pub const MAX_MANIFEST_SIZE: usize = 4 * 1024 * 1024;

/// Why bytes are not a manifest that this program can act on.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// More bytes than [`MAX_MANIFEST_SIZE`].
    #[error("the manifest has {0} bytes, more than the {MAX_MANIFEST_SIZE} allowed")]
    TooLarge(usize),
    /// Not JSON, a missing key, a key given twice, or a value of the wrong form.
    #[error("the manifest cannot be read: {}", crate::text::one_line(.0))]
    Json(#[source] serde_json::Error),
    /// A major format version other than this program's.
    #[error("the bundle has format {found}, and this program reads format {}.x", FormatVersion::CURRENT.major)]
    Format {
        /// The manifest's format version.
        found: FormatVersion,
    },
    /// Features that a reader must know, and this one does not.
    #[error("the bundle requires `{}`, which this program does not know", .0.join("`, `"))]
    Requires(Vec<String>),
    /// A manifest of the old five-key form where one of format 1 is needed.
    #[error("the manifest has only the five keys of the old form")]
    Legacy,
    /// The parts of the manifest contradict each other.
    #[error("the manifest contradicts itself: {0}")]
    Inconsistent(#[from] Inconsistency),
}

impl ManifestError {
    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Format { .. } | Self::Requires(_) => {
                Some("update the updater first, or use a bundle made for this version of it")
            }
            Self::Legacy => Some("this bundle was made by the old release procedure"),
            _ => None,
        }
    }
}

/// The manifest of a bundle, format version 1.
///
/// The fields are written in this order. The first five are what devices with the old updater read;
/// their names and forms never change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The product's version.
    pub version: Version,
    /// SHA-256 of the entry `images.tar`.
    pub images_sha256: HexDigest,
    /// When the released commit was made: RFC 3339 in UTC, whole seconds, `2026-01-31T12:00:00Z`.
    pub created_at: String,
    /// What changed, in Markdown.
    pub changelog: String,
    /// Every image as `name:tag`, in the order of [`Manifest::image_details`].
    pub images: Vec<String>,

    /// The version of this format.
    pub format_version: FormatVersion,
    /// Names of the features that a reader must know. None exist in format 1.0.
    #[serde(default)]
    pub requires: Vec<String>,
    /// The product.
    pub product: ProductName,
    /// The released commit, where the release came from a repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Whether it was made from files that were not committed. Such a bundle is never published.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dirty: bool,
    /// The images that something in this bundle is or was built on, and that were not pinned by a registry's digest,
    /// sorted. Such a bundle is never published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unpinned: Vec<String>,
    /// The platforms that this bundle has images for, sorted.
    pub platforms: Vec<Platform>,
    /// Size of the entry `images.tar` in bytes.
    pub images_size: u64,
    /// Every entry but the manifest, its signature and `images.tar`, in archive order.
    pub files: Vec<FileRecord>,
    /// Every image, with what it consists of on each platform.
    pub image_details: Vec<ImageRecord>,
    /// How a device finds out whether the product works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// What a device saves before it updates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<Backup>,
    /// Which versions can work on this version's data.
    pub data: DataRule,
    /// The keys that the device's `.env` must have.
    #[serde(default)]
    pub environment: Vec<EnvironmentKey>,
    /// The oldest updater that can apply this bundle.
    pub minimum_updater_version: Version,
    /// The oldest version of the product that can be updated to this one directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_upgradable_version: Option<Version>,
    /// A counter that is raised only to forbid everything older.
    #[serde(default)]
    pub security_epoch: u64,
    /// Where devices that are installed from this bundle find newer versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github: Option<GitHub>,
}

impl Manifest {
    /// Reads a manifest of format version 1.
    ///
    /// # Errors
    /// See [`ManifestError`]; [`ManifestError::Legacy`] for the old five-key form.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        match AnyManifest::from_json(bytes)? {
            AnyManifest::V1(manifest) => Ok(*manifest),
            AnyManifest::Legacy(_) => Err(ManifestError::Legacy),
        }
    }

    /// The manifest as JSON: indented, keys in declaration order, a newline at the end. The same
    /// manifest always gives the same bytes.
    ///
    /// # Errors
    /// [`ManifestError::Inconsistent`] or [`ManifestError::TooLarge`] for a manifest that no reader
    /// would accept.
    pub fn to_json(&self) -> Result<Vec<u8>, ManifestError> {
        check::check(self)?;
        let mut json = serde_json::to_vec_pretty(self).map_err(ManifestError::Json)?;
        json.push(b'\n');
        if json.len() > MAX_MANIFEST_SIZE {
            return Err(ManifestError::TooLarge(json.len()));
        }
        Ok(json)
    }

    /// Whether it stands for a bundle of the old procedure, and so has no details of images. No manifest that is read
    /// from JSON does.
    #[must_use]
    pub fn is_legacy(&self) -> bool {
        self.format_version == FormatVersion::LEGACY
    }

    /// The record of the image called `name`.
    #[must_use]
    pub fn image(&self, name: &str) -> Option<&ImageRecord> {
        self.image_details.iter().find(|image| image.name == name)
    }
}
