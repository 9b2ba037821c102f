//! The command line.
//!
//! ```text
//! arguments   what can be typed, with its help; each command's own arguments are beside it
//! commands    each command as one call: acting (with the lock), status, check and download, install, verify, access
//! show        results as text                output, terminal, logs   standard output, standard error, log entries
//! ```
//!
//! Results go to standard output, as text or JSON; progress and errors go to standard error. The exit codes are in
//! [`device::Exit`]. Nothing here decides anything about the product.

mod access;
mod acting;
mod arguments;
mod commands;
mod github;
mod install;
mod logs;
mod output;
mod show;
mod status;
mod terminal;
mod verify;

use std::process::ExitCode;

use clap::Parser as _;

/// Reads the arguments, runs the command, and returns the exit code.
pub fn main() -> ExitCode {
    let cli = arguments::Cli::parse();
    logs::set_up(cli.verbose);
    commands::run(cli).into()
}
