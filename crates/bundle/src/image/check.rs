//! Whether an image's own documents say what its record says.
//!
//! The same check runs while packing, on blobs from a builder, and while verifying, on blobs from a
//! bundle: so a record is never a second, drifting description of an image.

use crate::manifest::PlatformImage;
use crate::oci::{ImageConfig, ImageManifest};

/// A difference between an image's documents and its record.
#[derive(Debug, thiserror::Error)]
pub enum ImageMismatch {
    /// The document is not JSON of the expected form.
    #[error("its {document} cannot be read: {}", crate::text::one_line(source))]
    Unreadable {
        /// Which document.
        document: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The image manifest names another configuration.
    #[error("its manifest names another configuration than its record")]
    Config,
    /// The image manifest names other layers.
    #[error("its manifest names other layers than its record")]
    Layers,
    /// The configuration has other diff IDs.
    #[error("its configuration has other diff ids than its record")]
    DiffIds,
    /// The configuration is for another platform.
    #[error("its configuration is for {found}, not for {expected}")]
    Platform {
        /// What the configuration says.
        found: String,
        /// What the record says.
        expected: String,
    },
}

/// Compares an image manifest with the image's record, and gives it read.
pub(crate) fn check_manifest(json: &[u8], record: &PlatformImage) -> Result<ImageManifest, ImageMismatch> {
    let manifest: ImageManifest = serde_json::from_slice(json).map_err(|source| ImageMismatch::Unreadable {
        document: "manifest",
        source,
    })?;
    if (manifest.config.digest, manifest.config.size) != (record.config, record.config_size) {
        return Err(ImageMismatch::Config);
    }
    let found = manifest.layers.iter().map(|l| (l.digest, l.size, &l.media_type));
    if !found.eq(record.layers.iter().map(|l| (l.digest, l.size, &l.media_type))) {
        return Err(ImageMismatch::Layers);
    }
    Ok(manifest)
}

/// Compares an image configuration with the image's record.
pub(crate) fn check_config(json: &[u8], record: &PlatformImage) -> Result<(), ImageMismatch> {
    let config: ImageConfig = serde_json::from_slice(json).map_err(|source| ImageMismatch::Unreadable {
        document: "configuration",
        source,
    })?;
    if !config
        .rootfs
        .diff_ids
        .iter()
        .eq(record.layers.iter().map(|layer| &layer.diff_id))
    {
        return Err(ImageMismatch::DiffIds);
    }
    let mut found = format!("{}/{}", config.os, config.architecture);
    // Many arm images leave the variant out of their configuration: then the record decides.
    if let Some(variant) = config.variant.filter(|variant| !variant.is_empty()) {
        found = format!("{found}/{variant}");
    } else if let Some(variant) = record.platform.variant() {
        found = format!("{found}/{variant}");
    }
    if found.parse().as_ref() != Ok(&record.platform) {
        let found = crate::text::shorten(&found);
        return Err(ImageMismatch::Platform {
            found,
            expected: record.platform.to_string(),
        });
    }
    Ok(())
}
