//! A bundle on the disk: one file, or a list with its parts beside it. Its path is that of the file or of the list.
//!
//! Parts belong together by their names alone, so a set can be moved and removed without regard to its list; what is
//! *read* is what the list names ([`bundle::parts`]). A list is where its parts are: it comes last, and goes first.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bundle::{
    BundleName,
    parts::{PartsError, Source, bundle_of_list, bundle_of_part, list_name},
    read::VerifiedBundle,
};

use crate::{
    Error, Result,
    config::Config,
    store::{Download, Store},
    system::{crash, files},
};

/// A verified bundle, from one file or from parts.
pub type Bundle = VerifiedBundle<Source>;

/// Opens a bundle to be verified.
///
/// # Errors
/// It cannot be read; it is in parts, and they are not what their list says.
pub fn open(path: &Path) -> Result<Source> {
    Source::open(path).map_err(|error| match error {
        PartsError::Io { source, .. } => Error::io("read", path)(source),
        error => error.into(),
    })
}

/// The size of a bundle in bytes; none if it is not there.
pub(crate) fn size(path: &Path) -> Option<u64> {
    Source::open(path).ok()?.size().ok()
}

/// The files of a bundle that are there, the list of parts last.
///
/// # Errors
/// The directory cannot be read.
pub fn all(path: &Path) -> Result<Vec<PathBuf>> {
    let mut found = parts_beside(path)?;
    if path.exists() {
        found.push(path.to_owned());
    }
    Ok(found)
}

/// The list that a part belongs to, whether it is there or not; none for any other file.
pub(crate) fn list_of_part(path: &Path) -> Option<PathBuf> {
    let bundle = bundle_of_part(path.file_name()?.to_str()?)?;
    Some(path.with_file_name(list_name(bundle)))
}

/// The diagnosis file beside a bundle that failed.
pub(crate) fn diagnosis(bundle: &Path) -> PathBuf {
    let mut name = bundle.as_os_str().to_owned();
    name.push(".diagnostic.txt");
    PathBuf::from(name)
}

/// Moves a bundle, durably, within a file system. May be repeated after it was interrupted.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<()> {
    put_with(from, to, files::rename)
}

/// Copies a bundle, durably. May be repeated after it was interrupted.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    put_with(from, to, files::copy)
}

/// Parts first: until the list is there, nothing is. After an interruption the list is where it was, and what has been moved
/// is at its place.
fn put_with(from: &Path, to: &Path, put: fn(&Path, &Path) -> Result<()>) -> Result<()> {
    let parts = parts_beside(from)?;
    if !parts.is_empty() {
        // An existing list of the same name would describe a mixture now.
        files::remove(to)?;
        crash::point("old list removed");
    }
    for part in &parts {
        let name = part.file_name().unwrap_or_default();
        put(part, &to.with_file_name(name))?;
        crash::point("part moved");
    }
    put(from, to)
}

/// Removes a bundle, durably.
pub(crate) fn remove(path: &Path) -> Result<()> {
    files::remove(path)?;
    crash::point("bundle removed");
    parts_beside(path)?.iter().try_for_each(|part| files::remove(part))
}

/// The parts in the directory of the list `path`, in order; none for a bundle of one file.
fn parts_beside(path: &Path) -> Result<Vec<PathBuf>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (Some(bundle), Some(directory)) = (bundle_of_list(&name), path.parent()) else {
        return Ok(Vec::new());
    };
    let mut parts = Vec::new();
    for entry in fs::read_dir(directory).map_err(Error::io("read", directory))? {
        let entry = entry.map_err(Error::io("read", directory))?;
        if entry.file_name().to_str().and_then(bundle_of_part) == Some(bundle) {
            parts.push(entry.path());
        }
    }
    parts.sort();
    Ok(parts)
}

/// Where a file is while it is downloaded.
pub fn hidden(config: &Config, download: &Download) -> PathBuf {
    let name = format!("{}{}", files::TEMPORARY, download.file.name);
    config.downloads().join(name)
}

/// Removes the files of a download that is no longer wanted.
pub(crate) fn discard(config: &Config, store: &Store, id: i64) -> Result<()> {
    let downloads = store.download(id)?;
    downloads
        .iter()
        .try_for_each(|download| files::remove(&hidden(config, download)))
}

/// Whether a file may be a bundle, by its name. Hidden ones are being written, by us or by `rsync`.
pub(crate) fn is_bundle_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    BundleName::is_one(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bundles_are_looked_at() {
        for (name, expected) in [
            ("webmacs-update-2.1.0.tar.gz", true),
            ("webmacs-update-2.1.0.zip", true),
            (".webmacs-update-2.1.0.tar.gz.Xy3a", false),
            (".partial-a.tar.gz", false),
            ("notes.txt", false),
        ] {
            assert_eq!(is_bundle_name(Path::new(name)), expected, "{name}");
        }
    }
}
