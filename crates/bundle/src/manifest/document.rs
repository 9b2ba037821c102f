//! The manifest as data.

use semver::Version;
use serde::{Deserialize, Serialize};

use super::image::ImageRecord;
use super::rules::{Backup, DataRule, EnvironmentKey, FileRecord, GitHub, Health};
use super::version::FormatVersion;
use crate::digest::HexDigest;
use crate::names::ProductName;
use crate::platform::Platform;

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
