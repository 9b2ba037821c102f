//! The lock that lets one process act at a time. It names its holder.
//!
//! `flock(2)` on a file that stays: the kernel releases it when the process ends, however it ends.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, Write as _},
    path::Path,
    thread,
    time::Duration,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::{Error, Result, system::files};

/// Attempts to take a lock that is held.
const LOOKS: u32 = 10;

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// The right to act, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock in the file `path`; `what` tells other processes what the holder does.
    ///
    /// # Errors
    /// [`Error::Busy`], with who holds it; the file cannot be made.
    pub fn take(path: &Path, what: &str) -> Result<Self> {
        if let Some(directory) = path.parent() {
            files::make_directory(directory)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(Error::io("open", path))?;
        // A process that only looks holds it for an instant.
        for left in (0..LOOKS).rev() {
            if try_lock(&file, path, FlockOperation::NonBlockingLockExclusive)? {
                break;
            }
            if left == 0 {
                let holder = read_holder(&mut file, path)?;
                return Err(Error::Busy { holder });
            }
            thread::sleep(PAUSE);
        }
        let holder = format!("`{what}` (process {})\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(holder.as_bytes()))
            .map_err(Error::io("write", path))?;
        Ok(Self { _file: file })
    }

    /// The holder of the lock in the file `path`, if there is one. Blocks no other process.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn holder(path: &Path) -> Result<Option<String>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("open", path)(error)),
        };
        match try_lock(&file, path, FlockOperation::NonBlockingLockShared)? {
            true => Ok(None),
            false => read_holder(&mut file, path).map(Some),
        }
    }
}

fn try_lock(file: &File, path: &Path, how: FlockOperation) -> Result<bool> {
    match flock(file, how) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(Error::io("lock", path)(error.into())),
    }
}

fn read_holder(file: &mut File, path: &Path) -> Result<String> {
    let mut holder = String::new();
    file.read_to_string(&mut holder).map_err(Error::io("read", path))?;
    Ok(match holder.trim() {
        "" => "another updater".to_owned(),
        holder => holder.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_learns_who_is_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = Lock::take(&path, "updater apply a.tar.gz").unwrap();
        let second = Lock::take(&path, "updater rollback").unwrap_err().to_string();
        assert!(second.contains("updater apply a.tar.gz"), "{second}");
        assert!(second.contains(&std::process::id().to_string()), "{second}");
        assert_eq!(Lock::holder(&path).unwrap().unwrap_or_default(), {
            let text = std::fs::read_to_string(&path).unwrap();
            text.trim().to_owned()
        });
        drop(first);
        assert_eq!(Lock::holder(&path).unwrap(), None);
        assert_eq!(Lock::holder(&directory.path().join("none")).unwrap(), None);
        Lock::take(&path, "updater rollback").unwrap();
    }
}
