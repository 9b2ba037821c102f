//! Why bytes are not a manifest that this program can act on.

use super::check::Inconsistency;
use super::version::FormatVersion;

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
