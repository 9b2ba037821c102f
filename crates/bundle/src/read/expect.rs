//! What the checks of entries share.

use std::io::Read;

use super::error::VerifyError;
use super::located::{Location, Portion};
use crate::digest::{Digest, Hasher};
use crate::names::EntryName;
use crate::stream::each_chunk;

/// Where a verified content lies, and what it must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) location: Location,
    pub(super) size: u64,
    pub(super) digest: Digest,
}

/// The name of an entry, which must be a safe one.
pub(super) fn name_of(raw: &[u8]) -> Result<EntryName, VerifyError> {
    Ok(String::from_utf8_lossy(raw).parse()?)
}

pub(super) fn expect_size(name: &str, found: u64, expected: u64) -> Result<(), VerifyError> {
    if found == expected {
        Ok(())
    } else {
        Err(VerifyError::Size {
            name: name.to_owned(),
            found,
            expected,
        })
    }
}

pub(super) fn expect_digest(name: &str, found: Digest, expected: Digest) -> Result<(), VerifyError> {
    if found == expected {
        Ok(())
    } else {
        Err(VerifyError::Content {
            name: name.to_owned(),
            found,
            expected,
        })
    }
}

/// Reads an entry that fits into memory.
pub(super) fn small(
    name: &impl ToString,
    size: u64,
    limit: u64,
    content: &mut impl Read,
) -> Result<Vec<u8>, VerifyError> {
    if size > limit {
        return Err(VerifyError::EntryTooLarge {
            name: name.to_string(),
            size,
            limit,
        });
    }
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The digest of what is left of `content`; `progress` gets the size of each piece.
pub(super) fn hash(content: &mut Portion<'_>, progress: &dyn Fn(u64)) -> Result<Digest, VerifyError> {
    let mut hasher = Hasher::new();
    each_chunk(content, |bytes| {
        hasher.update(bytes);
        progress(bytes.len() as u64);
    })?;
    Ok(hasher.finish())
}
