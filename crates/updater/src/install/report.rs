//! What an installation has done, collected for its result and shown as it happens.

use device::control::progress::Progress;

/// Collects what was done, and reports it as it happens.
pub(super) struct Report<'a> {
    pub(super) made: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) progress: &'a dyn Progress,
}

impl Report<'_> {
    pub(super) fn made(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.progress.note(&text);
        self.made.push(text);
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.progress.note(&text);
        self.notes.push(text);
    }
}
