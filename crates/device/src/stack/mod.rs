//! One version of the product on the device: its files, images, health and data.

pub mod bundle_files;
pub mod health;
pub mod load;
pub(crate) mod postgres;
pub mod release;
pub mod trust;
