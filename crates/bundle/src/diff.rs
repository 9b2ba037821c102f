//! What changes between two versions, and what a device that has the first needs for the second.
//!
//! Pure: two manifests in, figures out. "Needs" counts blobs that no image of the first version has,
//! each once per platform, as a device that keeps the first version's images can reuse the rest.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;
use serde::Serialize;

use crate::digest::Digest;
use crate::manifest::{ImageRecord, Manifest};
use crate::platform::Platform;

/// The difference between two manifests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BundleDiff {
    /// The first version.
    pub from: Version,
    /// The second version.
    pub to: Version,
    /// Every image of either version, by name.
    pub images: BTreeMap<String, ImageChange>,
    /// What a device of each platform of the second version needs.
    pub platforms: BTreeMap<Platform, PlatformNeeds>,
}

/// What becomes of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageChange {
    /// Only the second version has it.
    Added,
    /// Only the first version has it.
    Removed,
    /// Both have it, and some platform's image differs (a new tag alone is no change).
    Changed,
    /// Both have it, and every common platform's image is the same.
    Unchanged,
}

/// What a device needs beyond what it has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PlatformNeeds {
    /// Layers that it has not.
    pub layers_new: usize,
    /// Layers that it has already.
    pub layers_kept: usize,
    /// Bytes that must be read from the bundle: new layers, manifests and configurations, as stored.
    pub bytes_needed: u64,
    /// Bytes that the new layers take when uncompressed.
    pub uncompressed_bytes: u64,
}

/// Compares two manifests.
#[must_use]
pub fn diff(from: &Manifest, to: &Manifest) -> BundleDiff {
    let names = from
        .image_details
        .iter()
        .chain(&to.image_details)
        .map(|image| &image.name);
    BundleDiff {
        from: from.version.clone(),
        to: to.version.clone(),
        images: names
            .map(|name| (name.clone(), change(from.image(name), to.image(name))))
            .collect(),
        platforms: to
            .platforms
            .iter()
            .map(|platform| (platform.clone(), needs(from, to, platform)))
            .collect(),
    }
}

fn change(from: Option<&ImageRecord>, to: Option<&ImageRecord>) -> ImageChange {
    match (from, to) {
        (None, _) => ImageChange::Added,
        (_, None) => ImageChange::Removed,
        (Some(from), Some(to)) => {
            let same = to.platforms.iter().all(|image| {
                from.on(&image.platform)
                    .is_none_or(|before| before.manifest == image.manifest)
            });
            if same {
                ImageChange::Unchanged
            } else {
                ImageChange::Changed
            }
        }
    }
}

fn needs(from: &Manifest, to: &Manifest, platform: &Platform) -> PlatformNeeds {
    let had: BTreeSet<Digest> = images(from, platform)
        .flat_map(|image| image.blobs().map(|(digest, _)| digest))
        .collect();
    // The same layer in another compression need not be sent again: a device has it uncompressed.
    let had_diff_ids: BTreeSet<Digest> = images(from, platform)
        .flat_map(|image| image.layers.iter().map(|layer| layer.diff_id))
        .collect();
    let mut needs = PlatformNeeds::default();
    let mut seen = BTreeSet::new();
    for image in images(to, platform) {
        for (digest, size) in [(image.manifest, image.manifest_size), (image.config, image.config_size)] {
            if seen.insert(digest) && !had.contains(&digest) {
                needs.bytes_needed += size;
            }
        }
        for layer in &image.layers {
            if !seen.insert(layer.diff_id) {
                continue;
            }
            if had_diff_ids.contains(&layer.diff_id) {
                needs.layers_kept += 1;
            } else {
                needs.layers_new += 1;
                needs.bytes_needed += layer.size;
                needs.uncompressed_bytes += layer.uncompressed_size;
            }
        }
    }
    needs
}

fn images<'a>(
    manifest: &'a Manifest,
    platform: &'a Platform,
) -> impl Iterator<Item = &'a crate::manifest::PlatformImage> {
    manifest.image_details.iter().filter_map(|image| image.on(platform))
}
