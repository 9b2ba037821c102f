//! What the person sees while a release goes on: standard error, and only there.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
    time::Instant,
};

use indicatif::{ProgressBar, ProgressStyle};

/// Tells about steps, and draws bars on a terminal.
#[derive(Debug)]
pub(crate) struct Progress {
    started: Instant,
    bars: bool,
}

/// A bar that counts bytes; nothing where there is no terminal.
#[derive(Debug)]
pub(crate) struct Bar(ProgressBar);

impl Progress {
    /// Starts to count the time.
    pub(crate) fn start() -> Self {
        Self {
            started: Instant::now(),
            bars: io::stderr().is_terminal(),
        }
    }

    /// Says what is being done now.
    pub(crate) fn step(&self, what: impl Display) {
        note(format_args!("[{:>6.1} s] {what}", self.started.elapsed().as_secs_f64()));
    }

    /// A bar of `total` bytes.
    pub(crate) fn bytes(&self, what: &str, total: u64) -> Bar {
        if !self.bars {
            return Bar(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(total).with_message(what.to_owned());
        let style = ProgressStyle::with_template("  {msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}");
        Bar(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    /// Seconds since the start.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }
}

impl Bar {
    /// So many more bytes are done.
    pub(crate) fn inc(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// Takes the bar away.
    pub(crate) fn finish(self) {
        self.0.finish_and_clear();
    }
}

/// Writes a line to standard error. That nobody may be reading it must not end a release.
pub(crate) fn note(line: impl Display) {
    writeln!(io::stderr(), "{line}").ok();
}

/// Writes text to standard output.
///
/// # Errors
/// Nobody is reading it.
pub(crate) fn print(text: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// A number of bytes as a person reads it.
pub(crate) fn bytes(count: u64) -> impl Display {
    indicatif::HumanBytes(count)
}
