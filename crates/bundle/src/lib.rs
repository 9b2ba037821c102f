//! The update bundle: its format, in both directions.
//!
//! ```text
//! release side   image::images_tar::ImagesTar::plan → sha256 → manifest::Manifest → signature → pack
//!                  → parts::split, where a bundle is too large to be published whole
//! device side    parts::Source → read::verify → VerifiedBundle (manifest, any blob or file in place)
//! ```
//!
//! A bundle is a `.tar.gz` (or `.zip`) with `manifest.json` first, its minisign signature second,
//! then a few files, and `images.tar` last: an OCI image layout with every image. The manifest holds
//! the digest of everything, and the signature vouches for the manifest.
//!
//! Architecture invariants: this crate knows no Docker engine, no HTTP, no clock, no process and no
//! configuration; it writes only to what it is handed; the same inputs give the same bytes.

mod digest;
mod error;
mod oci;
mod platform;
mod problem;
mod store;
mod stream;
mod tar_entry;
mod text;

pub mod diff;
pub mod image;
pub mod manifest;
pub mod names;
pub mod pack;
pub mod parts;
pub mod read;
pub mod signature;

pub use digest::{Digest, DigestError, Hasher, HashingReader, HashingWriter, HexDigest, hash_all};
pub use error::PackError;
pub use image::check::ImageMismatch;
pub use image::layer::{Compression, LayerError, LayerFacts, measure_layer, uncompressed};
pub use names::file_name::{Archive, BundleName};
pub use platform::{Platform, PlatformError};
pub use problem::{Problem, Severity, WithoutSeverity};
pub use store::{BlobStore, DirStore};
pub use tar_entry::HeaderError;
