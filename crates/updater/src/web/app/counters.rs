//! What is counted since the start of the process.

use std::sync::atomic::{AtomicU64, Ordering};

/// What is counted since the start of the process.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Responses by the first digit of their status.
    responses: [AtomicU64; 6],
    received_bytes: AtomicU64,
    refused_logins: AtomicU64,
}

impl Counters {
    pub(crate) fn answered(&self, status: u16) {
        if let Some(counter) = self.responses.get(usize::from(status / 100)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn refused_login(&self) {
        self.refused_logins.fetch_add(1, Ordering::Relaxed);
    }

    /// The classes of status that a final response has, 2 to 5, with the number of responses.
    pub(crate) fn responses(&self) -> impl Iterator<Item = (usize, u64)> {
        let counts = self.responses.iter().map(|counter| counter.load(Ordering::Relaxed));
        counts.enumerate().skip(2)
    }

    pub(crate) fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn refused_logins(&self) -> u64 {
        self.refused_logins.load(Ordering::Relaxed)
    }
}
