//! What the tests use: running programs, products to release, images, registries.

pub(crate) mod files;
pub(crate) mod layout;
pub(crate) mod product;
pub(crate) mod registry;
pub(crate) mod run;
pub(crate) mod server;
