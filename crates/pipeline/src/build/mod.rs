//! Docker: building the images of a release with `docker buildx bake`.

mod bake_file;
pub(crate) mod buildx;
pub(crate) mod exclusive;
mod images;

pub(crate) use bake_file::{BakeFile, Target};
pub(crate) use images::BuildImages;
