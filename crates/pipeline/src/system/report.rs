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

/// Writes a line to standard error. A closed standard error does not end a release.
pub(crate) fn note(line: impl Display) {
    writeln!(io::stderr(), "{}", plain(&line.to_string())).ok();
}

/// `text` with every character shown that would steer a terminal or turn the direction of writing: names and texts come
/// from bundles, Dockerfiles and other programs.
pub(crate) fn plain(text: &str) -> String {
    let steers = |c: char| {
        (c.is_control() && !matches!(c, '\n' | '\t')) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Writes text to standard output.
pub(crate) fn print(text: impl Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{text}")
}

/// A number of bytes as a person reads it.
pub(crate) fn bytes(count: u64) -> impl Display {
    indicatif::HumanBytes(count)
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn what_would_steer_a_terminal_is_shown() {
        assert_eq!(plain("- \"häuser\"\n\tb"), "- \"häuser\"\n\tb");
        assert_eq!(
            plain("\x1b]0;owned\x07\r\u{9b}2J\u{202e}"),
            r"\u{1b}]0;owned\u{7}\u{d}\u{9b}2J\u{202e}"
        );
    }
}
