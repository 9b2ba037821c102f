//! One release at a time in a checkout, and nothing in it of one that was killed.
//!
//! Two releases at once would write to the same layouts. The lock is the kernel's, so it ends with its process,
//! however that ends; it is not for other machines that share the directory.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
    thread,
    time::Duration,
};

use crate::{
    Error, Result,
    facts::Workspace,
    system::{files, interrupt, report::note},
};

/// How long a waiting release sleeps before it looks again.
const PAUSE: Duration = Duration::from_millis(100);

/// The right to write to a workspace's `dist/` and state, until it is dropped.
#[derive(Debug)]
pub(crate) struct Exclusive {
    _lock: File,
}

impl Exclusive {
    /// Waits until no other release is under way, and removes what a killed one left half-written.
    pub(crate) fn take(workspace: &Workspace) -> Result<Self> {
        let state = &workspace.state;
        fs::create_dir_all(state).map_err(Error::io("create", state))?;
        let path = state.join("lock");
        let lock = File::create(&path).map_err(Error::io("write", &path))?;
        let mut noted = false;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    interrupt::check()?;
                    if !noted {
                        note("waiting for another release in this checkout");
                        noted = true;
                    }
                    thread::sleep(PAUSE);
                }
                // Some network file systems have no locks.
                Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => break,
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", path)(error)),
            }
        }
        let layers = state.join("layers");
        let blobs = layers.join("blobs/sha256");
        for directory in [&workspace.dist, state, &state.join("stamps"), &layers, &blobs] {
            remove_partial(directory)?;
        }
        Ok(Self { _lock: lock })
    }
}

/// Removes the temporary files in `directory`; those of a process that lives are not there while the lock is held.
fn remove_partial(directory: &Path) -> Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Error::io("read", directory))?,
    };
    for entry in entries {
        let path = entry.map_err(Error::io("read", directory))?.path();
        if files::is_temporary(&path) {
            fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}
