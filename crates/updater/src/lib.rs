//! The updater: the program on a device, around the library `device`.
//!
//! ```text
//! cli       what a person types          daemon    applies what comes, does what the page asks for
//! web       the updates page, its API    github    newer versions: looked for, downloaded
//! install   first installation, uninstallation
//! ```
//!
//! Architecture invariants: everything that acts on the product is `device`'s; the page asks, and the daemon acts; only
//! [`github`] knows GitHub, and nothing that comes from there is trusted.

#[cfg(test)]
mod tests;

pub mod cli;
pub mod daemon;
pub mod github;
pub mod install;
pub mod web;
