//! Cutting a bundle into parts, for places that take no file of 2 GiB.
//!
//! Is it a bundle, and too large? → `bundle::parts::split`, which streams it into parts beside it → what was written.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek as _},
    path::{Path, PathBuf},
};

use bundle::{
    parts::{SplitError, list_name, split},
    read::read_manifest,
};
use serde::Serialize;

use crate::{Error, Result, system::report};

/// Cuts the bundle at `path` into parts of at most `size` bytes, in the same directory.
pub(crate) fn split_bundle(path: &Path, size: u64) -> Result<Split> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let whole = file.metadata().map_err(Error::io("read", path))?.len();
    if whole <= size {
        return Err(Error::Usage {
            message: format!(
                "{} is {}, which needs no parts of {}",
                path.display(),
                report::bytes(whole),
                report::bytes(size)
            ),
            hint: "publish it as it is, or make smaller parts with --size BYTES".to_owned(),
        });
    }
    read_manifest(&mut file).map_err(|source| Error::Verify {
        path: path.to_owned(),
        source,
    })?;
    file.rewind().map_err(Error::io("read", path))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let progress = report::Progress::start();
    let bar = progress.bytes("splitting", whole);
    let list = split(Watched { file, bar: &bar }, &name, size, &directory_of(path));
    bar.finish();
    let list = list.map_err(|error| match error {
        SplitError::Read(source) => Error::io("read", path)(source),
        SplitError::Write { path, source } => Error::io("write", path)(source),
        error => Error::Content {
            path: path.to_owned(),
            message: error.to_string(),
        },
    })?;
    Ok(Split {
        list: path.with_file_name(list_name(&name)),
        parts: list.parts.iter().map(|part| path.with_file_name(&part.name)).collect(),
        size: list.size,
    })
}

/// Tells the bar what was read.
struct Watched<'a> {
    file: File,
    bar: &'a report::Bar,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.bar.inc(count as u64);
        Ok(count)
    }
}

/// The directory that a file lies in.
fn directory_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// What was written.
#[derive(Debug, Serialize)]
pub(crate) struct Split {
    /// The list of the parts.
    list: PathBuf,
    /// The parts, in order.
    parts: Vec<PathBuf>,
    /// Size of the whole in bytes.
    size: u64,
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            writeln!(f, "{}", part.display())?;
        }
        write!(f, "{}", self.list.display())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn path_with(directory: &tempfile::TempDir, content: &[u8]) -> PathBuf {
        let path = directory.path().join("app-update-1.0.0.tar.gz");
        fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn only_bundles_that_are_too_large_are_split() {
        let directory = tempfile::tempdir().unwrap();
        let path = path_with(&directory, b"not a bundle, and not large");
        let error = split_bundle(&path, 100).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(error.to_string().contains("needs no parts"), "{error}");
        let error = split_bundle(&path, 10).unwrap_err();
        assert_eq!(error.exit_code(), 5, "{error}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        let missing = split_bundle(&directory.path().join("none"), 10).unwrap_err();
        assert_eq!(missing.exit_code(), 1, "{missing}");
    }
}
