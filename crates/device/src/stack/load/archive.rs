//! The archive of one image for one platform, streamed from a bundle to the engine.
//!
//! ```text
//! classic store      manifest.json, configuration, missing layers                        (Docker archive, no name)
//! containerd store   oci-layout, index.json, manifest, configuration, missing layers     (OCI layout, a temporary name)
//! ```
//!
//! Everything is known before the first byte is written: the entries, their sizes, the size of the whole. Blobs are
//! copied in place, in constant memory, and hashed again. The same image gives the same bytes.
//!
//! Engines before 23 cannot read layers compressed with zstd, so these get them uncompressed. The engine itself compares
//! each layer with its diff ID.

use std::{
    collections::BTreeSet,
    io::{self, Read, Seek, Write},
};

use bundle::{
    Compression, Digest,
    image::layout::{
        DOCKER_FILE, INDEX_FILE, LAYOUT, LAYOUT_FILE, TAR_END, blob_path, docker_list_of_one, index_of_one, tar_header,
        tar_padding,
    },
    manifest::{LayerRecord, PlatformImage},
    read::VerifiedBundle,
    uncompressed,
};

use crate::containers::{EngineFacts, ImageStore};

/// The first engine whose classic store reads layers compressed with zstd (release notes of 23.0, moby/moby#41759); 20.10
/// does not (tried).
const READS_ZSTD: u32 = 23;

/// Bytes that are copied at once.
const CHUNK: usize = 128 * 1024;

/// A planned archive.
#[derive(Debug)]
pub(crate) struct Archive<'a> {
    entries: Vec<Entry<'a>>,
}

#[derive(Debug)]
struct Entry<'a> {
    name: String,
    size: u64,
    content: Content<'a>,
}

#[derive(Debug)]
enum Content<'a> {
    Bytes(Vec<u8>),
    Blob(Digest),
    Uncompressed(&'a LayerRecord),
}

impl<'a> Archive<'a> {
    /// Plans the archive of `image` for the engine that `facts` describes, with the layers in `missing`. `name` is the
    /// image's name in a containerd store.
    pub(crate) fn plan<S: Read + Seek>(
        bundle: &mut VerifiedBundle<S>,
        image: &'a PlatformImage,
        facts: &EngineFacts,
        missing: &BTreeSet<Digest>,
        name: &str,
    ) -> io::Result<Self> {
        let mut entries = match facts.store {
            ImageStore::Classic => vec![bytes(DOCKER_FILE, docker_list_of_one(image)?)],
            ImageStore::Containerd => {
                let mut manifest = Vec::new();
                bundle.open_blob(&image.manifest)?.read_to_end(&mut manifest)?;
                vec![
                    bytes(LAYOUT_FILE, LAYOUT.to_vec()),
                    bytes(INDEX_FILE, index_of_one(image, &manifest, name)?),
                    bytes(&blob_path(&image.manifest), manifest),
                ]
            }
        };
        entries.push(Entry {
            name: blob_path(&image.config),
            size: image.config_size,
            content: Content::Blob(image.config),
        });
        let mut planned = BTreeSet::new();
        for layer in &image.layers {
            // A layer that appears twice, as empty ones do, is written once.
            if missing.contains(&layer.digest) && planned.insert(layer.digest) {
                entries.push(Entry {
                    name: blob_path(&layer.digest),
                    size: size_as_sent(layer, facts),
                    content: if is_uncompressed_for(layer, facts) {
                        Content::Uncompressed(layer)
                    } else {
                        Content::Blob(layer.digest)
                    },
                });
            }
        }
        Ok(Self { entries })
    }

    /// The exact size of the archive in bytes.
    #[cfg(test)]
    pub(super) fn size(&self) -> u64 {
        let entry = |entry: &Entry<'_>| 512 + entry.size + tar_padding(entry.size) as u64;
        self.entries.iter().map(entry).sum::<u64>() + TAR_END.len() as u64
    }

    /// Writes the archive. `progress` gets the number of bytes of each piece.
    pub(crate) fn write<S: Read + Seek>(
        &self,
        bundle: &mut VerifiedBundle<S>,
        out: &mut dyn Write,
        progress: &dyn Fn(u64),
    ) -> io::Result<()> {
        let mut buffer = vec![0; CHUNK];
        for entry in &self.entries {
            write(out, &tar_header(&entry.name, entry.size), progress)?;
            let copied = match &entry.content {
                Content::Bytes(bytes) => copy(&mut bytes.as_slice(), &mut buffer, out, progress)?,
                Content::Blob(digest) => copy(&mut bundle.open_blob(digest)?, &mut buffer, out, progress)?,
                Content::Uncompressed(layer) => {
                    let blob = bundle.open_blob(&layer.digest)?;
                    let layer = uncompressed(blob, &layer.media_type).map_err(io::Error::other)?;
                    // A longer blob would run into the next entry.
                    copy(&mut layer.take(entry.size + 1), &mut buffer, out, progress)?
                }
            };
            if copied != entry.size {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("{} has another size than the manifest says", entry.name),
                ));
            }
            write(out, &vec![0; tar_padding(entry.size)], progress)?;
        }
        write(out, TAR_END, progress)
    }
}

/// The size in bytes of a layer in the form that the engine is sent.
pub(super) fn size_as_sent(layer: &LayerRecord, facts: &EngineFacts) -> u64 {
    if is_uncompressed_for(layer, facts) {
        layer.uncompressed_size
    } else {
        layer.size
    }
}

fn is_uncompressed_for(layer: &LayerRecord, facts: &EngineFacts) -> bool {
    let zstd = Compression::of_media_type(&layer.media_type).is_ok_and(|compression| compression == Compression::Zstd);
    zstd && facts.store == ImageStore::Classic && facts.major() < READS_ZSTD
}

fn bytes(name: &str, bytes: Vec<u8>) -> Entry<'static> {
    Entry {
        name: name.to_owned(),
        size: bytes.len() as u64,
        content: Content::Bytes(bytes),
    }
}

pub(super) fn copy(
    reader: &mut dyn Read,
    buffer: &mut [u8],
    out: &mut dyn Write,
    progress: &dyn Fn(u64),
) -> io::Result<u64> {
    let mut total = 0;
    loop {
        match reader.read(buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => {
                write(out, &buffer[..count], progress)?;
                total += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn write(out: &mut dyn Write, bytes: &[u8], progress: &dyn Fn(u64)) -> io::Result<()> {
    out.write_all(bytes)?;
    progress(bytes.len() as u64);
    Ok(())
}
