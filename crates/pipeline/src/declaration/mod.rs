//! The declaration: what a repository releases, said once, in `[workspace.metadata.release]`.
//!
//! [`raw`] is the shape that may be written; [`Declaration::parse`] checks it and gives the shape that the
//! rest of the pipeline works with, in which nothing contradicts anything. Files that the declaration
//! names are looked at later, by [`crate::facts`] and [`crate::preflight`].

mod check;
mod checked;
mod nearest;
pub mod raw;
mod refused;
pub mod schema;
#[cfg(test)]
mod tests;

pub(crate) use checked::split_tag;
pub use checked::{
    BuildSource, BuiltImage, Declaration, EnvironmentValue, ExtraFile, Image, PrebuiltBinary, RegistryImage, Signing,
    Updater, VendorStage,
};
pub(crate) use nearest::nearest;
pub use raw::{ArchiveKind, Backup, BackupKind, BundleKind, Changelog, Compression, Data, Health, Layers, ROOT};
