//! A simulated device, for tests of this crate and of the program around it.
//!
//! [`world`] is images, containers, a database with rows that a witness knows, and a clock that runs only when a test
//! waits. [`bundles`] makes small real bundles. What real engines do is tested in `xtask/tests/devices`.

#![expect(clippy::unwrap_used, missing_docs, reason = "only tests use it")]

pub mod bundles;
pub mod device;
mod engine;
pub mod sample;
pub mod world;
