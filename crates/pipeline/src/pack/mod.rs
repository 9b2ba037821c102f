//! Packing: manifest, signature and archive of one bundle.
//!
//! A bundle is written beside its place and renamed at the end, so a good one that is there stays until a
//! better one is whole. A stamp remembers what each bundle was made from; a bundle is left alone only when its
//! inputs, its signer, this program **and its own bytes** are what they were.

pub(crate) mod annotations;
mod bundle_file;
mod checksums;
pub(crate) mod collected;
pub(crate) mod installer;
pub mod keys;
pub(crate) mod manifest;
pub(crate) mod part;

pub use bundle_file::{PackBundle, Packed};
pub(crate) use bundle_file::{PackInput, Packer, Present};
pub use checksums::Checksums;
pub use part::WritePart;
