//! Standard output: results as text or JSON, and what `--json` prints of an error.

use std::{
    fmt::Display,
    io::{self, Write as _},
};

use clap::Args;
use device::{Error, Result};
use serde::Serialize;

/// How results are printed.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Json {
    /// Print the result as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// What `--json` prints of an error.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    exit_code: u8,
}

impl Failure {
    pub(super) fn of(error: &Error) -> Self {
        Self {
            error: error.to_string(),
            hint: error.hint(),
            exit_code: error.exit() as u8,
        }
    }
}

/// Prints a value as JSON.
pub(super) fn print(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::io("write", "standard output")(io::Error::other(error)))?;
    out(text)
}

/// Prints a line.
pub(super) fn out(text: impl Display) -> Result<()> {
    match writeln!(io::stdout(), "{text}") {
        // The reader has closed the pipe: `… | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(Error::io("write", "standard output")),
    }
}
