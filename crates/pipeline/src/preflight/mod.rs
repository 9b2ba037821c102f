//! The preflight: everything that stands against a release, all at once, each with what mends it.
//!
//! [`repository`] judges facts without any I/O. [`machine`] judges what [`crate::build::buildx`] found out
//! about Docker and the disk.

mod compose;
mod machine;
pub(crate) mod offline;
mod publishing;
mod ready;
mod registries;
mod repository;
mod stages;
mod targets;
mod work_tree;

pub(crate) use ready::{Ready, ready};
pub(crate) use ready::{check, prepare};
pub(crate) use stages::check as check_stages;
