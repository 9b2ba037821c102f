//! From what was built or imported to what a bundle is packed from.
//!
//! Every image of the declaration is looked up in the layouts, its layers are brought into the form that
//! bundles carry ([`crate::collect::layers`]), and it must have every platform. Where a layer's form changed, the
//! image gets a new manifest; its configuration, and with it what runs, stays the same to the byte.

mod gather;
pub(crate) mod layers;
pub(crate) mod layout;
pub(crate) mod part;
mod rewrite;

pub(crate) use gather::Collect;
pub(crate) use gather::ImageSource;
pub(crate) use part::Import;
