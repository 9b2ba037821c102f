//! Which layers of an image an engine lacks, and what loading them takes. Pure.
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
pub(crate) struct Present {
    /// The IDs of its images, in whichever store.
    ids: BTreeSet<Digest>,
    /// The diff IDs of each image, lowest first.
    chains: Vec<Vec<Digest>>,
    /// Blobs in the content store, with what they are known from.
    blobs: BTreeSet<Digest>,
}

impl Present {
    /// What an engine has that has these `images`; `loaded` are the blobs of each image that was recorded as loaded.
    pub(crate) fn of(images: &[ImageFacts], loaded: &BTreeMap<Digest, BTreeSet<Digest>>) -> Self {
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
    pub(crate) fn add(&mut self, image: &PlatformImage) {
        self.ids.extend([image.config, image.manifest]);
        self.chains
            .push(image.layers.iter().map(|layer| layer.diff_id).collect());
        self.blobs.extend(image.blobs().map(|(digest, _)| digest));
    }

    /// The layers of `image` that are missing, as stored in the bundle.
    pub(crate) fn missing(&self, image: &PlatformImage, store: ImageStore) -> BTreeSet<Digest> {
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
    pub(crate) fn disk_needed(&self, images: &[&PlatformImage], facts: &EngineFacts) -> u64 {
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
    pub(crate) fn bytes_to_send(&self, images: &[&PlatformImage], facts: &EngineFacts) -> u64 {
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
        if self.ids.contains(&facts.store.image_id(image)) {
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
pub(crate) fn layers(image: &PlatformImage) -> BTreeSet<Digest> {
    image.layers.iter().map(|layer| layer.digest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An image whose layers are named by letters; each has 10 bytes as stored and 100 unpacked.
    fn image(name: &str, layers: &str) -> PlatformImage {
        let layer = |letter: char| LayerRecord {
            digest: Digest::of(format!("stored {letter}").as_bytes()),
            size: 10,
            media_type: "application/vnd.oci.image.layer.v1.tar+zstd".to_owned(),
            diff_id: Digest::of(format!("unpacked {letter}").as_bytes()),
            uncompressed_size: 100,
        };
        PlatformImage {
            platform: "linux/amd64".parse().unwrap(),
            manifest: Digest::of(format!("manifest {name}").as_bytes()),
            manifest_size: 1,
            config: Digest::of(format!("config {name}").as_bytes()),
            config_size: 2,
            layers: layers.chars().map(layer).collect(),
        }
    }

    fn there(image: &PlatformImage) -> ImageFacts {
        ImageFacts {
            id: image.manifest,
            references: Vec::new(),
            diff_ids: image.layers.iter().map(|layer| layer.diff_id).collect(),
            architecture: "amd64".to_owned(),
        }
    }

    fn facts(store: ImageStore, version: &str) -> EngineFacts {
        EngineFacts {
            version: version.to_owned(),
            store,
            platform: "linux/amd64".parse().unwrap(),
            root: "/".into(),
        }
    }

    fn missing(present: &Present, layers: &str, store: ImageStore) -> String {
        let wanted = image("wanted", layers);
        let missing = present.missing(&wanted, store);
        let letters = layers.chars().zip(&wanted.layers);
        letters
            .filter(|(_, layer)| missing.contains(&layer.digest))
            .map(|(letter, _)| letter)
            .collect()
    }

    #[test]
    fn a_classic_store_needs_everything_above_what_changed() {
        let present = Present::of(&[there(&image("a", "abc")), there(&image("b", "xy"))], &BTreeMap::new());
        for (layers, expected) in [
            ("abc", ""),
            ("ab", ""),
            ("abcd", "d"),
            ("abd", "d"),
            ("axc", "xc"),
            ("bc", "bc"),
            ("xyc", "c"),
            ("ya", "ya"),
            // The lower of two equal ones is there, the upper is not, and they are one blob.
            ("aba", "aa"),
        ] {
            assert_eq!(missing(&present, layers, ImageStore::Classic), expected, "{layers}");
        }
    }

    #[test]
    fn a_containerd_store_has_the_blobs_of_recorded_images_that_are_there() {
        let (here, gone, foreign) = (image("here", "ab"), image("gone", "cd"), image("foreign", "ef"));
        let blobs = |image: &PlatformImage| (image.manifest, layers(image));
        let loaded = BTreeMap::from([blobs(&here), blobs(&gone)]);
        let present = Present::of(&[there(&here), there(&foreign)], &loaded);
        assert_eq!(missing(&present, "acebfd", ImageStore::Containerd), "cefd");
    }

    #[test]
    fn disk_is_needed_for_layers_and_the_engines_copy() {
        let (first, second) = (image("first", "abc"), image("second", "abd"));
        let nothing = Present::default();
        let both = [&first, &second];
        for (facts, disk, sent) in [
            // 300 and 100 unpacked; copies of 32, then of 12.
            (facts(ImageStore::Classic, "26.1.5"), 400 + 12, 32 + 12),
            // Copies uncompressed: 302, then 102.
            (facts(ImageStore::Classic, "20.10.24"), 300 + 302, 302 + 102),
            // Unpacked and blobs, 33 and 13.
            (facts(ImageStore::Containerd, "26.1.5"), 400 + 46, 46),
        ] {
            assert_eq!(nothing.disk_needed(&both, &facts), disk, "{facts:?}");
            assert_eq!(nothing.bytes_to_send(&both, &facts), sent, "{facts:?}");
        }
        let mut everything = nothing;
        both.into_iter().for_each(|image| everything.add(image));
        for store in [ImageStore::Classic, ImageStore::Containerd] {
            assert_eq!(everything.disk_needed(&both, &facts(store, "26.1.5")), 0);
        }
    }
}
