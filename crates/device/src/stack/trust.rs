//! The keys whose bundles this device accepts: minisign public key files in `/etc/<product>/trusted-keys`.
//!
//! It is a set, so that a key can be replaced: add the new key, sign releases with it, remove the previous key.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bundle::signature::{PublicKey, TrustedKeys};

use crate::{Error, Result, system::files};

/// The extension of key files.
const EXTENSION: &str = "pub";

/// A minisign public key file has two short lines.
const MAX_FILE: u64 = 4096;

/// The keys in `directory`; none if it is not there.
///
/// # Errors
/// A file cannot be read or is no key: then nothing can be said about whom to trust.
pub fn read(directory: &Path) -> Result<TrustedKeys> {
    let mut keys = Vec::new();
    for path in key_files(directory)? {
        keys.push(read_file(&path)?);
    }
    Ok(TrustedKeys::new(keys))
}

/// Trusts `key` from now on; nothing if it is trusted already.
///
/// # Errors
/// The directory cannot be read or written.
pub fn add(directory: &Path, key: &PublicKey) -> Result<()> {
    if read(directory)?.keys().contains(key) {
        return Ok(());
    }
    files::make_directory(directory)?;
    let path = directory.join(format!("{}.{EXTENSION}", key.id()));
    files::write(&path, key.to_file().as_bytes(), 0o644)
}

/// Stops trusting the key with the ID `id`.
///
/// # Errors
/// No such key is trusted, or it is the last one: without any, unsigned bundles would be accepted.
pub fn remove(directory: &Path, id: &str) -> Result<()> {
    let mut left = Vec::new();
    let mut found = Vec::new();
    for path in key_files(directory)? {
        let key = read_file(&path)?;
        if key.id().to_string().eq_ignore_ascii_case(id) || key.to_string() == id {
            found.push(path);
        } else {
            left.push(key);
        }
    }
    if found.is_empty() {
        return Err(Error::refused(
            format!("no trusted key has the ID {id}"),
            "updater trust list",
        ));
    }
    if left.is_empty() {
        return Err(Error::refused(
            format!("{id} is the only trusted key"),
            "add the new key first: updater trust add KEY",
        ));
    }
    found.iter().try_for_each(|path| files::remove(path))
}

/// A key as a person gives it: the key itself, or else the path of its file.
///
/// # Errors
/// It is neither.
pub fn parse(text: &str) -> Result<PublicKey> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    read_file(Path::new(text))
}

fn read_file(path: &Path) -> Result<PublicKey> {
    let file = fs::File::open(path).map_err(Error::io("read", path))?;
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(file, MAX_FILE), &mut text).map_err(Error::io("read", path))?;
    text.parse().map_err(|source| Error::Key {
        key: path.display().to_string(),
        source,
    })
}

fn key_files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", directory)(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::io("read", directory))?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use bundle::signature::generate;

    use super::*;

    #[test]
    fn keys_are_added_and_removed() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("trusted-keys");
        let [old, new] = [(), ()].map(|()| generate(None).unwrap().public().clone());
        assert!(read(&directory).unwrap().keys().is_empty());
        for _ in 0..2 {
            add(&directory, &old).unwrap();
        }
        let only = remove(&directory, &old.id().to_string()).unwrap_err();
        assert!(only.to_string().contains("only trusted key"), "{only}");
        add(&directory, &new).unwrap();
        remove(&directory, &old.id().to_string()).unwrap();
        assert_eq!(read(&directory).unwrap().keys(), [new]);
    }

    #[test]
    fn a_file_that_is_no_key_is_not_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("damaged.pub"), "nonsense").unwrap();
        assert!(matches!(read(directory.path()), Err(Error::Key { .. })));
    }
}
