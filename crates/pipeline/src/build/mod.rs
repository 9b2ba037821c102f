//! Docker: building the images of a release with `docker buildx bake`.

mod bake_file;
pub mod buildx;
pub(crate) mod exclusive;

pub use bake_file::{BakeFile, Target};
