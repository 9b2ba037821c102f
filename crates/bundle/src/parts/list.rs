//! The list of a bundle's parts.

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, HexDigest};
use crate::manifest::FormatVersion;
use crate::names::EntryName;
use crate::names::file_name::{is_bundle_name, part_name};

/// The largest part that is made unless another size is asked for, in bytes: below 2,147,483,648, where GitHub's assets end.
pub const DEFAULT_PART_SIZE: u64 = (2 << 30) - (1 << 20);

/// A number has three digits.
pub const MAX_PARTS: usize = 999;

/// The largest list that is read, in bytes.
pub(super) const MAX_LIST: u64 = 1024 * 1024;

/// What `<bundle>.parts.json` holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartsList {
    /// The version of this list's form.
    pub format_version: FormatVersion,
    /// The name of the bundle's file.
    pub bundle: EntryName,
    /// The bundle's size in bytes.
    pub size: u64,
    /// SHA-256 of the whole bundle.
    pub sha256: HexDigest,
    /// The parts, in order.
    pub parts: Vec<Part>,
}

/// A part of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The name of its file.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: HexDigest,
}

/// Why a bundle in parts is refused, or cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PartsError {
    /// A file cannot be read.
    #[error("{name} cannot be read: {source}")]
    Io {
        /// The file.
        name: String,
        /// What the system answered.
        source: std::io::Error,
    },
    /// The list is larger than any real one.
    #[error("the list of parts has more than the {MAX_LIST} bytes allowed")]
    TooLarge,
    /// The list is no JSON, lacks a key, has one twice, or a value of the wrong form.
    #[error("the list of parts cannot be read: {}", crate::text::one_line(.0))]
    Json(#[source] serde_json::Error),
    /// The list has another major version than this program reads.
    #[error("the list of parts has format {found}, and this program reads format {}.x", FORMAT.major)]
    Format {
        /// The list's version.
        found: FormatVersion,
    },
    /// The list is for a file that no bundle is called.
    #[error("`{0}` is not the name of a bundle")]
    Bundle(String),
    /// The list's file has another name than its bundle's.
    #[error("this is the list of `{bundle}`, and the file's name does not say so")]
    Renamed {
        /// The bundle that it is for.
        bundle: String,
    },
    /// There are no parts, or more than numbers.
    #[error("{0} parts; 1 to {MAX_PARTS} are possible")]
    Count(usize),
    /// A part has not the name that its place gives it.
    #[error("the list names the part `{found}` where `{expected}` must be")]
    Name {
        /// What the list says.
        found: String,
        /// What must be there.
        expected: String,
    },
    /// A part is empty or larger than any bundle.
    #[error("{name} cannot have {size} bytes")]
    PartSize {
        /// The part.
        name: String,
        /// Its size in the list.
        size: u64,
    },
    /// The parts are not as large as the whole.
    #[error("the parts have {found} bytes, but the bundle has {expected}")]
    Sum {
        /// What they have.
        found: u64,
        /// What the list says.
        expected: u64,
    },
    /// A part is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// A part has another size than the list says.
    #[error("{name} has {found} bytes, but must have {expected}")]
    Size {
        /// The part.
        name: String,
        /// Its size.
        found: u64,
        /// What the list says.
        expected: u64,
    },
    /// A part has another content than the list says.
    #[error("{name} is damaged, or of another bundle: its content has digest {found}, but must have {expected}")]
    Damaged {
        /// The part.
        name: String,
        /// Its digest.
        found: Digest,
        /// What the list says.
        expected: Digest,
    },
}

impl PartsError {
    /// Whether a file could not be read, so that nothing is known about the bundle.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Io { .. })
    }

    /// Whether more copying may complete it: parts are copied one after the other, perhaps over those of another bundle.
    #[must_use]
    pub fn may_still_come(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Size { .. } | Self::Damaged { .. })
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing(_) => Some("copy all parts beside the list"),
            Self::Size { .. } | Self::Damaged { .. } => Some("copy this part again"),
            Self::Renamed { .. } => Some("give it the name that it had"),
            Self::Format { .. } => Some("update the updater first, or use a bundle made for this version of it"),
            _ => None,
        }
    }
}

/// The version that this program writes.
pub(super) const FORMAT: FormatVersion = FormatVersion { major: 1, minor: 0 };

impl PartsList {
    /// Reads a list.
    ///
    /// # Errors
    /// [`PartsError`]: it is not one, of another version, or contradicts itself.
    pub fn from_json(bytes: &[u8]) -> Result<Self, PartsError> {
        #[derive(Deserialize)]
        struct Probe {
            format_version: FormatVersion,
        }
        if bytes.len() as u64 > MAX_LIST {
            return Err(PartsError::TooLarge);
        }
        let Probe { format_version: found } = serde_json::from_slice(bytes).map_err(PartsError::Json)?;
        if found.major != FORMAT.major {
            return Err(PartsError::Format { found });
        }
        let list: Self = serde_json::from_slice(bytes).map_err(PartsError::Json)?;
        list.check()?;
        Ok(list)
    }

    /// The list as JSON: indented, keys in declaration order, a newline at the end.
    ///
    /// # Errors
    /// [`PartsError`] for a list that no reader would accept.
    pub fn to_json(&self) -> Result<Vec<u8>, PartsError> {
        self.check()?;
        let mut json = serde_json::to_vec_pretty(self).map_err(PartsError::Json)?;
        json.push(b'\n');
        Ok(json)
    }

    fn check(&self) -> Result<(), PartsError> {
        let bundle = self.bundle.as_str();
        if !is_bundle_name(bundle) {
            return Err(PartsError::Bundle(crate::text::shorten(bundle)));
        }
        let count = self.parts.len();
        if !(1..=MAX_PARTS).contains(&count) {
            return Err(PartsError::Count(count));
        }
        let mut found = 0;
        for (index, part) in self.parts.iter().enumerate() {
            let expected = part_name(bundle, index);
            if part.name != expected {
                let found = crate::text::shorten(&part.name);
                return Err(PartsError::Name { found, expected });
            }
            if part.size == 0 || part.size > crate::manifest::MAX_SIZE {
                return Err(PartsError::PartSize {
                    name: expected,
                    size: part.size,
                });
            }
            // 999 TiB fit.
            found += part.size;
        }
        if found != self.size {
            let expected = self.size;
            return Err(PartsError::Sum { found, expected });
        }
        Ok(())
    }
}
