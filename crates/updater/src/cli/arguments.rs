//! The arguments and their help texts. What a command prints is in its own module.

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand};

use super::{access, github, install, output::Json, verify};

const EXIT_CODES: &str = "\
Exit codes:
  0  done; for `verify`: the bundle is what it should be
  1  something could not be read, written or run, or GitHub does not answer
  2  wrong usage
  3  blocking problems; nothing was changed
  4  the update failed; the previous version runs
  5  the bundle is refused: damaged, incomplete, or not trustworthy
  6  another updater is at work
  7  the device is stuck between two versions and needs a person";

const EXAMPLES: &str = "\
Examples:
  Apply a bundle:                     updater apply webmacs-update-2.1.0.tar.gz
  See first what it would do:         updater apply webmacs-update-2.1.0.tar.gz --plan
  What runs, and what was done:       updater status; updater history
  See what is new, and get it:        updater check; updater download --apply
  Restore the previous version:       updater rollback";

/// Installs and updates a product on this device.
#[derive(Debug, Parser)]
#[command(name = "updater", version, after_help = format!("{EXAMPLES}\n\n{EXIT_CODES}"))]
pub(super) struct Cli {
    /// The configuration; by default the only /etc/*/updater.toml
    #[arg(long, global = true, value_name = "FILE", env = "UPDATER_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// Log more to standard error; repeat for more (-vvv). RUST_LOG decides if it is set
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(super) verbose: u8,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Install the product from a bundle, or repair or update it
    #[command(after_help = install::EXAMPLES)]
    Install(install::InstallArguments),
    /// Remove the product; its data is kept by default
    Uninstall(install::UninstallArguments),
    /// Create a new administrator password, and show it once
    ResetPassword,
    /// Restore the previous updater if the installed one is on trial; called by the service manager
    #[command(hide = true)]
    FallBack,
    /// Check whether this program works on this device; called by the previous updater
    #[command(hide = true)]
    SelfCheck,
    /// Apply bundles dropped into updates/, until stopped
    Daemon,
    /// Start the product; finish or undo an update that was interrupted, and adopt a version that was set by hand
    Start,
    /// Stop the product; its data is kept
    Stop,
    /// Apply a bundle
    #[command(after_help = "Examples:
  updater apply webmacs-update-2.1.0.tar.gz
  updater apply /media/usb/webmacs-update-2.1.0-arm64.tar.gz --plan
  updater apply webmacs-update-2.0.0.tar.gz --allow-downgrade
  updater apply 2.1.0")]
    Apply(ApplyArguments),
    /// Ask GitHub whether there is a newer version
    Check(Json),
    /// Download or resume a version's bundle from GitHub
    #[command(after_help = github::EXAMPLES)]
    Download(github::DownloadArguments),
    /// Show what runs
    Status(Json),
    /// Show all update attempts, the newest first
    History(HistoryArguments),
    /// Restore the previous version
    #[command(after_help = "Examples:
  updater rollback
  updater rollback --to 2.0.0
  updater rollback --discard-data-since 2026-01-31T12:00:00Z

Data is never deleted: where the version before cannot read what the newer one made of the data, rolling back is
refused and says from when writes would be lost; the database of now is kept even then.")]
    Rollback(RollbackArguments),
    /// Retry a stuck update
    Retry(Json),
    /// Check a bundle without applying it
    #[command(after_help = verify::EXAMPLES, after_long_help = format!("{}\n\n{EXIT_CODES}", verify::EXAMPLES))]
    Verify(verify::VerifyArguments),
    /// Show everything known about an update, without secrets
    Diagnose {
        /// The version; the newest update if none
        version: Option<semver::Version>,
    },
    /// The keys whose bundles are accepted
    #[command(subcommand)]
    Trust(Trust),
    /// Tokens for scripts that use the API
    #[command(subcommand)]
    Token(access::TokenCommand),
    /// Print the OpenAPI document of the API
    #[command(hide = true)]
    Openapi,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

impl Command {
    /// Whether an error is printed as JSON too.
    pub(super) fn wants_json(&self) -> bool {
        match self {
            Self::Apply(arguments) => arguments.json.json,
            Self::Install(arguments) => arguments.json,
            Self::Uninstall(arguments) => arguments.json,
            Self::Rollback(arguments) => arguments.json.json,
            Self::Download(arguments) => arguments.json.json,
            Self::History(arguments) => arguments.json.json,
            Self::Token(command) => command.wants_json(),
            Self::Check(json) | Self::Status(json) | Self::Retry(json) | Self::Trust(Trust::List(json)) => json.json,
            // `verify` prints its own.
            _ => false,
        }
    }
}

/// The arguments of `updater history`.
#[derive(Debug, Args)]
pub(super) struct HistoryArguments {
    /// Show who asked for what instead, over the page, the API and the console
    #[arg(long)]
    pub(super) audit: bool,
    #[command(flatten)]
    pub(super) json: Json,
}

/// The arguments of `updater apply`.
#[derive(Debug, Args)]
pub(super) struct ApplyArguments {
    /// The bundle, .tar.gz or .zip; or the version of one that was downloaded
    pub(super) bundle: PathBuf,
    /// Show what would be done and all blocking problems; change nothing
    #[arg(long)]
    pub(super) plan: bool,
    /// Accept a version older than the one that runs
    #[arg(long)]
    pub(super) allow_downgrade: bool,
    #[command(flatten)]
    pub(super) json: Json,
}

/// The arguments of `updater rollback`.
#[derive(Debug, Args)]
pub(super) struct RollbackArguments {
    /// The version to restore; it must be the previous one
    #[arg(long, value_name = "VERSION")]
    pub(super) to: Option<semver::Version>,
    /// Give up what was written since this time, which the refusal names
    #[arg(long, value_name = "TIME")]
    pub(super) discard_data_since: Option<String>,
    #[command(flatten)]
    pub(super) json: Json,
}

/// The keys whose bundles are accepted.
#[derive(Debug, Subcommand)]
pub(super) enum Trust {
    /// List keys
    List(Json),
    /// Accept bundles that this key signed
    Add {
        /// A minisign public key, or its file
        key: String,
    },
    /// Remove a key: its bundles are no longer accepted
    Remove {
        /// The key's ID, as `trust list` shows it
        id: String,
    },
}
