//! The commands, and what runs each.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use super::{
    arguments::workspace,
    bundle::{BundleCommand, bundle_command},
    changelog::{self, ChangelogArgs},
    check::{CheckArgs, check},
    output::{out, show},
    publish::{self, PublishArgs},
    release::{BuildArgs, ReleaseArgs, build_command, release_command},
    vendor::{LockArgs, VendorArgs, lock, vendor},
};
use crate::{Error, Problem, Result, declaration::schema, pack::keys, system::report::note};

/// The pipeline's commands; flatten them into your own.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build, sign and pack a release into dist/
    #[command(after_help = "Examples:
  cargo xtask release 2.1.0                           all platforms, into dist/
  cargo xtask release 2.1.0 --plan                    show every step, change nothing
  cargo xtask release 2.1.0 --platform linux/arm64    one platform only; the bundle's name says so
  cargo xtask release 2.1.0 --offline                 with what `cargo xtask vendor` saved, no network
  cargo xtask release 2.1.0 --part a.zip --part b.zip merge what native runners built
  cargo xtask release 2.1.0 --publish                 make a GitHub Release of it")]
    Release(ReleaseArgs),
    /// Make a GitHub Release of bundles that are there, or finish one
    #[command(after_help = "Examples:
  cargo xtask publish dist/webmacs-update-2.1.0*.tar.gz         publish, or go on where it stopped
  cargo xtask publish dist/webmacs-update-2.1.0*.tar.gz --plan  show what is left to do, change nothing

GITHUB_TOKEN (or GH_TOKEN) is a token that may write the repository's contents. GITHUB_REPOSITORY names the
repository where none is declared; GITHUB_API_URL is the API of a GitHub Enterprise server.")]
    Publish(PublishArgs),
    /// Build the images of some platforms as a part for another machine to merge
    #[command(after_help = "Example:
  cargo xtask build 2.1.0 --platform linux/arm64 --output dist/part-arm64")]
    Build(BuildArgs),
    /// Report the problems that block a release, each with a fix
    Check(CheckArgs),
    /// Pin every registry image by digest in the lock file
    Lock(LockArgs),
    /// Save base images, registry images, declared stages and crates for builds without a network
    Vendor(VendorArgs),
    /// Make the key that signs bundles
    Keygen(KeygenArgs),
    /// Show what changed since the last version, or write it into the changelog's file
    Changelog(ChangelogArgs),
    /// Look into bundles, and split them
    #[command(subcommand)]
    Bundle(BundleCommand),
    /// Print the JSON Schema of the declaration
    Schema(SchemaArgs),
}

/// Arguments of `keygen`.
#[derive(Debug, Args)]
pub struct KeygenArgs {
    /// Make a key without a password, for a machine that signs alone
    #[arg(long)]
    no_password: bool,
}

/// Arguments of `schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Compare with this file instead, and fail if it differs
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

/// Runs a command, shows what went wrong, and gives the exit code.
pub fn run(command: Command) -> ExitCode {
    match execute(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            show(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn execute(command: Command) -> Result<()> {
    match command {
        Command::Release(args) => release_command(args),
        Command::Publish(args) => publish::run(args),
        Command::Build(args) => build_command(args),
        Command::Check(args) => check(args),
        Command::Lock(args) => lock(args),
        Command::Vendor(args) => vendor(args),
        Command::Keygen(args) => {
            let (public, path) = keys::make(&workspace()?, args.no_password)?;
            note(format_args!(
                "secret key: {} (keep it safe, and a copy elsewhere)",
                path.display()
            ));
            out(public)
        }
        Command::Changelog(args) => changelog::run(&args),
        Command::Bundle(command) => bundle_command(command),
        Command::Schema(args) => schema_command(args),
    }
}

fn schema_command(args: SchemaArgs) -> Result<()> {
    let text = schema::text();
    let Some(path) = args.check else {
        return out(text.trim_end());
    };
    let found = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    if found == text {
        return Ok(());
    }
    let hint = format!("cargo xtask schema > {}", path.display());
    Err(Error::Problems(vec![
        Problem::error(path.display().to_string(), "is not what the declaration's types give").hint(hint),
    ]))
}
