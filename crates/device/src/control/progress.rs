//! The progress of the updater while it works.

use crate::state::Phase;

/// Receives the progress of an update.
pub trait Progress {
    /// A phase begins, for the update to `version`.
    fn phase(&self, version: &str, phase: Phase);

    /// Something long begins, of `total` bytes where that is known.
    fn begin(&self, what: &str, total: Option<u64>);

    /// This many more bytes are done.
    fn advance(&self, bytes: u64);

    /// Something that a person should know.
    fn note(&self, text: &str);
}

/// Discards all progress.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn phase(&self, _version: &str, _phase: Phase) {}
    fn begin(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn note(&self, _text: &str) {}
}
