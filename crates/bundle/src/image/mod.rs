//! Images in a bundle: layers, OCI layouts, `images.tar`, and whether an image is what the manifest says.

pub(crate) mod check;
pub mod images_tar;
pub(crate) mod layer;
pub mod layout;
pub mod reference;
