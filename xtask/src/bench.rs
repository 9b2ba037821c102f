//! `cargo xtask bench`: measurements against the procedure that this replaces, side by side in one run.

use std::path::Path;

use anyhow::Result;
use clap::Subcommand;

/// What can be measured.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum Bench {
    /// From a warm build cache to the finished bundle
    Pack,
}

/// Measures and prints.
///
/// # Errors
/// A command of the measurement failed.
pub fn run(_root: &Path, bench: &Bench) -> Result<()> {
    match bench {
        Bench::Pack => anyhow::bail!("not written yet"),
    }
}
