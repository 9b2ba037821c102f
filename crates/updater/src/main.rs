//! The updater: the device side of a release.
//!
//! `main` reads the command line ([`cli`]) and hands it to the command. Each command is one module
//! and returns an [`Outcome`]; nothing else decides about exit codes. Results go to stdout, and what
//! a person must know goes to stderr.

mod cli;
mod verify;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command, Outcome};

fn main() -> ExitCode {
    let Cli { command } = Cli::parse();
    let done = match command {
        Command::Verify(arguments) => verify::run(&arguments, &mut io::stdout().lock(), &mut io::stderr().lock()),
    };
    match done {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            // Whoever reads our output has gone or cannot take it: stderr is all that is left.
            let _no_reader = writeln!(io::stderr(), "error: the result cannot be written: {error}");
            Outcome::Unreadable.into()
        }
    }
}
