//! A file of the release.

use std::path::{Path, PathBuf};

use bundle::{Digest, parts::DEFAULT_PART_SIZE};
use serde::Serialize;

use crate::{
    Result,
    system::files::{file_name, hash_file},
};

/// A file of the release.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Asset {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// `sha256:` and its SHA-256 in hex, as GitHub writes it.
    pub digest: String,
    /// Its media type.
    pub content_type: &'static str,
    /// Where its bytes are.
    #[serde(skip)]
    pub content: Content,
}

/// Where an asset's bytes are.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// In a file, or in a piece of one.
    File {
        /// The file.
        path: PathBuf,
        /// Where the piece begins.
        offset: u64,
    },
    /// Here.
    Bytes(Vec<u8>),
}

impl Asset {
    /// An asset that is made here.
    pub(super) fn of_bytes(name: &str, bytes: Vec<u8>) -> Self {
        Self {
            name: name.to_owned(),
            size: bytes.len() as u64,
            digest: Digest::of(&bytes).to_string(),
            content_type: content_type(name),
            content: Content::Bytes(bytes),
        }
    }

    pub(super) fn of_file(path: &Path) -> Result<Self> {
        let (digest, size) = hash_file(path)?;
        let name = file_name(path);
        Ok(Self {
            size,
            digest: digest.to_string(),
            content_type: content_type(&name),
            content: Content::File {
                path: path.to_owned(),
                offset: 0,
            },
            name,
        })
    }

    /// Why GitHub would refuse it; none if it would not.
    pub(super) fn problem(&self) -> Option<String> {
        let kept = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
        if let Some(odd) = self.name.chars().find(|c| !kept(*c)) {
            return Some(format!("GitHub would change its name, which has a {odd:?}"));
        }
        if self.name.starts_with('.') || self.name.ends_with('.') || self.name.is_empty() {
            return Some("GitHub would change its name, which begins or ends with a dot".to_owned());
        }
        if self.size == 0 {
            return Some("it is empty, which GitHub refuses".to_owned());
        }
        (self.size > DEFAULT_PART_SIZE).then(|| {
            let size = crate::system::report::bytes(self.size);
            format!("it has {size}, and GitHub takes less than 2 GiB")
        })
    }
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "gz" => "application/gzip",
        "zip" => "application/zip",
        "json" => "application/json",
        "sh" => "text/x-shellscript",
        _ if name == CHECKSUMS => "text/plain",
        _ => "application/octet-stream",
    }
}

/// The name of the file with all checksums.
pub(super) const CHECKSUMS: &str = "SHA256SUMS";
