//! Standard error: progress as lines, with bars at a terminal; warnings and errors. Where standard error is the journal,
//! progress and errors are entries with fields.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::Mutex,
    time::Instant,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::logs::{self, PROGRESS};
use device::{Error, control::progress::Progress, state::Phase};

/// Progress on standard error, or in the journal.
pub(super) struct Terminal {
    started: Instant,
    bars: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Terminal {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            bars: io::stderr().is_terminal(),
            bar: Mutex::new(None),
        }
    }

    fn replace_bar(&self, bar: Option<ProgressBar>) {
        // A panic leaves the bar intact.
        let mut place = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(previous) = std::mem::replace(&mut *place, bar) {
            previous.finish_and_clear();
        }
    }

    fn line(&self, text: &str) {
        self.replace_bar(None);
        note(&format!("[{:>6.1} s] {text}", self.started.elapsed().as_secs_f64()));
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.replace_bar(None);
    }
}

impl Progress for Terminal {
    fn phase(&self, version: &str, phase: Phase) {
        if logs::go_to_journal() {
            tracing::info!(target: PROGRESS, version, %phase, "{version}: {phase}");
        } else {
            self.line(&format!("{version}: {phase}"));
        }
    }

    fn begin(&self, what: &str, total: Option<u64>) {
        if !self.bars {
            return;
        }
        let bar = total.map(|total| {
            let bar = ProgressBar::new(total).with_message(what.to_owned());
            let style = ProgressStyle::with_template("  {msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}");
            bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        self.replace_bar(bar);
    }

    fn advance(&self, bytes: u64) {
        if !self.bars {
            return;
        }
        let place = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(bar) = &*place {
            bar.inc(bytes);
        }
    }

    fn note(&self, text: &str) {
        if !logs::go_to_journal() {
            self.line(text);
        } else if text.starts_with("error: ") {
            tracing::error!(target: PROGRESS, "{text}");
        } else if text.starts_with("warning: ") {
            tracing::warn!(target: PROGRESS, "{text}");
        } else {
            tracing::info!(target: PROGRESS, "{text}");
        }
    }
}

/// Writes a line to standard error. If that fails, there is no place left to report it.
pub(super) fn note(text: &str) {
    writeln!(io::stderr(), "{text}").ok();
}

/// Reports an error: the message, what caused it, and a hint.
pub(super) fn show(error: &Error) {
    if logs::go_to_journal() {
        let causes = Some(causes(error).join(": ")).filter(|causes| !causes.is_empty());
        let (hint, exit_code) = (error.hint(), error.exit() as u8);
        tracing::error!(target: PROGRESS, causes, hint, exit_code, "error: {error}");
        return;
    }
    match error {
        Error::Problems(problems) => {
            for problem in problems {
                note(&problem.to_string());
            }
        }
        error => {
            note(&format!("error: {error}"));
            for cause in causes(error) {
                note(&format!("  caused by: {cause}"));
            }
            if let Some(hint) = error.hint() {
                note(&format!("  hint: {hint}"));
            }
        }
    }
}

/// The sources of an error, the outermost first, without those that the message before already contains.
fn causes(error: &dyn std::error::Error) -> Vec<String> {
    let mut causes = Vec::new();
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let text = error.to_string();
        if !said.contains(&text) {
            causes.push(text.clone());
            said = text;
        }
        source = error.source();
    }
    causes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{message}")]
    struct Layer {
        message: &'static str,
        source: Option<Box<Layer>>,
    }

    fn chain(messages: &[&'static str]) -> Option<Box<Layer>> {
        let (message, rest) = messages.split_first()?;
        Some(Box::new(Layer {
            message,
            source: chain(rest),
        }))
    }

    #[test]
    fn a_cause_is_shown_unless_the_message_contains_it() {
        for (messages, expected) in [
            (&["cannot read x: no such file", "no such file"][..], &[][..]),
            (&["cannot read x", "no such file"], &["no such file"]),
            (
                &["cannot check", "no answer: timed out", "timed out", "os error 110"],
                &["no answer: timed out", "os error 110"],
            ),
            (&["alone"], &[]),
        ] {
            assert_eq!(causes(&*chain(messages).unwrap()), expected, "{messages:?}");
        }
    }
}
