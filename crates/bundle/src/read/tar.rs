//! Walking a tar archive, strictly: regular files only, zeros where there must be zeros, and an end.

use std::io::Read;
use std::ops::ControlFlow;

use super::error::VerifyError;
use super::located::{Located, Portion};
use crate::stream::read_full;
use crate::tar_entry::{BLOCK, Entry, HeaderError, padding, parse};

/// How many zeros may follow the end of an archive: tar programs fill up their last record.
const MAX_FILL: u64 = 64 * 1024;

/// What a visited entry gives: whether to go on, or why the bundle is refused.
pub(super) type Visit = Result<ControlFlow<()>, VerifyError>;

/// Gives every entry to `visit`, up to and with the end of the archive, or until `visit` breaks.
pub(super) fn walk(reader: &mut dyn Located, mut visit: impl FnMut(&Entry, &mut Portion<'_>) -> Visit) -> Visit {
    let strict = |block: &[u8; 512]| Ok(parse(block)?.map(|entry| (entry, ())));
    walk_as(reader, strict, |entry, (), content| visit(entry, content))
}

/// As [`walk`], with the headers read by `parse`, which may tell more of each entry.
pub(super) fn walk_as<K>(
    reader: &mut dyn Located,
    parse: impl Fn(&[u8; 512]) -> Result<Option<(Entry, K)>, HeaderError>,
    mut visit: impl FnMut(&Entry, K, &mut Portion<'_>) -> Visit,
) -> Visit {
    loop {
        let mut block = [0; 512];
        reader.read_exact(&mut block)?;
        let Some((entry, kind)) = parse(&block)? else { break };
        let mut content = Portion::new(&mut *reader, entry.size);
        if visit(&entry, kind, &mut content)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if content.left() > 0 {
            return Err(HeaderError::Damaged("an entry was not read to its end").into());
        }
        zeros(reader, padding(entry.size))?;
    }
    // The first of the two blocks of zeros was taken for a header.
    zeros(reader, BLOCK as usize)?;
    Ok(ControlFlow::Continue(()))
}

fn zeros(reader: &mut dyn Located, count: usize) -> Result<(), VerifyError> {
    let mut block = [0; 512];
    reader.read_exact(&mut block[..count])?;
    match block[..count].iter().all(|byte| *byte == 0) {
        true => Ok(()),
        false => Err(HeaderError::Damaged("something where zeros must be").into()),
    }
}

/// Checks that nothing but a few zeros follows.
pub(super) fn nothing_follows(reader: &mut impl Read) -> Result<(), VerifyError> {
    let mut buffer = [0; 4096];
    let mut total = 0;
    loop {
        let count = read_full(reader, &mut buffer)?;
        total += count as u64;
        if total > MAX_FILL || buffer[..count].iter().any(|byte| *byte != 0) {
            return Err(VerifyError::TrailingData);
        }
        if count < buffer.len() {
            return Ok(());
        }
    }
}
