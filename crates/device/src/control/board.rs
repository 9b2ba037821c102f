//! What the updater does right now, for the page and the API.
//!
//! The daemon writes on a [`Board`] while it works, and the web server reads it. What is durable is not here but
//! in the record ([`crate::store`]): after a restart the board is empty, and only bytes and notes are lost.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use serde::Serialize;

use crate::{control::progress::Progress, state::Phase};

/// How many notes are kept.
const NOTES: usize = 30;

/// What is being done.
#[derive(Debug, Default)]
pub struct Board {
    entry: Mutex<Entry>,
    done: AtomicU64,
}

#[derive(Debug, Default)]
struct Entry {
    what: Option<String>,
    total: Option<u64>,
    notes: VecDeque<Note>,
}

/// What is being done, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Work {
    /// What takes long: `loading webmacs-backend:2.1.0`.
    pub what: Option<String>,
    /// Bytes that are done.
    pub done_bytes: u64,
    /// Bytes that there are to do, where that is known.
    pub total_bytes: Option<u64>,
}

/// Something that was said on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Note {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// What.
    pub text: String,
}

impl Board {
    /// What is being done.
    pub fn work(&self) -> Work {
        let entry = self.entry();
        Work {
            what: entry.what.clone(),
            done_bytes: self.done.load(Ordering::Relaxed),
            total_bytes: entry.total,
        }
    }

    /// What was said, the oldest first.
    pub fn notes(&self) -> Vec<Note> {
        self.entry().notes.iter().cloned().collect()
    }

    /// Nothing is being done any more.
    pub fn rest(&self) {
        self.begin(None, None);
    }

    fn begin(&self, what: Option<String>, total: Option<u64>) {
        let mut entry = self.entry();
        entry.what = what;
        entry.total = total;
        self.done.store(0, Ordering::Relaxed);
    }

    fn note(&self, text: &str) {
        let mut entry = self.entry();
        if entry.notes.len() >= NOTES {
            entry.notes.pop_front();
        }
        entry.notes.push_back(Note {
            at: crate::system::clock::stamp(jiff::Timestamp::now()),
            text: text.to_owned(),
        });
    }

    fn entry(&self) -> MutexGuard<'_, Entry> {
        // What is on the board is whole at any time.
        self.entry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A [`Progress`] that passes everything on to another one and writes it on the board.
pub struct Live<'a> {
    other: &'a dyn Progress,
    board: Arc<Board>,
}

impl<'a> Live<'a> {
    /// Tells `other` and `board`.
    pub fn new(other: &'a dyn Progress, board: Arc<Board>) -> Self {
        Self { other, board }
    }
}

impl Progress for Live<'_> {
    fn phase(&self, version: &str, phase: Phase) {
        self.other.phase(version, phase);
        self.board.rest();
    }

    fn begin(&self, what: &str, total: Option<u64>) {
        self.other.begin(what, total);
        self.board.begin(Some(what.to_owned()), total);
    }

    fn advance(&self, bytes: u64) {
        self.other.advance(bytes);
        self.board.done.fetch_add(bytes, Ordering::Relaxed);
    }

    fn note(&self, text: &str) {
        self.other.note(text);
        self.board.note(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::progress::Silent;

    #[test]
    fn the_board_shows_the_latest_progress() {
        let board = Arc::new(Board::default());
        let live = Live::new(&Silent, board.clone());
        live.begin("loading a", Some(10));
        live.advance(4);
        live.advance(3);
        assert_eq!(
            board.work(),
            Work {
                what: Some("loading a".to_owned()),
                done_bytes: 7,
                total_bytes: Some(10)
            }
        );
        live.phase("2.1.0", Phase::Switching);
        assert_eq!(board.work(), Work::default());
        for number in 0..=NOTES {
            live.note(&number.to_string());
        }
        assert_eq!(board.notes().len(), NOTES);
        assert_eq!(board.notes()[0].text, "1");
    }
}
