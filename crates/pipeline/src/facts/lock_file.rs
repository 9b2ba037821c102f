//! The lock file: which registry images a release is made from, by digest.
//!
//! Every image that comes from a registry, whether it ships as it is or others are built on it, has an entry.
//! A builder is always asked for the digest, so a tag that moves changes nothing until `cargo xtask lock`
//! is run and its result committed.

use std::{fs, io, path::Path};

use bundle::Digest;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, system::files};

const HEAD: &str = "# Pins every image that comes from a registry. Made by `cargo xtask lock`; commit it.\n\n";

/// The content of the lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    /// The file format's version; 1.
    pub format: u32,
    /// The images, sorted by reference.
    #[serde(default, rename = "image")]
    pub images: Vec<LockedImage>,
}

/// One image of the lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LockedImage {
    /// The reference exactly as the compose file or the Dockerfile writes it.
    pub reference: String,
    /// Who the digest was learnt from.
    pub source: LockSource,
    /// The digest of the image's index (or manifest) in the registry; none while no registry has been asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
}

/// Who a digest was learnt from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LockSource {
    /// The registry that the reference names.
    Registry,
    /// No registry: releases so far were made from a substitute, and cannot be published.
    Substitute,
}

impl Default for Lock {
    fn default() -> Self {
        Self {
            format: 1,
            images: Vec::new(),
        }
    }
}

impl Lock {
    /// Reads the lock file; one that is not there is empty.
    ///
    /// # Errors
    /// The file cannot be read, or is not a lock file of a known format.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        let lock: Self = toml::from_str(&text).map_err(|error| Error::Content {
            path: path.to_owned(),
            message: error.to_string(),
        })?;
        if lock.format != 1 {
            let message = format!("has format {}, this program knows format 1", lock.format);
            return Err(Error::Content {
                path: path.to_owned(),
                message,
            });
        }
        Ok(lock)
    }

    /// Writes the lock file, sorted, all or nothing.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        files::write_atomically(path, self.to_text().as_bytes())
    }

    /// The file's text.
    pub(crate) fn to_text(&self) -> String {
        let mut sorted = self.clone();
        sorted.images.sort_by(|a, b| a.reference.cmp(&b.reference));
        // A lock of strings and numbers always has a TOML form.
        HEAD.to_owned() + &toml::to_string(&sorted).unwrap_or_default()
    }

    /// The entry of `reference`.
    pub(crate) fn get(&self, reference: &str) -> Option<&LockedImage> {
        self.images.iter().find(|image| image.reference == reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_again_sorted() {
        let image = |reference: &str, digest: Option<Digest>| LockedImage {
            reference: reference.to_owned(),
            source: if digest.is_some() {
                LockSource::Registry
            } else {
                LockSource::Substitute
            },
            digest,
        };
        let lock = Lock {
            format: 1,
            images: vec![image("b:1", None), image("a:1", Some(Digest::of(b"x")))],
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("release.lock");
        lock.write(&path).unwrap();
        let read = Lock::read(&path).unwrap();
        assert_eq!(read.images[0].reference, "a:1");
        assert_eq!(read.get("a:1").unwrap().digest, Some(Digest::of(b"x")));
        assert_eq!(read.get("b:1").unwrap().source, LockSource::Substitute);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("release.lock");
        fs::write(&path, "format = 2\n").unwrap();
        assert!(Lock::read(&path).unwrap_err().to_string().contains("has format 2"));
    }
}
