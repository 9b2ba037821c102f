//! `cargo xtask bench`: measurements against the procedure that this replaces, side by side in one run.

mod apply;
mod figures;
mod output;
mod pack;
mod process;
mod product;
mod publish;
mod web;

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, Subcommand};

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum Bench {
    /// From a warm build cache to the finished bundle, beside `docker save`, `sha256sum`, `tar -czf`
    Pack(Runs),
    /// Verifying and loading an update on a device, beside `tar -xzf`, `sha256sum`, `docker load`
    Apply(Runs),
    /// Publishing a bundle of 1.9 GiB: the memory that it needs, and what a rerun asks
    Publish(Runs),
    /// The updater's page, and uploading a bundle to it, beside a plain copy
    Web(Runs),
}

/// Arguments of a measurement.
#[derive(Debug, Args)]
pub struct Runs {
    /// How often each side is run
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Write the table to this file, too
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

/// Measures and prints.
///
/// # Errors
/// A command of the measurement failed.
pub fn run(root: &Path, bench: &Bench) -> Result<()> {
    match bench {
        Bench::Pack(options) => pack::run(root, options.runs, options.write.as_deref()),
        Bench::Apply(options) => apply::run(root, options.runs, options.write.as_deref()),
        Bench::Publish(options) => publish::run(root, options.runs, options.write.as_deref()),
        Bench::Web(options) => web::run(root, options.runs, options.write.as_deref()),
    }
}
