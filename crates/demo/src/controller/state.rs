//! What sampler, sender and health report share.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use jiff::Timestamp;
use tokio::sync::Notify;
use tracing::warn;

use super::{queue::Queue, sensors};

/// Readings that wait at most: a quarter of an hour of them, less than 1 MiB.
const CAPACITY: usize = 15 * 60 * sensors::COUNT;

/// What sampler, sender and health report share.
pub struct Controller {
    state: Mutex<ControllerState>,
    /// Notified when a reading is put into the queue.
    filled: Notify,
}

/// How the controller is.
pub struct ControllerState {
    /// Readings that are not acknowledged.
    pub queue: Queue,
    /// Readings that were acknowledged since the start.
    pub acknowledged: u64,
    /// Readings that the backend rejected permanently since the start.
    pub refused: u64,
    /// Why the last attempt failed, until one succeeds.
    pub last_error: Option<String>,
    /// The last round of measuring.
    pub last_round: Instant,
}

impl Controller {
    pub(super) fn new() -> Self {
        let state = ControllerState {
            queue: Queue::new(CAPACITY),
            acknowledged: 0,
            refused: 0,
            last_error: None,
            last_round: Instant::now(),
        };
        Self {
            state: Mutex::new(state),
            filled: Notify::new(),
        }
    }

    /// The state, for a moment: never held across an `await`.
    pub fn state(&self) -> MutexGuard<'_, ControllerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there may be something in the queue.
    pub async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Reads the sensors once.
    pub(super) fn measure(&self, source: &str, at: Timestamp) {
        let mut state = self.state();
        state.last_round = Instant::now();
        for reading in sensors::read(source, at) {
            if let Some(dropped) = state.queue.push(reading) {
                warn!(id = %dropped.id, name = dropped.name, "dropped: the queue is full");
            }
        }
        drop(state);
        self.filled.notify_one();
    }
}
