//! Files of record: changed as a whole, and on the disk before anything relies on it.
//!
//! A rename is durable only when the file was synced before it and the directory after it (POSIX.1-2017 `rename`,
//! `fsync`; both are needed on ext4, xfs and f2fs).

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::{Error, Result, system::crash};

/// The prefix of the names of incomplete files; intake ignores them.
pub const TEMPORARY: &str = ".partial-";

/// The free bytes of the file system of `directory` that every user may take.
///
/// # Errors
/// The system does not say.
pub fn free_bytes(directory: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(directory)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Writes `bytes` to `path`: beside it, synced, renamed over it, the directory synced. `mode` is the file's permissions.
///
/// # Errors
/// Any of that fails; `path` is then what it was.
pub fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    write_with(path, mode, |file| file.write_all(bytes))
}

/// As [`write()`], with a function that fills the file.
///
/// # Errors
/// As for [`write()`], and what `fill` gives.
pub fn write_with(path: &Path, mode: u32, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    let temporary = temporary_of(path);
    let written = (|| {
        remove_if_there(&temporary)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&temporary)?;
        // The umask may have removed permissions.
        file.set_permissions(Permissions::from_mode(mode))?;
        fill(&mut file)?;
        file.sync_all()
    })();
    if let Err(error) = written {
        // A file that stays is found and removed the next time.
        fs::remove_file(&temporary).ok();
        return Err(Error::io("write", path)(error));
    }
    crash::point("file written");
    rename(&temporary, path)?;
    crash::point("file renamed");
    Ok(())
}

/// Renames, durably. Both must be in one file system.
///
/// # Errors
/// The system refuses; then nothing has changed.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(Error::io("rename to", to))?;
    sync_directory_of(to)?;
    if from.parent() != to.parent() {
        sync_directory_of(from)?;
    }
    Ok(())
}

/// Removes a file or a directory with all that is in it, durably; nothing if it is not there.
///
/// # Errors
/// The system refuses.
pub fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => Err(error),
    };
    removed.map_err(Error::io("remove", path))?;
    sync_directory_of(path)
}

/// Creates a directory and those above it, durably.
///
/// # Errors
/// The system refuses.
pub fn make_directory(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_directory(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(Error::io("make", path)(error)),
        _ => sync_directory_of(path),
    }
}

/// Copies a file, durably, with the mode that it has.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    let mut source = File::open(from).map_err(Error::io("read", from))?;
    let mode = source.metadata().map_err(Error::io("read", from))?.permissions().mode() & 0o777;
    write_with(to, mode, |file| io::copy(&mut source, file).map(drop))
}

/// As [`copy`], but a file that is there with the same content and mode is only made durable: on a full disk, what is in
/// place already must not fail.
pub(crate) fn put(from: &Path, to: &Path) -> Result<()> {
    let mode = |path: &Path| fs::metadata(path).map(|file| file.permissions().mode() & 0o777);
    let same = |path: &Path| Ok::<_, io::Error>((mode(path)?, fs::read(path)?));
    let wanted = same(from).map_err(Error::io("read", from))?;
    if same(to).is_ok_and(|there| there == wanted) {
        File::open(to)
            .and_then(|file| file.sync_all())
            .map_err(Error::io("write", to))?;
        return sync_directory_of(to);
    }
    copy(from, to)
}

/// Reads a file; none if it is not there.
///
/// # Errors
/// It is there and cannot be read.
pub fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// Makes the entries of the directory that holds `path` durable.
///
/// # Errors
/// The system refuses.
pub fn sync_directory_of(path: &Path) -> Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(Error::io("sync", directory))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn temporary_of(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{TEMPORARY}{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_previous_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        write(&path, b"old", 0o600).unwrap();
        let failed = write_with(&path, 0o600, |file| {
            file.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_in_place_is_not_written_again() {
        use std::os::unix::fs::MetadataExt as _;
        let directory = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| directory.path().join(name));
        write(&from, b"text", 0o600).unwrap();
        let number = || fs::metadata(&to).unwrap().ino();
        put(&from, &to).unwrap();
        let first = number();
        put(&from, &to).unwrap();
        assert_eq!(number(), first);
        // Another mode or another content is another file.
        for (bytes, mode) in [(b"text", 0o644), (b"tesT", 0o644)] {
            write(&from, bytes, mode).unwrap();
            put(&from, &to).unwrap();
            assert_eq!(fs::read(&to).unwrap(), bytes);
            assert_eq!(fs::metadata(&to).unwrap().permissions().mode() & 0o777, mode);
        }
    }

    #[test]
    fn modes_do_not_depend_on_the_umask() {
        let directory = tempfile::tempdir().unwrap();
        for mode in [0o600, 0o644, 0o755] {
            let path = directory.path().join("file");
            write(&path, b"", mode).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, mode);
        }
    }
}
