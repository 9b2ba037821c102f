//! Which layers of an image an engine lacks, and what bringing them takes. Pure.
//!
//! - A classic store has a layer only with everything below it: layers are applied on one another and known by the chain
//!   of their diff IDs. However they were compressed does not matter.
//! - A containerd store keeps the layers as they were sent beside what they unpack to. What was unpacked from another
//!   compression runs, but such an image cannot be saved or pushed again; so only blobs count that this updater recorded
//!   loading, of images that are still there.

use std::collections::{BTreeMap, BTreeSet};

use bundle::{
    Digest,
    manifest::{LayerRecord, PlatformImage},
};

use super::archive;
use crate::containers::{EngineFacts, ImageFacts, ImageStore};

/// What an engine has that new images can be built upon.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// The IDs of its images, in whichever store.
    ids: BTreeSet<Digest>,
    /// The diff IDs of each image, lowest first.
    chains: Vec<Vec<Digest>>,
    /// Blobs in the content store, with what they are known from.
    blobs: BTreeSet<Digest>,
}

impl Present {
    /// What an engine has that has these `images`; `loaded` are the blobs of each image that was recorded as loaded.
    pub fn of(images: &[ImageFacts], loaded: &BTreeMap<Digest, BTreeSet<Digest>>) -> Self {
        Self {
            ids: images.iter().map(|image| image.id).collect(),
            chains: images.iter().map(|image| image.diff_ids.clone()).collect(),
            blobs: images
                .iter()
                .filter_map(|image| loaded.get(&image.id))
                .flatten()
                .copied()
                .collect(),
        }
    }

    /// Takes in an image that is loaded meanwhile.
    pub fn add(&mut self, image: &PlatformImage) {
        self.chains
            .push(image.layers.iter().map(|layer| layer.diff_id).collect());
        self.blobs.extend(image.blobs().map(|(digest, _)| digest));
    }

    /// The layers of `image` that are missing, as stored in the bundle.
    pub fn missing(&self, image: &PlatformImage, store: ImageStore) -> BTreeSet<Digest> {
        match store {
            ImageStore::Classic => self.not_unpacked(image).iter().map(|layer| layer.digest).collect(),
            ImageStore::Containerd => layers(image).difference(&self.blobs).copied().collect(),
        }
    }

    /// The layers of `image` that the engine has yet to unpack.
    fn not_unpacked<'a>(&self, image: &'a PlatformImage) -> &'a [LayerRecord] {
        let common = |chain: &Vec<Digest>| {
            let both = chain.iter().zip(&image.layers);
            both.take_while(|(there, layer)| **there == layer.diff_id).count()
        };
        let there = self.chains.iter().map(common).max().unwrap_or(0);
        &image.layers[there..]
    }

    /// How many bytes of disk loading `images` one after the other takes at most, what the engine deletes again
    /// included: unpacked layers; in a containerd store also the blobs; in a classic store also the copy that it makes of
    /// an archive before it unpacks it (moby, image/tarexport/load.go), of one image at a time.
    ///
    /// Exact in bytes of content; what a file system adds is not in it.
    pub fn disk_needed(&self, images: &[&PlatformImage], facts: &EngineFacts) -> u64 {
        let mut present = self.clone();
        let (mut kept, mut most) = (0, 0);
        for image in images {
            let sent = present.sent(image, facts);
            let new = present.not_unpacked(image).iter();
            kept += new.map(|layer| layer.uncompressed_size).sum::<u64>();
            let copy = match facts.store {
                ImageStore::Classic => sent,
                ImageStore::Containerd => {
                    kept += sent;
                    0
                }
            };
            most = most.max(kept + copy);
            present.add(image);
        }
        most
    }

    /// How many bytes of content the engine is sent for `images`, unless it refuses them without what is left out.
    pub fn bytes_to_send(&self, images: &[&PlatformImage], facts: &EngineFacts) -> u64 {
        let mut present = self.clone();
        let mut total = 0;
        for image in images {
            total += present.sent(image, facts);
            present.add(image);
        }
        total
    }

    /// What one image costs on the wire.
    fn sent(&self, image: &PlatformImage, facts: &EngineFacts) -> u64 {
        if self.ids.contains(&super::image_id(image, facts.store)) {
            return 0;
        }
        let documents = match facts.store {
            ImageStore::Classic => image.config_size,
            ImageStore::Containerd => image.config_size + image.manifest_size,
        };
        let missing = self.missing(image, facts.store);
        let mut counted = BTreeSet::new();
        let layers = image.layers.iter().filter(|layer| missing.contains(&layer.digest));
        let layers = layers.filter(|layer| counted.insert(layer.digest));
        documents + layers.map(|layer| archive::size_as_sent(layer, facts)).sum::<u64>()
    }
}

/// All layers of an image, as stored in the bundle.
pub fn layers(image: &PlatformImage) -> BTreeSet<Digest> {
    image.layers.iter().map(|layer| layer.digest).collect()
}
