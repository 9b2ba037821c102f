//! The updater: the program on a device, on top of the library `device`.
//!
//! ```text
//! cli       the command line             daemon    applies bundles, runs requests of the API
//! web       the updates page, its API    github    newer versions: check, download
//! install   installation, removal
//! ```
//!
//! Architecture invariants: only `device` acts on the product; the page requests, the daemon acts; only
//! [`github`] knows GitHub, and nothing from there is trusted.

#[cfg(test)]
mod tests;

pub mod cli;
pub mod daemon;
pub mod github;
pub mod install;
pub mod web;
