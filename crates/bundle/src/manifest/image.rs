//! What the manifest records of images.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::platform::Platform;

/// One image, with what it consists of on each platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// The image's name without its tag: `webmacs-backend`.
    pub name: String,
    /// What the compose file calls it: `webmacs-backend:2.1.0`.
    pub reference: String,
    /// For an image taken from a registry, the reference with the digest that it was pinned to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Whether a substitute was used whose digest is not the locked one. Such a bundle is never
    /// published.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub substitute: bool,
    /// The image on each platform of the bundle, sorted by platform.
    pub platforms: Vec<PlatformImage>,
}

impl ImageRecord {
    /// The image on `platform`.
    #[must_use]
    pub fn on(&self, platform: &Platform) -> Option<&PlatformImage> {
        self.platforms.iter().find(|image| image.platform == *platform)
    }
}

/// One image on one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformImage {
    /// The platform.
    pub platform: Platform,
    /// Digest of the image manifest: the image's ID in a containerd store.
    pub manifest: Digest,
    /// Size of the image manifest in bytes.
    pub manifest_size: u64,
    /// Digest of the image configuration: the image's ID in a classic store.
    pub config: Digest,
    /// Size of the image configuration in bytes.
    pub config_size: u64,
    /// The layers, lowest first.
    pub layers: Vec<LayerRecord>,
}

impl PlatformImage {
    /// The blobs that the image consists of, with their sizes in bytes: manifest, configuration,
    /// layers.
    pub fn blobs(&self) -> impl Iterator<Item = (Digest, u64)> + '_ {
        [(self.manifest, self.manifest_size), (self.config, self.config_size)]
            .into_iter()
            .chain(self.layers.iter().map(|layer| (layer.digest, layer.size)))
    }
}

/// One layer of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerRecord {
    /// Digest of the layer as stored, compressed or not.
    pub digest: Digest,
    /// Size as stored, in bytes.
    pub size: u64,
    /// Media type (OCI image-spec, layer.md), which tells the compression.
    pub media_type: String,
    /// Digest of the uncompressed layer: the `diff_id` of the image configuration.
    pub diff_id: Digest,
    /// Size of the uncompressed layer, in bytes.
    pub uncompressed_size: u64,
}
