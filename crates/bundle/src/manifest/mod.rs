//! The manifest: what a bundle holds, and all that a device must know before it acts.
//!
//! Reading goes: size limit → format version and requirements ([`mod@format`]) → types → consistency
//! ([`check`]). A manifest that passed names every file once, its digest and size, and agrees with
//! itself. Unknown keys are accepted, because a newer minor format may add some; a key given twice
//! is refused, because two readers could take different values.
//!
//! Nothing here knows whether a manifest is *trustworthy*: that is [`crate::read::verify`].

mod check;
mod document;
mod error;
mod format;
mod image;
mod rules;
mod version;

pub use check::Inconsistency;
pub(crate) use check::MAX_SIZE;
pub use document::Manifest;
pub use error::{MAX_MANIFEST_SIZE, ManifestError};
pub use format::{AnyManifest, LegacyManifest};
pub use image::{ImageRecord, LayerRecord, PlatformImage};
pub use rules::{Backup, BackupKind, DataRule, EnvironmentKey, EnvironmentValue, FileRecord, FileRole, GitHub, Health};
pub use version::FormatVersion;
