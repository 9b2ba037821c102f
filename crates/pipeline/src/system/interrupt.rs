//! Ctrl-C and SIGTERM.
//!
//! The first one is noted; work that takes long looks at it through [`check`] or [`Watch`], stops, and
//! removes what it had begun. Programs that run for us are in the same process group and get it too.

use std::{
    io::{self, Read},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use crate::{Error, Result};

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Starts to note interruptions. Once a process; later calls change nothing.
pub(crate) fn listen() {
    // Fails only when a handler is there already, and then that one stays.
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed)).ok();
}

/// Whether the process was interrupted.
pub(crate) fn is_set() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// Ends the work if the process was interrupted.
pub(crate) fn check() -> Result<()> {
    if is_set() { Err(Error::Interrupted) } else { Ok(()) }
}

/// A reader that fails once the process was interrupted.
pub(crate) struct Watch<R>(pub R);

impl<R: Read> Read for Watch<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if is_set() {
            // Not `ErrorKind::Interrupted`, which `io::copy` would try again.
            return Err(io::Error::other("interrupted"));
        }
        self.0.read(bytes)
    }
}

/// Like [`Error::io`], but an interruption is reported as one.
pub(crate) fn or_io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |error| {
        if is_set() {
            Error::Interrupted
        } else {
            Error::io(action, path)(error)
        }
    }
}
