//! What a release consists of, as a CycloneDX 1.5 document in JSON: its images with the packages in them, and the crates
//! that its programs were made from.
//!
//! ```text
//! verified bundles → packages of each image and platform ─┐
//! cargo metadata   → crates of programs ──────────────────┴→ one document, the same for the same release
//! ```
//!
//! Packages are read from the lists that dpkg and apk keep in the images' layers, in place. What was copied into an image
//! without either is not seen, but for crates.

mod crates;
mod document;
mod packages;

pub(crate) use document::{Sbom, file_name, write_beside};
