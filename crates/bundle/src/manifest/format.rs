//! Which form a manifest has, found out before anything else of it is read.

use serde::{Deserialize, Serialize};

use super::check::{self, Inconsistency};
use super::document::Manifest;
use super::error::{MAX_MANIFEST_SIZE, ManifestError};
use super::version::FormatVersion;
use crate::digest::HexDigest;

/// The features named in `requires` that this program knows. None exist yet.
const KNOWN_REQUIREMENTS: &[&str] = &[];

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
}
