//! Where image blobs come from while packing.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use crate::digest::Digest;

/// Gives the content of blobs. What it gives is never trusted: every reader hashes the blob.
pub trait BlobStore {
    /// Opens the blob.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] where there is no such blob, and what opening gives.
    fn open(&self, digest: &Digest) -> io::Result<File>;

    /// The blob's size in bytes.
    ///
    /// # Errors
    /// As for [`BlobStore::open`].
    fn size(&self, digest: &Digest) -> io::Result<u64>;
}

/// Blobs in the directories of OCI image layouts (OCI image-spec, image-layout.md): `blobs/sha256/<hex>`
/// in the first directory that has it.
#[derive(Debug, Clone)]
pub struct DirStore {
    layouts: Vec<PathBuf>,
}

impl DirStore {
    /// Looks blobs up in these layout directories, in this order.
    pub fn new(layouts: impl IntoIterator<Item = PathBuf>) -> Self {
        Self {
            layouts: layouts.into_iter().collect(),
        }
    }
}

impl BlobStore for DirStore {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        for layout in &self.layouts {
            match File::open(layout.join("blobs/sha256").join(digest.hex())) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => return result,
            }
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "no image layout has this blob"))
    }

    fn size(&self, digest: &Digest) -> io::Result<u64> {
        Ok(self.open(digest)?.metadata()?.len())
    }
}
