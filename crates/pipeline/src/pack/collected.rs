//! What a release is packed from: its images with every platform, and the updater's binaries.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use bundle::{
    Digest, Platform,
    image::{images_tar::ImageInput, reference::normalise},
};

use super::annotations::{IMAGE_NAME, SOURCE, SUBSTITUTE};
use crate::declaration::split_tag;

/// What a release is packed from.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// The images, in the declaration's order.
    pub images: Vec<CollectedImage>,
    /// The updater's binaries.
    pub updaters: BTreeMap<Platform, PathBuf>,
    /// The directories in which blobs lie as in an OCI layout.
    pub stores: Vec<PathBuf>,
    /// Whether files were not committed, here or where a part was built.
    pub dirty: bool,
    /// The images that were built on and that no registry's digest pinned.
    pub unpinned: BTreeSet<String>,
}

/// An image with every platform.
#[derive(Debug)]
pub(crate) struct CollectedImage {
    /// Name, tag and what it consists of.
    pub input: ImageInput,
    /// For a registry image, the reference with its digest, where that is known.
    pub source: Option<String>,
    /// Whether a substitute was used.
    pub substitute: bool,
}

impl Collected {
    /// The references of images that were made from substitutes.
    pub(crate) fn substitutes(&self) -> Vec<String> {
        let substitutes = self.images.iter().filter(|image| image.substitute);
        substitutes.map(CollectedImage::reference).collect()
    }

    /// Every blob of the images.
    pub(crate) fn blobs(&self) -> BTreeSet<Digest> {
        let platforms = self.images.iter().flat_map(|image| image.input.platforms.values());
        platforms
            .flat_map(|image| image.blobs().map(|(digest, _)| digest))
            .collect()
    }
}

impl CollectedImage {
    /// The reference as the compose file has it.
    pub(crate) fn reference(&self) -> String {
        format!("{}:{}", self.input.name, self.input.tag)
    }
}

/// The annotations with which an image stands in the index of a part.
pub(crate) fn annotations(image: &CollectedImage) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::from([(IMAGE_NAME.to_owned(), full_name(&image.reference()))]);
    if let Some(source) = &image.source {
        annotations.insert(SOURCE.to_owned(), source.clone());
    }
    if image.substitute {
        annotations.insert(SUBSTITUTE.to_owned(), "true".to_owned());
    }
    annotations
}

/// The full name of an image: `postgres:17` is `docker.io/library/postgres:17`.
pub(crate) fn full_name(reference: &str) -> String {
    match split_tag(reference) {
        Some((name, tag)) => format!("{}:{tag}", normalise(name)),
        None => normalise(reference),
    }
}
