//! The device side of a release, as a library: everything that acts on a device.
//!
//! ```text
//! engine       verify → preflight → backup → load → switch → health → commit | undo
//!   │
//! stack        one version on the device: its files, images, health and data
//!   │
//! containers   Docker and Compose           config      /etc/<product>/updater.toml
//! store        updates, releases, journal   control     requests to the daemon, its progress
//!   │
//! system       files, programs, time
//! ```
//!
//! [`state`] says which phase may follow which, [`store`] makes it durable, [`containers`] is the seam to Docker. The
//! program around it (command line, daemon, page, GitHub, installation) is the crate `updater`.
//!
//! Architecture invariants: an intent is durable before its effects; every effect may be repeated; nothing of a bundle is
//! used before it is verified, and nothing of it is extracted to the disk to be loaded; trust needs no clock. Nothing here
//! serves or fetches over a network.

#[cfg(test)]
mod tests;

pub mod config;
pub mod containers;
pub mod control;
pub mod engine;
pub mod error;
pub mod stack;
pub mod state;
pub mod store;
pub mod system;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use engine::plan::Plan;
pub use error::{Error, Exit, Problem, Result};

/// This program's version.
pub fn version() -> semver::Version {
    semver::Version::parse(env!("CARGO_PKG_VERSION")).unwrap_or(semver::Version::new(0, 0, 0))
}
