//! Reading a bundle: one verification pass, then any content in place.
//!
//! [`verify`] opens nothing and extracts nothing: it is handed the open file, reads it once from
//! front to back, and gives back a [`VerifiedBundle`] that owns the file. What is used later is thus
//! what was verified, and each content is hashed again while it is read; layers, on a device, only then ([`Layers`]).
//!
//! The pass: manifest → signature (before anything of the manifest is read) → each file's size and
//! digest → `images.tar` as a whole and blob by blob → end of the archive, nothing after it. A file
//! that was cut anywhere, between two gzip members too, lacks that end and is refused.
//!
//! Memory stays at a few buffers, for a bundle of any size.
//!
//! [`verify_with_legacy`] also takes bundles of the old release procedure, where a bundle need not be signed.

mod archive;
mod check;
mod error;
mod expect;
mod images;
mod legacy;
mod located;
mod tar;
mod trust;
mod unverified;
mod verified;
mod zip;

pub use error::VerifyError;
pub use legacy::Assumed;
pub use trust::{Layers, Origin, Trust};
pub use unverified::{UnverifiedManifest, read_manifest};
pub use verified::{Verified, VerifiedBundle, verify, verify_with_legacy};
