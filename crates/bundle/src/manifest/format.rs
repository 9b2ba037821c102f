//! Which form a manifest has, found out before anything else of it is read.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Inconsistency, MAX_MANIFEST_SIZE, Manifest, ManifestError, check};
use crate::digest::HexDigest;

/// The features named in `requires` that this program knows. None exist yet.
const KNOWN_REQUIREMENTS: &[&str] = &[];

/// The version of the bundle format, written `major.minor`.
///
/// A reader accepts every minor version of its major version: a minor version only adds keys that
/// may be left unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FormatVersion {
    /// Raised when an old reader would misunderstand a bundle.
    pub major: u16,
    /// Raised when keys are added.
    pub minor: u16,
}

impl FormatVersion {
    /// The version that this program writes.
    pub const CURRENT: Self = Self { major: 1, minor: 0 };

    /// Stands for the old five-key form, which has no version.
    pub const LEGACY: Self = Self { major: 0, minor: 0 };
}

impl fmt::Display for FormatVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why a text is not a format version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a format version; expected `major.minor`, such as `1.0`")]
pub struct FormatVersionError(String);

impl FromStr for FormatVersion {
    type Err = FormatVersionError;

    fn from_str(text: &str) -> Result<Self, FormatVersionError> {
        let number = |digits: &str| {
            let plain = digits.bytes().all(|b| b.is_ascii_digit());
            let padded = digits.len() > 1 && digits.starts_with('0');
            if plain && !padded { digits.parse().ok() } else { None }
        };
        text.split_once('.')
            .and_then(|(major, minor)| {
                Some(Self {
                    major: number(major)?,
                    minor: number(minor)?,
                })
            })
            .ok_or_else(|| FormatVersionError(crate::text::shorten(text)))
    }
}

impl Serialize for FormatVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FormatVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The manifest of a bundle made by the old release procedure: five keys and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegacyManifest {
    /// The product's version.
    pub version: semver::Version,
    /// SHA-256 of the entry `images.tar`.
    pub images_sha256: HexDigest,
    /// When the bundle was made; the old procedure's form, not checked.
    #[serde(default)]
    pub created_at: String,
    /// What changed.
    #[serde(default)]
    pub changelog: String,
    /// Every image as `name:tag`.
    #[serde(default)]
    pub images: Vec<String>,
}

impl LegacyManifest {
    /// The images, each once, as `name:tag`.
    ///
    /// # Errors
    /// There are none or too many, or one is no such reference.
    pub fn references(&self) -> Result<Vec<String>, Inconsistency> {
        check::legacy_references(&self.images)
    }
}

/// A manifest of any form that devices meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnyManifest {
    /// Format version 1.
    V1(Box<Manifest>),
    /// The old five-key form, which has no `format_version`.
    Legacy(LegacyManifest),
}

/// What decides the form. Everything else may look different in a form that is not known yet.
#[derive(Deserialize)]
struct Probe {
    format_version: Option<FormatVersion>,
    #[serde(default)]
    requires: Vec<String>,
}

impl AnyManifest {
    /// Reads a manifest of either form.
    ///
    /// # Errors
    /// See [`ManifestError`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MAX_MANIFEST_SIZE {
            return Err(ManifestError::TooLarge(bytes.len()));
        }
        let probe: Probe = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        let Some(found) = probe.format_version else {
            let legacy = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
            return Ok(Self::Legacy(legacy));
        };
        if found.major != FormatVersion::CURRENT.major {
            return Err(ManifestError::Format { found });
        }
        let unknown: Vec<String> = probe
            .requires
            .into_iter()
            .filter(|name| !KNOWN_REQUIREMENTS.contains(&name.as_str()))
            .map(|name| crate::text::shorten(&name))
            .collect();
        if !unknown.is_empty() {
            return Err(ManifestError::Requires(unknown));
        }
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        check::check(&manifest)?;
        Ok(Self::V1(Box::new(manifest)))
    }

    /// The product's version.
    #[must_use]
    pub fn version(&self) -> &semver::Version {
        match self {
            Self::V1(manifest) => &manifest.version,
            Self::Legacy(manifest) => &manifest.version,
        }
    }

    /// What changed, which both forms have.
    #[must_use]
    pub fn changelog(&self) -> &str {
        match self {
            Self::V1(manifest) => &manifest.changelog,
            Self::Legacy(manifest) => &manifest.changelog,
        }
    }
}
