//! Names that come from outside, as types which refuse the dangerous ones.
//!
//! A value of these types can be joined to a directory or printed without another look. Nothing here
//! touches a file system.

pub(crate) mod file_name;
pub mod tag;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::text::shorten;

/// The entry with the manifest: always the first of a bundle.
pub const MANIFEST: &str = "manifest.json";
/// The entry with the manifest's signature: always the second, where there is one.
pub const SIGNATURE: &str = "manifest.json.minisig";
/// The entry with all images: always the last.
pub const IMAGES: &str = "images.tar";

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("name `{name}` is refused: {reason}")]
pub struct NameError {
    /// The refused text, shortened.
    pub name: String,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// The path of a file inside a bundle, such as `bin/updater-linux-arm64`.
///
/// Relative, at most 100 bytes (what a tar header holds), printable ASCII, and safe to create below
/// a directory on Unix and on Windows. Equality is exact; [`EntryName::folded`] is what two names must
/// differ in to live in one directory everywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(String);

impl EntryName {
    /// The longest name, in bytes: the `name` field of a POSIX ustar header.
    pub const MAX_LENGTH: usize = 100;

    /// The name as text, with `/` between its parts.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name as file systems without case see it.
    #[must_use]
    pub fn folded(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// Whether the format itself uses this name (manifest, signature or images).
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        [MANIFEST, SIGNATURE, IMAGES].contains(&self.folded().as_str())
    }
}

impl FromStr for EntryName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        unless(entry_name_fault(name), name).map(Self)
    }
}

/// The name, unless there is a fault in it.
fn unless(fault: Option<&'static str>, name: &str) -> Result<String, NameError> {
    match fault {
        None => Ok(name.to_owned()),
        Some(reason) => Err(NameError {
            name: shorten(name),
            reason,
        }),
    }
}

fn entry_name_fault(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("it is empty");
    }
    if name.len() > EntryName::MAX_LENGTH {
        return Some("it is longer than 100 bytes");
    }
    if name.starts_with('/') {
        return Some("it is absolute");
    }
    if name.contains('\\') {
        return Some("it contains a backslash");
    }
    if !name.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Some("it contains a character that is not printable ASCII");
    }
    if name.contains([':', '*', '?', '"', '<', '>', '|']) {
        return Some("it contains a character that Windows does not allow");
    }
    name.split('/').find_map(|part| match part {
        "" => Some("it has an empty part"),
        "." | ".." => Some("it has a `.` or `..` part"),
        _ if part.starts_with('-') => Some("a part begins with `-`"),
        _ if part.starts_with(' ') || part.ends_with([' ', '.']) => {
            Some("a part begins with a space or ends with a space or a dot")
        }
        _ => None,
    })
}

/// The name of a product: lower-case letters, digits and `-`, at most 63 bytes, such as `webmacs`.
///
/// It becomes part of file names, unit names and directories.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProductName(String);

impl ProductName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProductName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        let fault = if name.is_empty() || name.len() > 63 {
            Some("it must have 1 to 63 characters")
        } else if name.starts_with('-') {
            Some("it begins with `-`")
        } else if !name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            Some("only lower-case letters, digits and `-` are allowed")
        } else {
            None
        };
        unless(fault, name).map(Self)
    }
}

/// The name of a repository with its owner: `owner/name`, as GitHub allows both.
///
/// It becomes part of addresses, and nothing in it needs quoting there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(String);

impl RepositoryName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        let plain = |text: &str, more: &[u8], longest: usize| {
            (1..=longest).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b))
        };
        let fault = match name.split_once('/') {
            None => Some("it must be `owner/name`"),
            // An underscore stands in the names of users that a company manages.
            Some((owner, _)) if !plain(owner, b"-_", 39) || owner.starts_with('-') => {
                Some("an owner has 1 to 39 letters, digits, `-` and `_`, and does not begin with `-`")
            }
            Some((_, repository)) if !plain(repository, b"-_.", 100) || [".", ".."].contains(&repository) => {
                Some("a repository has 1 to 100 letters, digits, `-`, `_` and `.`")
            }
            Some(_) => None,
        };
        unless(fault, name).map(Self)
    }
}

macro_rules! as_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

/// Sets and maps of names can be asked with text.
impl std::borrow::Borrow<str> for EntryName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

as_text!(EntryName);
as_text!(ProductName);
as_text!(RepositoryName);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_names() {
        for name in [
            "install.sh",
            "bin/updater-linux-arm64",
            ".env.example",
            "a b/c+d@e",
            "..a",
        ] {
            assert_eq!(name.parse::<EntryName>().unwrap().as_str(), name);
        }
        for name in ["webmacs", "a", "4-you"] {
            assert_eq!(name.parse::<ProductName>().unwrap().as_str(), name);
        }
    }

    #[test]
    fn dangerous_names() {
        let long = "a".repeat(101);
        for name in [
            "",
            "/etc/passwd",
            "../x",
            "a/../b",
            "a/./b",
            "a//b",
            "a/",
            "a\\b",
            "C:x",
            "a\0b",
            "a\nb",
            "ümlaut",
            "-rf",
            "a/-b",
            "a.",
            "a ",
            " a",
            "a\u{7f}",
            "x/..",
            &long,
        ] {
            assert!(name.parse::<EntryName>().is_err(), "{name:?}");
        }
        for name in ["", "-a", "A", "a_b", "a/b", "..", &long] {
            assert!(name.parse::<ProductName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn repositories() {
        for name in ["owner/name", "a/b.c", "A-1/x_y", "user_company/.github"] {
            assert_eq!(name.parse::<RepositoryName>().unwrap().as_str(), name);
        }
        for name in [
            "", "a", "/a", "a/", "a/b/c", "-a/b", "a/..", "a/.", "a/b?c", "a/b#c", "a/b c", "a@b/c", "a/%2e", "ä/b",
        ] {
            assert!(name.parse::<RepositoryName>().is_err(), "{name:?}");
        }
    }

    #[test]
    fn reserved_in_any_case() {
        assert!("Manifest.JSON".parse::<EntryName>().unwrap().is_reserved());
        assert!(!"bin/manifest.json".parse::<EntryName>().unwrap().is_reserved());
    }
}
