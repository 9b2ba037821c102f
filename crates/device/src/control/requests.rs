//! The queue of requests from the API to the daemon, which alone acts, under the lock and by the journal.
//!
//! ```text
//! handler ── ask ──► queue ── next ──► daemon: lock → recover → begin → [answer] → go on until it rests
//! ```
//!
//! The answer comes when the begun work is durable, or says why it did not begin; the record says how it ends. While the
//! daemon acts, nothing is queued: a request fails at once with what the daemon does.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
};

use tokio::sync::oneshot;

use crate::{Error, Result};

/// How many requests may wait; each waits for a moment only.
const QUEUE: usize = 16;

/// A command for the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Apply an update; try again what failed or is stuck.
    Apply {
        /// The update's number.
        id: i64,
    },
    /// Bring the previous version back.
    RollBack {
        /// The number of the update that is rolled back.
        id: i64,
        /// From when on writes are given up, if a person was shown that and agreed.
        discard_data_since: Option<String>,
    },
    /// Remove a record, and its bundle if it waits.
    Delete {
        /// The update's number.
        id: i64,
    },
}

/// A command, with the channel for its answer.
#[derive(Debug)]
pub struct Request {
    /// The command.
    pub command: Command,
    answer: oneshot::Sender<Result<()>>,
}

/// The requests that wait for the daemon.
#[derive(Debug)]
pub struct Requests {
    state: Mutex<State>,
    /// Wakes the daemon.
    bell: Mutex<mpsc::Sender<()>>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Request>,
    /// What the daemon does, while it acts.
    busy: Option<String>,
}

/// Marks the daemon as acting until it is dropped.
#[derive(Debug)]
pub struct Acting<'a>(&'a Requests);

impl Requests {
    /// An empty queue; each request rings `bell`.
    pub fn new(bell: mpsc::Sender<()>) -> Self {
        Self {
            state: Mutex::default(),
            bell: Mutex::new(bell),
        }
    }

    /// Queues a command; the receiver gets the answer, or never one if the daemon ends first.
    ///
    /// # Errors
    /// [`Error::Busy`]: the daemon acts, or too many wait.
    pub fn ask(&self, command: Command) -> Result<oneshot::Receiver<Result<()>>> {
        let (answer, receiver) = oneshot::channel();
        let mut state = self.state();
        if let Some(busy) = &state.busy {
            return Err(Error::Busy { holder: busy.clone() });
        }
        if state.queue.len() >= QUEUE {
            return Err(Error::Busy {
                holder: "the updater".to_owned(),
            });
        }
        state.queue.push_back(Request { command, answer });
        drop(state);
        self.ring();
        Ok(receiver)
    }

    /// Wakes the daemon: a file is in `updates/`.
    pub fn ring(&self) {
        // Without a daemon nothing receives it.
        let bell = self.bell.lock().unwrap_or_else(PoisonError::into_inner);
        bell.send(()).ok();
    }

    /// What the daemon does, if it acts.
    pub fn busy(&self) -> Option<String> {
        self.state().busy.clone()
    }

    /// The next request whose asker still waits.
    pub fn next(&self) -> Option<Request> {
        let mut state = self.state();
        while let Some(request) = state.queue.pop_front() {
            if !request.answer.is_closed() {
                return Some(request);
            }
        }
        None
    }

    /// Whether a request waits.
    pub fn is_waiting(&self) -> bool {
        !self.state().queue.is_empty()
    }

    /// Marks the daemon as doing `what` until the result is dropped. Requests that wait fail with it.
    pub fn acting(&self, what: &str) -> Acting<'_> {
        let mut state = self.state();
        state.busy = Some(what.to_owned());
        for request in state.queue.drain(..) {
            request.answer(Err(Error::Busy {
                holder: what.to_owned(),
            }));
        }
        Acting(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request {
    /// Sends the outcome to the asker.
    pub fn answer(self, outcome: Result<()>) {
        // An asker that no longer waits finds it in the record.
        self.answer.send(outcome).ok();
    }
}

impl Drop for Acting<'_> {
    fn drop(&mut self) {
        self.0.state().busy = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_request_waits_while_the_daemon_acts() {
        let (bell, rung) = mpsc::channel();
        let requests = Requests::new(bell);
        let waiting = requests.ask(Command::Delete { id: 1 }).unwrap();
        rung.try_recv().unwrap();
        let acting = requests.acting("the update to 2.1.0");
        let told = waiting.blocking_recv().unwrap().unwrap_err();
        assert_eq!(told.to_string(), "the update to 2.1.0 is at work");
        assert!(matches!(
            requests.ask(Command::Delete { id: 1 }),
            Err(Error::Busy { .. })
        ));
        drop(acting);
        drop(requests.ask(Command::Delete { id: 1 }).unwrap());
        let _waits = requests.ask(Command::Delete { id: 2 }).unwrap();
        // The first has gone away.
        assert_eq!(requests.next().unwrap().command, Command::Delete { id: 2 });
        assert!(requests.next().is_none());
    }
}
