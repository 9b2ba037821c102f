//! What an archive for an engine consists of, for programs that write one out of a bundle: tar headers, and the few
//! documents of an OCI layout and of a Docker archive.
//!
//! The same forms as in `images.tar`, so that a device's engine never sees another one.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::digest::Digest;
use crate::manifest::{LayerRecord, PlatformImage};
use crate::oci::{self, Descriptor, ImageManifest, Index, NAME_ANNOTATION, PlatformObject};
use crate::tar_entry;

/// The name of the entry that says which version of the layout an OCI archive has.
pub const LAYOUT_FILE: &str = "oci-layout";
/// Its content.
pub const LAYOUT: &[u8] = oci::LAYOUT;
/// The name of an OCI layout's index.
pub const INDEX_FILE: &str = "index.json";
/// The name of a Docker archive's list of images.
pub const DOCKER_FILE: &str = "manifest.json";
/// The end of a tar archive.
pub const TAR_END: &[u8] = &tar_entry::END;

/// The modification time of every entry: a constant, as in `images.tar`.
const MTIME: u64 = 1;

/// The tar header of a regular file that belongs to root; `name` has at most 100 bytes.
#[must_use]
pub fn tar_header(name: &str, size: u64) -> [u8; 512] {
    tar_entry::header(name, size, false, MTIME)
}

/// How many zeros follow a content of `size` bytes in a tar archive.
#[must_use]
pub fn tar_padding(size: u64) -> usize {
    tar_entry::padding(size)
}

/// The name of a blob's entry.
#[must_use]
pub fn blob_path(digest: &Digest) -> String {
    oci::blob_path(digest)
}

/// The index of a layout with one image: the descriptor of its manifest, whose bytes are `manifest`, with `name` as the
/// name that containerd gives it.
///
/// # Errors
/// `manifest` is no image manifest.
pub fn index_of_one(image: &PlatformImage, manifest: &[u8], name: &str) -> Result<Vec<u8>, serde_json::Error> {
    let read: ImageManifest = serde_json::from_slice(manifest)?;
    serde_json::to_vec(&Index::of(vec![Descriptor {
        media_type: read.media_type.unwrap_or_else(|| oci::MANIFEST.to_owned()),
        digest: image.manifest,
        size: image.manifest_size,
        platform: Some(PlatformObject::from(&image.platform)),
        annotations: BTreeMap::from([(NAME_ANNOTATION.to_owned(), name.to_owned())]),
    }]))
}

/// The list of images of a Docker archive with one image that gets no name.
///
/// # Errors
/// None in practice.
pub fn docker_list_of_one(image: &PlatformImage) -> Result<Vec<u8>, serde_json::Error> {
    /// As `DockerImage`, but nameless: Docker itself writes `null` then (moby, image/tarexport/save.go).
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct Nameless {
        config: String,
        repo_tags: Option<Vec<String>>,
        layers: Vec<String>,
    }
    let path = |layer: &LayerRecord| blob_path(&layer.digest);
    serde_json::to_vec(&[Nameless {
        config: blob_path(&image.config),
        repo_tags: None,
        layers: image.layers.iter().map(path).collect(),
    }])
}
