//! What a person sees while something is done: phases as lines, long work as bars where there is a terminal.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::Mutex,
    time::Instant,
};

use indicatif::{ProgressBar, ProgressStyle};

use device::{Error, control::progress::Progress, state::Phase};

/// Tells on standard error.
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
        // A poisoned bar is a bar all the same.
        let mut place = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(old) = std::mem::replace(&mut *place, bar) {
            old.finish_and_clear();
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
        self.line(&format!("{version}: {phase}"));
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
        self.line(text);
    }
}

/// A line on standard error. Where nobody can read it, there is nothing left to say.
pub(super) fn note(text: &str) {
    writeln!(io::stderr(), "{text}").ok();
}

/// An error, with what mends it.
pub(super) fn show(error: &Error) {
    match error {
        Error::Problems(problems) => {
            for problem in problems {
                note(&format!("error: {problem}"));
            }
        }
        error => {
            note(&format!("error: {error}"));
            if let Some(hint) = error.hint() {
                note(&format!("  hint: {hint}"));
            }
        }
    }
}

/// Warnings that the library logs appear as lines.
pub(super) fn listen_to_logs() {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(tracing::Level::WARN)
        .without_time()
        .with_target(false)
        .init();
}
