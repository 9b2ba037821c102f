//! What commands print.

use std::io;

use serde::Serialize;

use crate::{
    Error, Result,
    system::report::{note, print},
};

pub(super) fn show(error: &Error) {
    match error {
        // Problems carry their own severities and hints.
        Error::Problems(problems) => {
            for problem in problems {
                note(problem);
            }
            let errors = problems.iter().filter(|problem| problem.is_error()).count();
            note(format_args!(
                "{errors} {} to fix",
                if errors == 1 { "problem" } else { "problems" }
            ));
        }
        error => {
            note(format_args!("error: {error}"));
            if let Some(hint) = error.hint() {
                note(format_args!("  hint: {hint}"));
            }
        }
    }
}

pub(super) fn json(value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::io("write", "standard output")(io::Error::other(error)))?;
    out(text)
}

pub(super) fn out(text: impl std::fmt::Display) -> Result<()> {
    match print(text) {
        // The reader has seen enough: `… | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(Error::io("write", "standard output")),
    }
}
