//! The updater: the device side of a release.
//!
//! ```text
//! intake → verify → backup → load → switch → health → commit        (engine)
//!            any failure after backup → restore → failed | stuck    (undo)
//! ```
//!
//! [`state`] says what may follow what, [`store`] makes it durable, [`containers`] is the seam to Docker. Each module's
//! head tells its part.
//!
//! Architecture invariants: an intent is durable before its effects; every effect may be repeated; nothing of a bundle is
//! used before it is verified, and nothing of it is extracted to the disk to be loaded; trust needs no clock.

mod admit;
mod apply;
mod asked;
mod commit;
mod diagnose;
mod legacy;
mod start;
mod undo;

#[cfg(test)]
mod tests;

pub mod bundle_files;
pub mod cli;
pub mod config;
pub mod containers;
pub mod crash;
pub mod daemon;
pub mod docker;
pub mod engine;
pub mod env_file;
pub mod error;
pub mod files;
pub mod github;
pub mod health;
pub mod install;
pub mod intake;
pub mod live;
pub mod load;
pub mod lock;
pub mod network;
pub mod postgres;
pub mod preflight;
pub mod process;
pub mod progress;
pub mod release;
pub mod requests;
pub mod self_update;
pub mod state;
pub mod store;
pub mod trust;
pub mod web;

pub use admit::Plan;
pub use error::{Error, Exit, Problem, Result};
pub use start::Started;
