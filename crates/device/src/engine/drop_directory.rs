//! The drop directory: finds the bundles whose copy has ended.
//!
//! A file is taken when it has not changed for a moment and no process has it open for writing. The same goes for the
//! parts of a bundle: they are taken when their list is there, and all that it names. Whether it is complete is for
//! [`super::intake`] to find out.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    Error, Result,
    config::Config,
    stack::bundle_files::{self, is_bundle_name},
};

/// How long a file must not have changed.
pub const QUIET: Duration = Duration::from_secs(3);

/// How long a file that is not whole may stay as it is before it is given up.
pub const GIVEN_UP: Duration = Duration::from_secs(15 * 60);

/// What is known of the bundles in `updates/`.
#[derive(Debug, Default)]
pub struct DropDirectory {
    seen: BTreeMap<PathBuf, Seen>,
}

#[derive(Clone, Debug)]
struct Seen {
    files: Vec<Looks>,
    /// Since when it has looked so, on a monotonic clock.
    since: Duration,
    /// Whether it was found to be not whole while it looked so.
    cut_off: bool,
}

/// Name, size and time of a file.
type Looks = (PathBuf, u64, (i64, i64));

impl DropDirectory {
    /// The bundles that have not changed for a moment and that no process writes. `now` is of a monotonic clock.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn quiet_files(&mut self, config: &Config, now: Duration) -> Result<Vec<PathBuf>> {
        let directory = config.updates();
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&directory).map_err(Error::io("read", &directory))? {
            let path = entry.map_err(Error::io("read", &directory))?.path();
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                // Gone again.
                continue;
            };
            if !metadata.is_file() || !is_bundle_name(&path) {
                continue;
            }
            let files = looks_of(&path)?;
            let seen = match self.seen.get(&path) {
                Some(seen) if seen.files == files => seen.clone(),
                _ => Seen {
                    files,
                    since: now,
                    cut_off: false,
                },
            };
            found.insert(path, seen);
        }
        self.seen = found;
        let quiet = |(path, seen): (&PathBuf, &Seen)| {
            // An incomplete bundle stays so until it changes; reading it again and again would only wear the disk.
            let patience = if seen.cut_off { GIVEN_UP } else { QUIET };
            let is_quiet = now.saturating_sub(seen.since) >= patience
                && !seen.files.iter().any(|(file, ..)| is_open_for_writing(file));
            is_quiet.then(|| path.clone())
        };
        Ok(self.seen.iter().filter_map(quiet).collect())
    }

    /// Remembers that a file, as it looks now, is not whole.
    pub(super) fn cut_off(&mut self, path: &Path) {
        if let Some(seen) = self.seen.get_mut(path) {
            seen.cut_off = true;
        }
    }

    /// For how long a file has looked as it does.
    pub fn unchanged_for(&self, path: &Path, now: Duration) -> Duration {
        self.seen
            .get(path)
            .map_or(Duration::ZERO, |seen| now.saturating_sub(seen.since))
    }

    /// Whether something is there whose turn may come soon.
    pub fn is_waiting(&self) -> bool {
        !self.seen.is_empty()
    }
}

/// What the files of a bundle look like, so that any change of any of them is seen.
fn looks_of(path: &Path) -> Result<Vec<Looks>> {
    let looks = |path: PathBuf| {
        // Gone again.
        let metadata = fs::symlink_metadata(&path).ok()?;
        Some((path, metadata.size(), (metadata.mtime(), metadata.mtime_nsec())))
    };
    Ok(bundle_files::all(path)?.into_iter().filter_map(looks).collect())
}

/// Whether any process has the file open for writing (`proc(5)`, `/proc/PID/fd` and `fdinfo`): a copy that stalls.
/// A process that may not be looked at is passed over.
fn is_open_for_writing(path: &Path) -> bool {
    let Ok(wanted) = fs::metadata(path) else { return false };
    let Ok(processes) = fs::read_dir("/proc") else {
        return false;
    };
    processes.flatten().any(|process| {
        let directory = process.path().join("fd");
        let Ok(descriptors) = fs::read_dir(&directory) else {
            return false;
        };
        descriptors.flatten().any(|descriptor| {
            // Names are compared first: most descriptors are sockets and pipes.
            fs::read_link(descriptor.path()).is_ok_and(|target| target.is_absolute())
                && fs::metadata(descriptor.path())
                    .is_ok_and(|file| (file.dev(), file.ino()) == (wanted.dev(), wanted.ino()))
                && is_writing(&process.path().join("fdinfo").join(descriptor.file_name()))
        })
    })
}

/// Whether a descriptor's `flags` (octal; the lowest two bits are the access mode) let its owner write.
fn is_writing(fdinfo: &Path) -> bool {
    let text = fs::read_to_string(fdinfo).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    flags
        .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| flags & 0b11 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incomplete_file_is_checked_again_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::for_product(&"app".parse().unwrap());
        config.folder = directory.path().to_owned();
        fs::create_dir(config.updates()).unwrap();
        let path = config.updates().join("a.tar.gz");
        fs::write(&path, "half").unwrap();
        let mut dropped = DropDirectory::default();
        assert_eq!(quiet_at(&mut dropped, &config, 0), 0);
        assert_eq!(quiet_at(&mut dropped, &config, 4), 1);
        dropped.cut_off(&path);
        assert_eq!(quiet_at(&mut dropped, &config, 60), 0);
        fs::write(&path, "whole now").unwrap();
        assert_eq!(quiet_at(&mut dropped, &config, 61), 0);
        assert_eq!(quiet_at(&mut dropped, &config, 65), 1);
        dropped.cut_off(&path);
        assert_eq!(quiet_at(&mut dropped, &config, 66), 0);
        assert_eq!(quiet_at(&mut dropped, &config, 61 + GIVEN_UP.as_secs()), 1);
    }

    fn quiet_at(dropped: &mut DropDirectory, config: &Config, seconds: u64) -> usize {
        dropped.quiet_files(config, Duration::from_secs(seconds)).unwrap().len()
    }

    #[test]
    fn a_file_that_is_being_written_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tar.gz");
        let file = fs::File::create(&path).unwrap();
        assert!(is_open_for_writing(&path));
        drop(file);
        let _reading = fs::File::open(&path).unwrap();
        assert!(!is_open_for_writing(&path));
    }
}
