//! The command line: arguments, help, exit codes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

const EXIT_CODES: &str = "\
Exit codes:
  0  done; for `verify`: the bundle is what it should be
  1  something could not be read or written, so nothing is known
  2  wrong usage
  5  the bundle is refused: damaged, incomplete, or not trustworthy";

const VERIFY_EXAMPLES: &str = "\
Examples:
  Check a bundle against the publisher's key:
    updater verify webmacs-update-2.1.0.tar.gz --trust webmacs.pub

  The same with the key itself:
    updater verify webmacs-update-2.1.0.tar.gz --trust RWQ...

  Check only that nothing is damaged or missing:
    updater verify webmacs-update-2.1.0.tar.gz";

/// Installs and updates a product on this device.
#[derive(Debug, Parser)]
#[command(name = "updater", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Check a bundle without applying it
    #[command(after_help = VERIFY_EXAMPLES, after_long_help = format!("{VERIFY_EXAMPLES}\n\n{EXIT_CODES}"))]
    Verify(VerifyArguments),
}

/// The arguments of `updater verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// The bundle, .tar.gz or .zip
    pub(crate) bundle: PathBuf,

    /// A minisign public key that is trusted: a key file, or the base64 key itself. Can be given
    /// several times; one of the keys must have signed the bundle
    ///
    /// Without any, only the integrity is checked: nothing vouches for where the bundle comes from.
    #[arg(long, value_name = "KEY")]
    pub(crate) trust: Vec<String>,

    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a command ended, as scripts see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is well.
    Done,
    /// Something could not be read or written.
    Unreadable,
    /// An argument makes no sense.
    Usage,
    /// The bundle is refused.
    Refused,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(match outcome {
            Outcome::Done => 0,
            Outcome::Unreadable => 1,
            Outcome::Usage => 2,
            Outcome::Refused => 5,
        })
    }
}
