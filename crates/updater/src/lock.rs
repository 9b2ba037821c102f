//! One at a time: whoever acts holds the lock, and says who it is.
//!
//! `flock(2)` on a file that stays: the kernel lets go when the process ends, however it ends.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    path::Path,
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use crate::{Error, Result, files};

/// The right to act, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock in the file `path`; `what` is what others are told that we do.
    ///
    /// # Errors
    /// [`Error::Busy`], with who holds it; the file cannot be made.
    pub fn take(path: &Path, what: &str) -> Result<Self> {
        if let Some(folder) = path.parent() {
            files::make_folder(folder)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(Error::io("open", path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).map_err(Error::io("read", path))?;
                let holder = match holder.trim() {
                    "" => "another updater".to_owned(),
                    holder => holder.to_owned(),
                };
                return Err(Error::Busy { holder });
            }
            Err(error) => return Err(Error::io("lock", path)(error.into())),
        }
        let holder = format!("`{what}` (process {})\n", std::process::id());
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(holder.as_bytes()))
            .map_err(Error::io("write", path))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_is_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = Lock::take(&path, "updater apply a.tar.gz").unwrap();
        let second = Lock::take(&path, "updater rollback").unwrap_err().to_string();
        assert!(second.contains("updater apply a.tar.gz"), "{second}");
        assert!(second.contains(&std::process::id().to_string()), "{second}");
        drop(first);
        Lock::take(&path, "updater rollback").unwrap();
    }
}
