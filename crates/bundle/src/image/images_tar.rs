//! `images.tar`: one OCI image layout with every image, planned before any layer is read.
//!
//! Order of entries: `oci-layout`, `index.json`, `manifest.json` (Docker's own form, for classic
//! stores), then the blobs: small documents first, sorted, then layers, sorted. A reader thus knows
//! every image before the first layer comes. Each blob is there once, however many images use it.
//!
//! [`ImagesTar::plan`] reads the images' small documents and checks them against the records;
//! [`ImagesTar::sha256`] then reads everything once. Nothing here writes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::OnceLock;

use crate::digest::Digest;
use crate::error::PackError;
use crate::image::check::{check_config, check_manifest};
use crate::image::layer::Compression;
use crate::image::reference::{is_name, is_tag, normalise};
use crate::manifest::{LayerRecord, PlatformImage};
use crate::oci::{
    Descriptor, DockerImage, INDEX, Index, LAYOUT, MANIFEST, MAX_DOCUMENT, NAME_ANNOTATION, PlatformObject,
    REF_ANNOTATION, blob_path,
};
use crate::pack::source::{Piece, Source};
use crate::platform::Platform;
use crate::store::BlobStore;
use crate::tar_entry::{END, header, padding};

/// The modification time of every entry, in Unix seconds: a constant, so that the same images give
/// the same `images.tar` in every release. Not 0, which GNU tar calls implausible.
const MTIME: u64 = 1;

/// An image to be packed.
#[derive(Debug, Clone)]
pub struct ImageInput {
    /// Its name without a tag: `webmacs-backend`, `ghcr.io/a/b`.
    pub name: String,
    /// Its tag.
    pub tag: String,
    /// What it consists of on each platform; the key is the value's own platform.
    pub platforms: BTreeMap<Platform, PlatformImage>,
}

/// Which platforms an `images.tar` is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Every platform that the images have: each image is a multi-platform index.
    AllPlatforms,
    /// One platform: each image is that platform's manifest, and plain `docker load` works.
    OnePlatform(Platform),
}

/// The content of one entry.
#[derive(Debug, Clone)]
enum Content {
    Bytes(Vec<u8>),
    Blob { digest: Digest, compressed: bool },
}

/// One entry of the archive.
#[derive(Debug, Clone)]
struct Entry {
    name: String,
    size: u64,
    content: Content,
}

/// A planned `images.tar`: every entry and the exact size are known, no layer has been read.
#[derive(Debug, Clone)]
pub struct ImagesTar {
    entries: Vec<Entry>,
    size: u64,
    sha256: OnceLock<Digest>,
}

impl ImagesTar {
    /// Plans the archive of `images`, sorted by name.
    ///
    /// # Errors
    /// [`PackError`], where a blob is missing or has another size than recorded, where an image's
    /// own documents contradict its record, or where an image lacks the platform of `scope`.
    pub fn plan(images: &[ImageInput], store: &(dyn BlobStore + Sync), scope: &Scope) -> Result<Self, PackError> {
        let mut images: Vec<&ImageInput> = images.iter().collect();
        images.sort_by_key(|image| (&image.name, &image.tag));
        let mut plan = Plan::empty(store);
        for (at, image) in images.iter().enumerate() {
            if !is_name(&image.name) || !is_tag(&image.tag) {
                return Err(PackError::Reference(format!("{}:{}", image.name, image.tag)));
            }
            if at > 0 && images[at - 1].name == image.name {
                return Err(PackError::Twice {
                    what: "image",
                    name: image.name.clone(),
                });
            }
            plan.image(image, scope)?;
        }
        plan.finish()
    }

    /// The exact size of the archive in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Reads everything once: gives the archive's digest, and checks every blob against its own.
    /// `progress` gets the number of bytes of each piece.
    ///
    /// # Errors
    /// [`PackError`] naming the blob that is missing, changed or unreadable.
    pub fn sha256(&self, store: &(dyn BlobStore + Sync), progress: &dyn Fn(u64)) -> Result<Digest, PackError> {
        let digest = crate::pack::source::digest(&self.source(), store, progress)?;
        Ok(*self.sha256.get_or_init(|| digest))
    }

    /// What [`ImagesTar::sha256`] gave, where it was called.
    pub(crate) fn known_sha256(&self) -> Option<Digest> {
        self.sha256.get().copied()
    }

    /// The archive as a list of pieces, to be streamed.
    pub(crate) fn source(&self) -> Source<'_> {
        let mut source = Source::default();
        for entry in &self.entries {
            source.push(Piece::Bytes(
                header(&entry.name, entry.size, false, MTIME).to_vec().into(),
            ));
            source.push(match &entry.content {
                Content::Bytes(bytes) => Piece::Bytes(bytes.as_slice().into()),
                Content::Blob { digest, compressed } => Piece::Blob {
                    digest: *digest,
                    size: entry.size,
                    compressed: *compressed,
                },
            });
            source.push(Piece::Bytes(vec![0; padding(entry.size)].into()));
        }
        source.push(Piece::Bytes(END.as_slice().into()));
        source
    }
}

/// An unfinished plan.
struct Plan<'a> {
    store: &'a (dyn BlobStore + Sync),
    index: Vec<Descriptor>,
    docker: Vec<DockerImage>,
    made: BTreeMap<Digest, Vec<u8>>,
    documents: BTreeMap<Digest, u64>,
    layers: BTreeMap<Digest, (u64, bool)>,
    checked: BTreeSet<Digest>,
}

impl<'a> Plan<'a> {
    fn empty(store: &'a (dyn BlobStore + Sync)) -> Self {
        Self {
            store,
            index: Vec::new(),
            docker: Vec::new(),
            made: BTreeMap::new(),
            documents: BTreeMap::new(),
            layers: BTreeMap::new(),
            checked: BTreeSet::new(),
        }
    }

    fn image(&mut self, image: &ImageInput, scope: &Scope) -> Result<(), PackError> {
        let missing = |platform: &str| PackError::NoPlatform {
            image: image.name.clone(),
            platform: platform.to_owned(),
        };
        let annotations: BTreeMap<String, String> = [
            (
                NAME_ANNOTATION.to_owned(),
                format!("{}:{}", normalise(&image.name), image.tag),
            ),
            (REF_ANNOTATION.to_owned(), image.tag.clone()),
        ]
        .into();
        match scope {
            Scope::OnePlatform(platform) => {
                let record = image
                    .platforms
                    .get(platform)
                    .ok_or_else(|| missing(&platform.to_string()))?;
                let mut descriptor = self.platform(image, platform, record)?;
                descriptor.annotations = annotations;
                self.index.push(descriptor);
                self.docker_image(record, format!("{}:{}", image.name, image.tag));
            }
            Scope::AllPlatforms => {
                if image.platforms.is_empty() {
                    return Err(missing("any platform"));
                }
                let mut manifests = Vec::new();
                for (platform, record) in &image.platforms {
                    manifests.push(self.platform(image, platform, record)?);
                    let suffix = platform.suffix();
                    self.docker_image(record, format!("{}:{}-{suffix}", image.name, image.tag));
                }
                let json = to_json(&Index::of(manifests))?;
                let digest = Digest::of(&json);
                self.index.push(Descriptor {
                    media_type: INDEX.to_owned(),
                    digest,
                    size: json.len() as u64,
                    platform: None,
                    annotations,
                });
                self.made.insert(digest, json);
            }
        }
        Ok(())
    }

    /// Takes the blobs of one image on one platform in, and describes its manifest.
    fn platform(
        &mut self,
        image: &ImageInput,
        platform: &Platform,
        record: &PlatformImage,
    ) -> Result<Descriptor, PackError> {
        let wrong = |source| PackError::Image {
            image: image.name.clone(),
            platform: platform.to_string(),
            source,
        };
        if *platform != record.platform {
            return Err(wrong(crate::image::check::ImageMismatch::Platform {
                found: record.platform.to_string(),
                expected: platform.to_string(),
            }));
        }
        let json = self.document(&record.manifest, record.manifest_size)?;
        let manifest = check_manifest(&json, record).map_err(wrong)?;
        let config = self.document(&record.config, record.config_size)?;
        check_config(&config, record).map_err(wrong)?;
        for layer in &record.layers {
            self.layer(layer)?;
        }
        Ok(Descriptor {
            media_type: manifest.media_type.unwrap_or_else(|| MANIFEST.to_owned()),
            digest: record.manifest,
            size: record.manifest_size,
            platform: Some(PlatformObject::from(platform)),
            annotations: BTreeMap::new(),
        })
    }

    fn docker_image(&mut self, record: &PlatformImage, tag: String) {
        self.docker.push(DockerImage {
            config: blob_path(&record.config),
            repo_tags: vec![tag],
            layers: record.layers.iter().map(|layer| blob_path(&layer.digest)).collect(),
        });
    }

    /// Reads a small blob and checks its digest and size.
    fn document(&mut self, digest: &Digest, size: u64) -> Result<Vec<u8>, PackError> {
        if size > MAX_DOCUMENT {
            return Err(PackError::DocumentTooLarge { digest: *digest, size });
        }
        self.size(digest, size)?;
        let unreadable = |source| PackError::Blob {
            digest: *digest,
            source,
        };
        let mut bytes = Vec::new();
        let file = self.store.open(digest).map_err(unreadable)?;
        file.take(MAX_DOCUMENT + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        let found = Digest::of(&bytes);
        if found != *digest {
            return Err(PackError::BlobChanged { digest: *digest, found });
        }
        self.documents.insert(*digest, size);
        Ok(bytes)
    }

    fn layer(&mut self, layer: &LayerRecord) -> Result<(), PackError> {
        self.size(&layer.digest, layer.size)?;
        let compression = Compression::of_media_type(&layer.media_type).map_err(|source| PackError::Layer {
            digest: layer.digest,
            source,
        })?;
        self.layers
            .insert(layer.digest, (layer.size, compression != Compression::None));
        Ok(())
    }

    fn size(&mut self, digest: &Digest, recorded: u64) -> Result<(), PackError> {
        if !self.checked.insert(*digest) {
            return Ok(());
        }
        let digest = *digest;
        let found = self
            .store
            .size(&digest)
            .map_err(|source| PackError::Blob { digest, source })?;
        if found == recorded {
            Ok(())
        } else {
            Err(PackError::BlobSize {
                digest,
                found,
                recorded,
            })
        }
    }

    fn finish(self) -> Result<ImagesTar, PackError> {
        let bytes = |name: &str, bytes: Vec<u8>| Entry {
            name: name.to_owned(),
            size: bytes.len() as u64,
            content: Content::Bytes(bytes),
        };
        let mut entries = vec![
            bytes("oci-layout", LAYOUT.to_vec()),
            bytes("index.json", to_json(&Index::of(self.index))?),
            bytes("manifest.json", to_json(&self.docker)?),
        ];
        let mut documents: BTreeMap<Digest, Entry> = BTreeMap::new();
        for (digest, json) in self.made {
            documents.insert(digest, bytes(&blob_path(&digest), json));
        }
        let blob = |digest: Digest, size, compressed| Entry {
            name: blob_path(&digest),
            size,
            content: Content::Blob { digest, compressed },
        };
        for (digest, size) in self.documents {
            documents.insert(digest, blob(digest, size, false));
        }
        entries.extend(documents.into_values());
        entries.extend(self.layers.into_iter().map(|(digest, (size, c))| blob(digest, size, c)));
        let size = entries
            .iter()
            .map(|e| 512 + e.size + padding(e.size) as u64)
            .sum::<u64>();
        Ok(ImagesTar {
            entries,
            size: size + END.len() as u64,
            sha256: OnceLock::new(),
        })
    }
}

fn to_json(document: &impl serde::Serialize) -> Result<Vec<u8>, PackError> {
    serde_json::to_vec(document).map_err(PackError::Json)
}
