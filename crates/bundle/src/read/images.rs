//! The checks of what is inside `images.tar`.
//!
//! One pass does all: a second thread hashes the archive as a whole, while this one reads the images' documents, hashes
//! each layer where [`Layers::Hashed`] asks for it, and notes where each blob lies. What the manifest records must be
//! there, each blob once, and nothing else; the images' own documents must say what the records say.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread;

use super::error::VerifyError;
use super::expect::{Place, expect_digest, expect_size, name_of, small};
use super::located::{Located, Location, Portion};
use super::tar::{nothing_follows, walk};
use super::trust::Layers;
use crate::digest::{Digest, Hasher, hash_all};
use crate::image::check::{check_config, check_manifest};
use crate::manifest::{Manifest, PlatformImage};
use crate::names::IMAGES;
use crate::oci::{DockerImage, INDEX, Index, LAYOUT, MAX_DOCUMENT, blob_of_path, blob_path};
use crate::stream::{CHUNK, drain};
use crate::tar_entry::Entry;

/// How many pieces wait for the hashing thread.
const WAITING: usize = 8;

/// Checks the archive that `content` gives, and tells where its blobs are.
pub(super) fn check_images(
    manifest: &Manifest,
    content: &mut Portion<'_>,
    layers: Layers,
    progress: &dyn Fn(u64),
) -> Result<HashMap<Digest, Place>, VerifyError> {
    thread::scope(|scope| {
        let (pieces, receiver) = sync_channel::<Vec<u8>>(WAITING);
        let (give_back, hashed) = channel();
        let hashing = scope.spawn(move || {
            let mut hasher = Hasher::new();
            for piece in receiver {
                hasher.update(&piece);
                // It is not needed after the last one.
                give_back.send(piece).ok();
            }
            hasher.finish()
        });
        let mut tee = Tee {
            inner: content,
            piece: Vec::with_capacity(CHUNK),
            pieces,
            hashed,
            progress,
        };
        let mut images = Images::new(manifest, layers);
        let checked = walk(&mut tee, |entry, content| {
            images.entry(entry, content)?;
            Ok(ControlFlow::Continue(()))
        })
        .and_then(|_| nothing_follows(&mut tee))
        .and_then(|()| images.finish());
        tee.finish();
        let whole = hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let blobs = checked?;
        expect_digest(IMAGES, whole, manifest.images_sha256.0)?;
        Ok(blobs)
    })
}

/// Gives a copy of all that is read to the hashing thread.
struct Tee<'a, 'b> {
    inner: &'a mut Portion<'b>,
    piece: Vec<u8>,
    pieces: SyncSender<Vec<u8>>,
    /// Pieces to be used again: memory that is new each time costs more than the copying.
    hashed: Receiver<Vec<u8>>,
    progress: &'a dyn Fn(u64),
}

impl Tee<'_, '_> {
    fn send(&mut self) {
        let mut empty = self.hashed.try_recv().unwrap_or_else(|_| Vec::with_capacity(CHUNK));
        empty.clear();
        let piece = std::mem::replace(&mut self.piece, empty);
        (self.progress)(piece.len() as u64);
        // The thread ends only when this sender does, or by a panic, which `join` passes on.
        let _panicked = self.pieces.send(piece);
    }

    fn finish(mut self) {
        self.send();
    }
}

impl Read for Tee<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(CHUNK);
        let count = self.inner.read(&mut buffer[..want])?;
        if self.piece.len() + count > CHUNK {
            self.send();
        }
        self.piece.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

impl Located for Tee<'_, '_> {
    fn location(&mut self) -> io::Result<Location> {
        self.inner.location()
    }
}

/// What a blob is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Manifest,
    Config,
    Layer,
    /// A multi-platform index: announced by `index.json`, not by the bundle's manifest.
    Index,
}

/// The check in progress.
struct Images<'a> {
    manifest: &'a Manifest,
    layers: Layers,
    /// Blobs that must still come.
    awaited: HashMap<Digest, (Kind, u64)>,
    found: HashMap<Digest, Place>,
    /// How many of the three documents at the archive's start were seen.
    documents: usize,
}

impl<'a> Images<'a> {
    fn new(manifest: &'a Manifest, layers: Layers) -> Self {
        let mut awaited = HashMap::new();
        for (_, image) in records(manifest) {
            awaited.insert(image.manifest, (Kind::Manifest, image.manifest_size));
            awaited.insert(image.config, (Kind::Config, image.config_size));
            for layer in &image.layers {
                awaited.insert(layer.digest, (Kind::Layer, layer.size));
            }
        }
        Self {
            manifest,
            layers,
            awaited,
            found: HashMap::new(),
            documents: 0,
        }
    }

    fn entry(&mut self, entry: &Entry, content: &mut Portion<'_>) -> Result<(), VerifyError> {
        const DOCUMENTS: [&str; 3] = ["oci-layout", "index.json", "manifest.json"];
        let name = name_of(&entry.name)?;
        if let Some(expected) = DOCUMENTS.get(self.documents) {
            if name.as_str() != *expected {
                let (found, expected) = (inside(name.as_str()), inside(expected));
                return Err(VerifyError::OutOfOrder { found, expected });
            }
            let json = small(&inside(expected), entry.size, MAX_DOCUMENT, content)?;
            self.documents += 1;
            return match *expected {
                "oci-layout" if json == LAYOUT => Ok(()),
                "oci-layout" => Err(VerifyError::ForeignImage((*expected).to_owned())),
                "index.json" => self.index(&json),
                _ => self.docker(&json),
            };
        }
        match blob_of_path(name.as_str()) {
            Some(digest) => self.blob(digest, name.as_str(), entry.size, content),
            None if DOCUMENTS.contains(&name.as_str()) => Err(VerifyError::Duplicate(inside(name.as_str()))),
            None => Err(VerifyError::Unexpected(inside(name.as_str()))),
        }
    }

    /// `index.json`: every image is a recorded manifest, or an index that must then come.
    fn index(&mut self, json: &[u8]) -> Result<(), VerifyError> {
        let index: Index = read(json, "index.json")?;
        for image in index.manifests {
            match self.awaited.get(&image.digest) {
                Some((Kind::Manifest, size)) if *size == image.size => {}
                None | Some((Kind::Index, _)) if image.media_type == INDEX && image.size <= MAX_DOCUMENT => {
                    self.awaited.insert(image.digest, (Kind::Index, image.size));
                }
                _ => return Err(VerifyError::ForeignImage("index.json".to_owned())),
            }
        }
        // Every index has an image of the manifest, so there cannot be more of them than images.
        let indexes = self.awaited.values().filter(|(kind, _)| *kind == Kind::Index).count();
        if indexes > self.manifest.image_details.len() {
            return Err(VerifyError::ForeignImage("index.json".to_owned()));
        }
        Ok(())
    }

    /// `manifest.json` of the Docker form: every image is a recorded configuration with its layers.
    fn docker(&self, json: &[u8]) -> Result<(), VerifyError> {
        let images: Vec<DockerImage> = read(json, "manifest.json")?;
        let known = |image: &DockerImage| {
            records(self.manifest).any(|(_, record)| {
                let layers = record.layers.iter().map(|layer| blob_path(&layer.digest));
                image.config == blob_path(&record.config) && layers.eq(image.layers.iter().cloned())
            })
        };
        match images.iter().all(known) {
            true => Ok(()),
            false => Err(VerifyError::ForeignImage("manifest.json".to_owned())),
        }
    }

    fn blob(&mut self, digest: Digest, name: &str, size: u64, content: &mut Portion<'_>) -> Result<(), VerifyError> {
        let Some((kind, expected)) = self.awaited.remove(&digest) else {
            return Err(match self.found.contains_key(&digest) {
                true => VerifyError::Duplicate(inside(name)),
                false => VerifyError::Unexpected(inside(name)),
            });
        };
        expect_size(&inside(name), size, expected)?;
        let location = content.location()?;
        match (kind, self.layers) {
            (Kind::Layer, Layers::WhenRead) => drop(drain(content)?),
            (Kind::Layer, Layers::Hashed) => {
                let (found, _) = hash_all(content)?;
                expect_digest(&inside(name), found, digest)?;
            }
            _ => {
                let json = small(&inside(name), size, MAX_DOCUMENT, content)?;
                expect_digest(&inside(name), Digest::of(&json), digest)?;
                self.document(kind, digest, name, &json)?;
            }
        }
        self.found.insert(digest, Place { location, size, digest });
        Ok(())
    }

    /// Compares an image's document with all records that name it.
    fn document(&self, kind: Kind, digest: Digest, name: &str, json: &[u8]) -> Result<(), VerifyError> {
        if kind == Kind::Index {
            let index: Index = read(json, name)?;
            let recorded: BTreeSet<Digest> = records(self.manifest).map(|(_, record)| record.manifest).collect();
            return match index.manifests.iter().all(|image| recorded.contains(&image.digest)) {
                true => Ok(()),
                false => Err(VerifyError::ForeignImage(name.to_owned())),
            };
        }
        for (image, record) in records(self.manifest) {
            let compared = match kind {
                Kind::Manifest if record.manifest == digest => check_manifest(json, record).map(drop),
                Kind::Config if record.config == digest => check_config(json, record),
                _ => Ok(()),
            };
            compared.map_err(|source| VerifyError::Image {
                image: image.to_owned(),
                platform: record.platform.to_string(),
                source,
            })?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<HashMap<Digest, Place>, VerifyError> {
        match self.awaited.keys().min() {
            Some(digest) => Err(VerifyError::Missing(inside(&blob_path(digest)))),
            None => Ok(std::mem::take(&mut self.found)),
        }
    }
}

/// Every image on every platform, with its name.
fn records(manifest: &Manifest) -> impl Iterator<Item = (&str, &PlatformImage)> {
    manifest
        .image_details
        .iter()
        .flat_map(|image| image.platforms.iter().map(|record| (image.name.as_str(), record)))
}

fn read<T: serde::de::DeserializeOwned>(json: &[u8], name: &str) -> Result<T, VerifyError> {
    serde_json::from_slice(json).map_err(|source| VerifyError::ImageDocument {
        name: name.to_owned(),
        source,
    })
}

/// How errors call an entry of `images.tar`.
fn inside(name: &str) -> String {
    format!("{IMAGES}/{name}")
}
