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
//! | [`preflight`] | blocking problems, all at once |
//! | [`plan`] | everything that will be done, as data |
//! | [`release`] | does it |
//! | [`publish`] | makes a GitHub Release of what came out |
//! | [`cli`] | the command line for it |
//!
//! A repository's own xtask is three lines around [`cli::Command`] and [`cli::run`].
//!
//! Architecture invariants: planning does no input or output; only [`build`] knows Docker; only [`system::process`]
//! runs programs; only [`publish`] talks to GitHub; the bundle's format is the `bundle` crate's alone.

mod collect;
mod error;
mod inspect;
#[cfg(test)]
mod tests;

mod build;
pub mod cli;
pub mod declaration;
pub mod facts;
pub mod fetch;
pub mod pack;
mod plan;
mod preflight;
mod publish;
mod release;
mod request;
pub mod system;

pub use bundle::{Problem, Severity};
pub use error::{Error, Result};
