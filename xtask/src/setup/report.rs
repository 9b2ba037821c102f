//! What setup tells: one line per step, and at the end what the machine can do.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use anyhow::Result;

use super::mode::Mode;

/// Writes to standard output as steps end.
pub(super) struct Report {
    started: Instant,
    problems: Vec<String>,
}

impl Report {
    pub(super) fn start() -> Self {
        Self {
            started: Instant::now(),
            problems: Vec::new(),
        }
    }

    /// A step that did nothing.
    pub(super) fn line(&self, state: &str, subject: &str, what: &str) -> Result<()> {
        writeln!(io::stdout().lock(), "{state:<5}  {subject:<25}  {what}")?;
        Ok(())
    }

    /// A step that starts; reported only to a person who waits.
    pub(super) fn begin(&self, subject: &str, what: &str) -> Result<()> {
        if io::stderr().is_terminal() {
            writeln!(io::stderr().lock(), "…      {subject:<25}  {what}")?;
        }
        Ok(())
    }

    /// A step that did something.
    pub(super) fn done(&self, subject: &str, what: &str, took: Duration) -> Result<()> {
        self.line("done", subject, &format!("{what} ({:.1} s)", took.as_secs_f64()))
    }

    /// Something missing that setup does not touch.
    pub(super) fn problem(&mut self, subject: &str, what: String) -> Result<()> {
        self.line("left", subject, &what)?;
        self.problems.push(format!("{subject}: {what}"));
        Ok(())
    }

    /// The end.
    pub(super) fn finish(self, mode: Mode) -> Result<()> {
        let mut out = io::stdout().lock();
        let took = self.started.elapsed().as_secs_f64();
        match (mode, self.problems.as_slice()) {
            (Mode::Plan, _) => writeln!(out, "\nnothing was changed")?,
            (Mode::Execute, []) => writeln!(
                out,
                "\nthis machine can build releases for linux/amd64 and linux/arm64, and run every check ({took:.1} s)"
            )?,
            (Mode::Execute, problems) => {
                writeln!(out, "\nnot changed by setup, to be fixed by hand:")?;
                for problem in problems {
                    writeln!(out, "  {problem}")?;
                }
            }
        }
        Ok(())
    }
}
