//! The two forms of a bundle, and every entry of either.

use std::io::{Read, Seek, SeekFrom};
use std::ops::ControlFlow;

use super::error::VerifyError;
use super::located::{self, MemberReader};
use super::tar::Visit;
use super::{tar, zip};
use crate::names::file_name::Archive;
use crate::stream::read_full;
use crate::tar_entry::Entry;

/// Gives every entry to `visit`, and checks that the archive ends and nothing follows; stops early
/// where `visit` breaks.
pub(super) fn walk<S: Read + Seek>(
    source: &mut S,
    mut visit: impl FnMut(&Entry, &mut located::Portion<'_>) -> Visit,
) -> Result<(), VerifyError> {
    match form(source)? {
        Archive::TarGz => {
            let mut members = MemberReader::new(source, 0);
            if tar::walk(&mut members, &mut visit)?.is_continue() {
                tar::nothing_follows(&mut members)?;
            }
        }
        Archive::Zip => {
            // What follows a zip archive was looked for first.
            let (ControlFlow::Continue(()) | ControlFlow::Break(())) = zip::walk(source, &mut visit)?;
        }
    }
    Ok(())
}

/// The form of a bundle, known by its first bytes, never by the file's name.
pub(super) fn form<S: Read + Seek>(source: &mut S) -> Result<Archive, VerifyError> {
    let mut magic = [0; 4];
    source.seek(SeekFrom::Start(0))?;
    let count = read_full(source, &mut magic)?;
    source.seek(SeekFrom::Start(0))?;
    Archive::of_content(&magic[..count]).ok_or(VerifyError::NotABundle)
}
