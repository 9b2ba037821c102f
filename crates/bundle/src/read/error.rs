//! Why a bundle is refused.

use std::io;

use crate::digest::Digest;
use crate::image::check::ImageMismatch;
use crate::manifest::ManifestError;
use crate::names::NameError;
use crate::signature::SignatureError;
use crate::tar_entry::HeaderError;

/// Why a bundle is refused, or could not be read.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file cannot be read: nothing is known about the bundle.
    #[error("the bundle cannot be read: {0}")]
    Io(#[source] io::Error),
    /// Neither gzip nor zip.
    #[error("this is not a bundle: it is neither gzip nor zip")]
    NotABundle,
    /// The file ends before the archive does: cut off, or still being copied.
    #[error("the bundle is incomplete: the file ends before the archive does")]
    Truncated,
    /// The compressed data is damaged.
    #[error("the bundle is damaged: {0}")]
    Damaged(String),
    /// A tar header that cannot be or must not be there.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// An entry's name is refused.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The first entry is not the manifest.
    #[error("the first entry is `{0}`, not `manifest.json`")]
    ManifestNotFirst(String),
    /// The manifest is refused.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A signature was demanded, and there is none.
    #[error("the bundle is not signed")]
    Unsigned,
    /// The signature is refused.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// An entry is larger than any of its kind.
    #[error("entry `{name}` has {size} bytes, more than the {limit} allowed")]
    EntryTooLarge {
        /// The entry.
        name: String,
        /// Its size.
        size: u64,
        /// What is allowed.
        limit: u64,
    },
    /// An entry that the manifest does not name.
    #[error("entry `{0}` is not in the manifest")]
    Unexpected(String),
    /// An entry whose name was there before, perhaps in other letter case.
    #[error("entry `{0}` is there twice")]
    Duplicate(String),
    /// An entry that comes before its turn.
    #[error("entry `{found}` comes where `{expected}` should be")]
    OutOfOrder {
        /// The entry.
        found: String,
        /// Whose turn it was.
        expected: String,
    },
    /// The archive ends, and an entry of the manifest was not there.
    #[error("entry `{0}` is missing")]
    Missing(String),
    /// An entry has another size than the manifest says.
    #[error("entry `{name}` has {found} bytes, but the manifest says {expected}")]
    Size {
        /// The entry.
        name: String,
        /// Its size.
        found: u64,
        /// What the manifest says.
        expected: u64,
    },
    /// An entry has another content than the manifest says.
    #[error("entry `{name}` is not what the manifest says: its content has digest {found}")]
    Content {
        /// The entry.
        name: String,
        /// Its digest.
        found: Digest,
        /// What the manifest says.
        expected: Digest,
    },
    /// A document inside `images.tar` is not of the expected form.
    #[error("`{name}` in images.tar cannot be read: {}", crate::text::one_line(source))]
    ImageDocument {
        /// Its path.
        name: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A document inside `images.tar` names an image that the manifest does not.
    #[error("`{0}` in images.tar names images that the manifest does not")]
    ForeignImage(String),
    /// An image contradicts its record in the manifest.
    #[error("image `{image}` for {platform}: {source}")]
    Image {
        /// Its name.
        image: String,
        /// The platform.
        platform: String,
        /// The contradiction.
        source: ImageMismatch,
    },
    /// There is data after the end of the archive.
    #[error("there is data after the end of the archive")]
    TrailingData,
    /// A zip archive of a form that a bundle never has.
    #[error("the zip archive is refused: {0}")]
    Zip(String),
}

impl VerifyError {
    /// Whether the file could not be read, so that nothing is known about the bundle. Every other
    /// error is a refusal.
    #[must_use]
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Io(_))
    }

    /// What a person can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Truncated | Self::Damaged(_) => Some("copy the bundle again"),
            Self::Unsigned => Some("use a signed bundle, or verify without a trusted key"),
            Self::Signature(SignatureError::UntrustedKey(_)) => {
                Some("if the key is the publisher's new one, add it to the trusted keys")
            }
            Self::Manifest(error) => error.hint(),
            _ => None,
        }
    }
}

/// Reading errors of the archive's own streams say what is wrong in their kind.
impl From<io::Error> for VerifyError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            // A deflate stream that is damaged, and a position that no file has, are invalid input to those who read.
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Self::Damaged(error.to_string()),
            _ => Self::Io(error),
        }
    }
}
