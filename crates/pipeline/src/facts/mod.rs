//! What is so: everything about the repository that a plan depends on, read once.
//!
//! Only files and git are asked here; the machine (Docker, disk) is [`crate::build::buildx`]'s. Nothing is
//! judged: a file that is missing is a fact like any other, and [`crate::preflight`] says what it means.

pub(crate) mod changelog;
pub(crate) mod compose;
pub(crate) mod dockerfile;
pub(crate) mod git;
pub(crate) mod lock_file;
mod repository;
pub mod vendored;
mod workspace;

pub(crate) use repository::{Facts, tagged_version};
pub use workspace::Workspace;
pub(crate) use workspace::{empty_directory, image_references, layout_directory, target_name, updater_directory};
