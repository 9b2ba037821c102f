//! What the listeners and the tests share.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{fault::Fault, log::Entry, world::World};

/// The state, what is to go wrong, and what was asked.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) world: Mutex<World>,
    pub(crate) faults: Mutex<Vec<Fault>>,
    pub(crate) log: Mutex<Vec<Entry>>,
    pub(crate) violations: Mutex<Vec<String>>,
}

/// A poisoned lock is a test's panic while it held the world; what it guards is still whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
