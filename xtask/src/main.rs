//! `cargo xtask`: releases by [`pipeline`], and this repository's own chores.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};
use xtask::{bench, ci, setup};

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
    /// Make this machine able to build and test: engine, buildx, emulation, base images, tools
    Setup {
        /// Only say what would be done
        #[arg(long)]
        plan: bool,
    },
    /// Run the whole check: format, lints, tests, docs, dependencies, end-to-end
    Ci(ci::Options),
    /// Measure against the procedure that this replaces
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Run the heavy tests that `ci` leaves out
    Torture,
}

fn main() -> ExitCode {
    let done = match Xtask::parse().command {
        Command::Pipeline(command) => return pipeline::cli::run(command),
        Command::Setup { plan } => ci::setup(&root(), if plan { setup::Mode::Plan } else { setup::Mode::Execute }),
        Command::Ci(options) => ci::run(&root(), &options),
        Command::Bench(bench) => bench::run(&root(), &bench),
        Command::Torture => ci::torture(&root()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    package.parent().map_or_else(|| package.clone(), PathBuf::from)
}
