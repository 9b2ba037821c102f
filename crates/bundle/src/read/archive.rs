//! The two forms of a bundle, and every entry of either.

use std::io::{Read, Seek, SeekFrom};
use std::ops::ControlFlow;

use super::error::VerifyError;
use super::located::{self, MemberReader};
use super::tar::Visit;
use super::{tar, zip};
use crate::stream::read_full;
use crate::tar_entry::Entry;

/// Gives every entry to `visit`, and checks that the archive ends and nothing follows; stops early
/// where `visit` breaks.
pub(super) fn walk<S: Read + Seek>(
    source: &mut S,
    mut visit: impl FnMut(&Entry, &mut located::Portion<'_>) -> Visit,
) -> Result<(), VerifyError> {
    match form(source)? {
        Form::TarGz => {
            let mut members = MemberReader::new(source, 0);
            if tar::walk(&mut members, &mut visit)?.is_continue() {
                tar::nothing_follows(&mut members)?;
            }
        }
        Form::Zip => {
            // What follows a zip archive was looked for first.
            let (ControlFlow::Continue(()) | ControlFlow::Break(())) = zip::walk(source, &mut visit)?;
        }
    }
    Ok(())
}

/// The two forms of a bundle, told by their first bytes and never by the file's name.
pub(super) enum Form {
    TarGz,
    Zip,
}

pub(super) fn form<S: Read + Seek>(source: &mut S) -> Result<Form, VerifyError> {
    let mut magic = [0; 4];
    source.seek(SeekFrom::Start(0))?;
    let count = read_full(source, &mut magic)?;
    source.seek(SeekFrom::Start(0))?;
    match &magic[..count] {
        [0x1f, 0x8b, ..] => Ok(Form::TarGz),
        b"PK\x03\x04" => Ok(Form::Zip),
        _ => Err(VerifyError::NotABundle),
    }
}
