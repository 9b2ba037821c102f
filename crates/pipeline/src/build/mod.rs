//! Docker: building the images of a release with `docker buildx bake`.

pub mod buildx;
pub(crate) mod exclusive;
