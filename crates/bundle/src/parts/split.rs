//! Cutting a bundle into parts.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::list::{FORMAT, MAX_PARTS, Part, PartsError, PartsList};
use crate::digest::Hasher;
use crate::names::file_name::{bundle_of_part, is_bundle_name, list_name, part_name};
use crate::stream::{CHUNK, read_full};

/// Why a bundle was not split.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// The bundle cannot be read.
    #[error("the bundle cannot be read: {0}")]
    Read(#[source] io::Error),
    /// A part or the list cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A part would have no bytes.
    #[error("a part of 0 bytes holds nothing")]
    NoSize,
    /// No reader would accept the list: the bundle is empty or has no such name, or there are too many parts.
    #[error(transparent)]
    List(#[from] PartsError),
}

/// Cuts the bundle called `bundle` into parts of at most `size` bytes in `directory`, and writes the list of them.
///
/// Each file is written beside its place and renamed. A list that was there before is removed first and the new one comes
/// last, so that a list never names what is not there; parts of an earlier cut that are no longer named are removed.
///
/// # Errors
/// [`SplitError`]; there is then no list.
pub fn split(reader: impl Read, bundle: &str, size: u64, directory: &Path) -> Result<PartsList, SplitError> {
    let list_path = directory.join(list_name(bundle));
    if is_bundle_name(bundle) && size > 0 {
        remove(&list_path)?;
    }
    let list = cut(reader, bundle, size, |name, fill| {
        write_beside(&directory.join(name), |file| fill(file))
    })?;
    let json = list.to_json()?;
    remove_others(&list, directory)?;
    write_beside(&list_path, |file| file.write_all(&json).map(|()| true))?;
    Ok(list)
}

/// The list of the parts that [`split`] would write, to send them from the bundle itself. Writes nothing.
///
/// # Errors
/// [`SplitError`], but nothing about writing.
pub fn list_parts(reader: impl Read, bundle: &str, size: u64) -> Result<PartsList, SplitError> {
    let list = cut(reader, bundle, size, |_, fill| {
        fill(&mut io::sink()).map(drop).map_err(SplitError::Read)
    })?;
    // A list that is not well formed is refused by readers.
    list.to_json()?;
    Ok(list)
}

/// Writes a part's bytes; says whether there were any.
type Fill<'a> = dyn FnMut(&mut dyn Write) -> io::Result<bool> + 'a;

/// Reads the bundle once, and has `keep` keep each part under its name. The last one may be empty.
fn cut(
    mut reader: impl Read,
    bundle: &str,
    size: u64,
    mut keep: impl FnMut(&str, &mut Fill<'_>) -> Result<(), SplitError>,
) -> Result<PartsList, SplitError> {
    if size == 0 {
        return Err(SplitError::NoSize);
    }
    let name = bundle
        .parse()
        .map_err(|_| PartsError::Bundle(crate::text::shorten(bundle)))?;
    if !is_bundle_name(bundle) {
        return Err(PartsError::Bundle(crate::text::shorten(bundle)).into());
    }
    let mut whole = Hasher::new();
    let mut parts = Vec::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        if parts.len() == MAX_PARTS && read_full(&mut reader, &mut buffer[..1]).map_err(SplitError::Read)? > 0 {
            return Err(PartsError::Count(MAX_PARTS + 1).into());
        }
        let name = part_name(bundle, parts.len());
        let mut part = Hasher::new();
        let mut reading = Ok(());
        keep(&name, &mut |file| {
            while part.length() < size {
                let want = usize::try_from(size - part.length()).map_or(CHUNK, |left| left.min(CHUNK));
                let count = match read_full(&mut reader, &mut buffer[..want]) {
                    Ok(count) => count,
                    Err(error) => {
                        reading = Err(error);
                        return Ok(false);
                    }
                };
                whole.update(&buffer[..count]);
                part.update(&buffer[..count]);
                file.write_all(&buffer[..count])?;
                if count < want {
                    break;
                }
            }
            Ok(part.length() > 0)
        })?;
        reading.map_err(SplitError::Read)?;
        let size_of_part = part.length();
        if size_of_part > 0 {
            parts.push(Part {
                name,
                size: size_of_part,
                sha256: part.finish().into(),
            });
        }
        if size_of_part < size {
            break;
        }
    }
    Ok(PartsList {
        format_version: FORMAT,
        bundle: name,
        size: whole.length(),
        sha256: whole.finish().into(),
        parts,
    })
}

/// Lets `fill` write a file beside `path`, which is renamed if `fill` says so.
fn write_beside(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<bool>) -> Result<(), SplitError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".partial-{name}"));
    let written = File::create(&beside).and_then(|mut file| {
        let wanted = fill(&mut file)?;
        file.sync_all()?;
        if wanted {
            fs::rename(&beside, path)
        } else {
            fs::remove_file(&beside)
        }
    });
    written.map_err(|source| {
        fs::remove_file(&beside).ok();
        let path = path.to_owned();
        SplitError::Write { path, source }
    })
}

/// Removes parts of the same bundle that `list` does not name.
fn remove_others(list: &PartsList, directory: &Path) -> Result<(), SplitError> {
    let failed = |source| SplitError::Write {
        path: directory.to_owned(),
        source,
    };
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = bundle_of_part(&name) == Some(list.bundle.as_str());
        if ours && !list.parts.iter().any(|part| part.name == name) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), SplitError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            let path = path.to_owned();
            Err(SplitError::Write { path, source })
        }
        _ => Ok(()),
    }
}
