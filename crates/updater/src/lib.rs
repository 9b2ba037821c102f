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

#[cfg(test)]
mod tests;

pub mod cli;
pub mod config;
pub mod containers;
pub mod control;
pub mod daemon;
pub mod engine;
pub mod error;
pub mod github;
pub mod install;
pub mod stack;
pub mod state;
pub mod store;
pub mod system;
pub mod web;

pub use engine::adopt::Started;
pub use engine::verify::Plan;
pub use error::{Error, Exit, Problem, Result};
