//! Files that are either whole or not there.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
};

use bundle::Digest;
use tempfile::NamedTempFile;

use crate::{Error, Result};

/// What the names of temporary files begin with.
const PREFIX: &str = ".partial-";

/// Whether `path` is that of a temporary file.
pub(crate) fn is_temporary(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(PREFIX.as_bytes()))
}

/// Writes `bytes` to `path`: beside it first, synced, then renamed over it.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = temporary_beside(path)?;
    file.write_all(bytes).map_err(Error::io("write", path))?;
    persist(file, path)
}

/// A temporary file in the directory of `path`, hidden, removed again unless it is given to [`persist`].
pub(crate) fn temporary_beside(path: &Path) -> Result<NamedTempFile> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(Error::io("create", directory))?;
    tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(permissions())
        .tempfile_in(directory)
        .map_err(Error::io("create a file in", directory))
}

/// Syncs `file` and renames it to `path`.
pub(crate) fn persist(file: NamedTempFile, path: &Path) -> Result<()> {
    file.as_file().sync_all().map_err(Error::io("write", path))?;
    file.persist(path)
        .map_err(|error| Error::io("write", path)(error.error))?;
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(Error::io("sync", directory))
}

fn permissions() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt;
    fs::Permissions::from_mode(0o644)
}

/// Reads a JSON file; one that is not there, or is not of the shape, is none.
///
/// For caches only: what cannot be read is made again.
pub(crate) fn read_cache<T: serde::de::DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

pub(crate) fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// SHA-256 and size of a file.
pub(crate) fn hash_file(path: &Path) -> Result<(Digest, u64)> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    bundle::hash_all(file).map_err(Error::io("read", path))
}

/// Checks a declared file against the SHA-256 that is declared for it.
pub(crate) fn expect_digest(path: &Path, expected: &str) -> Result<()> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let (found, _) = bundle::hash_all(file).map_err(Error::io("read", path))?;
    if found.hex() == expected.to_lowercase() {
        return Ok(());
    }
    Err(Error::Content {
        path: path.to_owned(),
        message: format!("has the SHA-256 {}, declared is {expected}", found.hex()),
    })
}

/// The last part of `path`; empty if it has none.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
