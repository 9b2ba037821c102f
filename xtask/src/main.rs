//! `cargo xtask`: releases by [`pipeline`], and this repository's own chores.

use std::{path::Path, process::ExitCode};

use clap::{Parser, Subcommand};
use xtask::{bench, checkout, ci, setup};

/// Examples, as `--help` shows them.
const SETUP_EXAMPLES: &str = "Examples:
  cargo xtask setup --plan   show what is missing, change nothing
  cargo xtask setup          install it";
const CI_EXAMPLES: &str = "Examples:
  cargo xtask ci                                    run every check, stop at the first failure
  cargo xtask ci --keep-going                       run every check
  cargo xtask ci --only architecture                check imports between files (a second, no network)
  cargo xtask ci --only format --only lint          run two checks";
const BENCH_EXAMPLES: &str = "Examples:
  cargo xtask bench pack         measure packing
  cargo xtask bench pack --help  show the options";
const TORTURE_EXAMPLES: &str = "Examples:
  cargo xtask torture   cut the power at every step of an update (hours)";

/// Build, sign and pack releases; look after this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Xtask {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Pipeline(pipeline::cli::Command),
    #[command(flatten)]
    Chore(Chore),
}

/// What is about this repository, not about a release.
#[derive(Debug, Subcommand)]
enum Chore {
    /// Make this machine able to build and test: engine, buildx, emulation, base images, tools
    #[command(after_help = SETUP_EXAMPLES)]
    Setup {
        /// Only say what would be done
        #[arg(long)]
        plan: bool,
    },
    /// Run the whole check: format, lints, tests, docs, dependencies, end-to-end
    #[command(after_help = CI_EXAMPLES)]
    Ci(ci::Options),
    /// Measure against the procedure that this replaces
    #[command(subcommand, after_help = BENCH_EXAMPLES)]
    Bench(bench::Bench),
    /// Run the heavy tests that `ci` leaves out
    #[command(after_help = TORTURE_EXAMPLES)]
    Torture,
}

fn main() -> ExitCode {
    let done = match Xtask::parse().command {
        Command::Pipeline(command) => return pipeline::cli::run(command),
        Command::Chore(chore) => checkout::root().and_then(|root| run(&root, chore)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command that is about the checkout in `root`.
fn run(root: &Path, chore: Chore) -> anyhow::Result<()> {
    match chore {
        Chore::Setup { plan: true } => ci::setup(root, setup::Mode::Plan),
        Chore::Setup { plan: false } => ci::setup(root, setup::Mode::Execute),
        Chore::Ci(options) => ci::run(root, &options),
        Chore::Bench(bench) => bench::run(root, &bench),
        Chore::Torture => ci::torture(root),
    }
}
