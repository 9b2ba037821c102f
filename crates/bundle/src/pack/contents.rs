//! What a bundle consists of, compared with its manifest.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::source;
use crate::digest::{Digest, hash_all};
use crate::error::PackError;
use crate::image::images_tar::ImagesTar;
use crate::manifest::{FileRecord, Manifest};
use crate::names::EntryName;
use crate::store::BlobStore;

/// Where a file's content comes from.
#[derive(Debug, Clone)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// This file, read as a stream.
    Path(PathBuf),
}

impl Content {
    /// The content's digest and size, for its [`FileRecord`].
    ///
    /// # Errors
    /// What opening and reading the file gives.
    pub fn measure(&self) -> io::Result<(Digest, u64)> {
        match self {
            Self::Bytes(bytes) => Ok((Digest::of(bytes), bytes.len() as u64)),
            Self::Path(path) => hash_all(File::open(path)?),
        }
    }
}

/// A file to be packed.
#[derive(Debug, Clone)]
pub struct PackFile {
    /// Its path in the bundle.
    pub name: EntryName,
    /// Whether it is a program.
    pub executable: bool,
    /// Its content.
    pub content: Content,
}

/// All that a bundle consists of.
pub struct Contents<'a> {
    /// The exact bytes of `manifest.json`, which describe everything else.
    pub manifest: &'a [u8],
    /// The text of `manifest.json.minisig`.
    pub signature: Option<&'a str>,
    /// The files, in the manifest's order.
    pub files: &'a [PackFile],
    /// The images.
    pub images: &'a ImagesTar,
    /// Where the images' blobs come from.
    pub store: &'a (dyn BlobStore + Sync),
    /// The modification time of every entry, in Unix seconds: the released commit's.
    pub mtime: u64,
}

impl Contents<'_> {
    /// Reads the manifest and checks that it describes exactly these contents.
    pub(super) fn described(&self) -> Result<Manifest, PackError> {
        let manifest = Manifest::from_json(self.manifest)?;
        if self.files.len() != manifest.files.len() {
            let (have, said) = (self.files.len(), manifest.files.len());
            return Err(PackError::NotAsManifest(format!("{have} files, not {said}")));
        }
        for (file, record) in self.files.iter().zip(&manifest.files) {
            if file.name != record.name || file.executable != record.executable {
                let (have, said) = (&file.name, &record.name);
                return Err(PackError::NotAsManifest(format!("file `{have}` is not `{said}`")));
            }
        }
        let sha256 = match self.images.known_sha256() {
            Some(known) => known,
            None => self.images.sha256(self.store, &|_| {})?,
        };
        if (sha256, self.images.size()) != (manifest.images_sha256.0, manifest.images_size) {
            return Err(PackError::NotAsManifest("images.tar is another one".to_owned()));
        }
        Ok(manifest)
    }
}

/// A file as a piece to be streamed, which must turn out to be what `record` says.
pub(super) fn file_piece<'a>(file: &'a PackFile, record: &FileRecord) -> Result<source::Piece<'a>, PackError> {
    match &file.content {
        Content::Bytes(bytes) => {
            if (Digest::of(bytes), bytes.len() as u64) != (record.sha256.0, record.size) {
                return Err(PackError::NotAsManifest(format!("file `{}` differs", file.name)));
            }
            Ok(source::Piece::Bytes(bytes.as_slice().into()))
        }
        Content::Path(path) => Ok(source::Piece::File {
            path,
            sha256: record.sha256.0,
            size: record.size,
        }),
    }
}
