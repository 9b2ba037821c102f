//! The release side: turns a repository into signed, reproducible update bundles.
//!
//! ```text
//! declaration → facts → plan → build → collect → sign and pack → checksums → publish
//! ```
//!
//! | module | what it does |
//! |---|---|
//! | [`declaration`] | what the repository says it releases, checked |
//! | [`facts`] | what is so in the repository: git, files, lock, vendored images |
//! | [`check`] | what stands against a release, all at once |
//! | [`plan`] | everything that will be done, as data |
//! | [`release`] | does it |
//! | [`publish`] | makes a GitHub Release of what came out |
//! | [`cli`] | the command line for it |
//!
//! A repository's own xtask is three lines around [`cli::Command`] and [`cli::run`].
//!
//! Architecture invariants: planning does no input or output; only [`machine`] knows Docker; only [`process`]
//! runs programs; only [`publish`] talks to GitHub; the bundle's format is the `bundle` crate's alone.

mod bake;
mod changelog;
mod collect;
mod compose;
mod dockerfile;
mod error;
mod exclusive;
#[cfg(test)]
mod fixture;
mod fsx;
mod git;
mod inspect;
mod installer;
mod interrupt;
mod layers;
mod layout;
mod lock;
mod manifest;
mod offline;
mod pack;
mod part;
mod pins;
mod problem;
mod report;
mod sbom;
mod split;
mod stages;

pub mod check;
pub mod cli;
pub mod declaration;
pub mod facts;
pub mod keys;
pub mod machine;
pub mod plan;
pub mod process;
pub mod publish;
pub mod registry;
pub mod release;
pub mod schema;
pub mod vendor;

pub use error::{Error, Result};
pub use problem::{Problem, Severity};
