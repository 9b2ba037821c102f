//! What can go wrong while packing.

use std::io;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::image::check::ImageMismatch;
use crate::image::layer::LayerError;
use crate::manifest::ManifestError;

/// Why a bundle cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A blob cannot be read.
    #[error("blob {digest} cannot be read: {source}")]
    Blob {
        /// The blob.
        digest: Digest,
        /// What reading gave.
        source: io::Error,
    },
    /// A blob's content is not what its digest says.
    #[error("blob {digest} has changed: its content is now {found}")]
    BlobChanged {
        /// The blob.
        digest: Digest,
        /// The digest of what is there.
        found: Digest,
    },
    /// A blob has another size than recorded.
    #[error("blob {digest} has {found} bytes, but {recorded} are recorded")]
    BlobSize {
        /// The blob.
        digest: Digest,
        /// Its size.
        found: u64,
        /// The recorded size.
        recorded: u64,
    },
    /// An image manifest or configuration is larger than any real one.
    #[error("image document {digest} has {size} bytes, more than the 4 MiB allowed")]
    DocumentTooLarge {
        /// The blob.
        digest: Digest,
        /// Its recorded size.
        size: u64,
    },
    /// A layer has a media type that cannot be packed.
    #[error("layer {digest}: {source}")]
    Layer {
        /// The layer.
        digest: Digest,
        /// What is wrong.
        source: LayerError,
    },
    /// An image's own documents contradict its record.
    #[error("image `{image}` for {platform}: {source}")]
    Image {
        /// The image's name.
        image: String,
        /// The platform.
        platform: String,
        /// The contradiction.
        source: ImageMismatch,
    },
    /// An image is not there for a platform.
    #[error("image `{image}` is not there for {platform}")]
    NoPlatform {
        /// The image's name.
        image: String,
        /// The platform.
        platform: String,
    },
    /// Not an image's name and tag.
    #[error("`{0}` is not an image's name and tag")]
    Reference(String),
    /// Two things have one name.
    #[error("{what} `{name}` is there twice")]
    Twice {
        /// What has the name.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// The manifest is one that no reader would accept.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The manifest and what is to be packed differ.
    #[error("the manifest does not describe what is to be packed: {0}")]
    NotAsManifest(String),
    /// A file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What reading gave.
        source: io::Error,
    },
    /// A document cannot be written as JSON.
    #[error("a document cannot be written: {0}")]
    Json(#[source] serde_json::Error),
    /// The bundle cannot be written.
    #[error("the bundle cannot be written: {0}")]
    Write(#[source] io::Error),
    /// A compressing thread ended before its work was done.
    #[error("a compressing thread ended early")]
    ThreadLost,
}
