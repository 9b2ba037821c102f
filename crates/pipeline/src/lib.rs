//! The release side: turns a repository into signed, reproducible update bundles.
//!
//! ```text
//! declaration → facts → plan → preflight → build → collect → pack → checksums → publish
//! ```
//!
//! Each module uses only modules below it:
//!
//! | module | what it does |
//! |---|---|
//! | [`cli`] | the command line |
//! | `release` | executes the steps of a plan |
//! | [`fetch`] | `lock` and `vendor`: registry images and stages, before a release |
//! | `preflight` | blocking problems, each with a fix, all at once; gives the plan |
//! | `plan` | everything that a release does, as data; no I/O |
//! | `request` | what is asked for |
//! | `build` | Docker: `docker buildx bake` |
//! | `collect` | images and layers in the form in which bundles carry them |
//! | [`pack`] | manifest, signature, archive, installer and checksums; parts |
//! | `publish` | makes a GitHub Release of bundles |
//! | `inspect` | looks into bundles: manifest, verification, differences, SBOM |
//! | [`facts`] | the state of the repository: git, files, lock file, vendored images |
//! | [`declaration`] | what the repository says it releases, checked |
//! | [`system`] | files, processes, signals, the terminal |
//!
//! [`Error`] names every failure and may be used everywhere. No two files import each other, directly or indirectly.
//!
//! A repository's own xtask is three lines around [`cli::Command`] and [`cli::run`].
//!
//! Architecture invariants: planning does no I/O; only `build` knows Docker; only [`system::process`] runs programs; only
//! `publish` talks to GitHub; the bundle's format is the `bundle` crate's alone.

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
