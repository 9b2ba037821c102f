//! Walking a zip archive, strictly.
//!
//! Zip says everything twice, in front of each entry and in a directory at the end, and programs
//! differ in which they believe: so both must agree, and nothing else may be in the file, such as a second
//! directory for other programs to find. Size and position of the directory are checked before the directory is
//! read.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::ControlFlow;

use zip::{CompressionMethod, ZipArchive};

use super::error::VerifyError;
use super::located::{Located, Location, Portion};
use super::tar::Visit;
use crate::stream::CHUNK;
use crate::tar_entry::{Entry, HeaderError};

/// The end record without a comment (APPNOTE 4.3.16), in bytes.
const END_LENGTH: usize = 22;
/// The zip64 end record and its locator (APPNOTE 4.3.14 and 4.3.15), in bytes.
const END64_LENGTH: usize = 56 + 20;
/// What a zip64 end record without extensions says of its own size: that of what follows the number, in bytes.
const END64_REST: u64 = 56 - 12;
/// A bundle has at most 1024 files, manifest, signature and images.
const MAX_ENTRIES: u64 = 1027;
/// The largest directory that is read, in bytes.
const MAX_DIRECTORY: u64 = 1024 * 1024;

/// The Unix modes of programs and of other files; none where a system without modes wrote the archive.
const MODES: [u32; 3] = [0o100_755, 0o100_644, 0];

/// Gives every entry to `visit`, in the order of their contents, until `visit` breaks.
pub(super) fn walk<S: Read + Seek>(source: &mut S, mut visit: impl FnMut(&Entry, &mut Portion<'_>) -> Visit) -> Visit {
    check_end(source)?;
    let mut archive = ZipArchive::new(BufReader::with_capacity(CHUNK, source)).map_err(refused)?;
    if archive.offset() != 0 {
        return Err(VerifyError::Zip("something stands before the archive".to_owned()));
    }
    archive.validate_header_consistency().map_err(refused)?;
    for index in in_order(&mut archive)? {
        let file = archive.by_index(index).map_err(refused)?;
        let entry = Entry {
            name: file.name_raw().to_vec(),
            size: file.size(),
        };
        let kind = if file.is_symlink() {
            Some("a symbolic link")
        } else if file.is_dir() {
            Some("a directory")
        } else {
            None
        };
        if let Some(kind) = kind {
            return Err(HeaderError::Kind {
                name: crate::text::shorten_bytes(&entry.name),
                kind,
            }
            .into());
        }
        // A program that unpacks a verified bundle gets the mode, which no signature covers. The crate's own method hides bits.
        if !MODES.contains(&(file.external_attributes() >> 16)) {
            let name = crate::text::shorten_bytes(&entry.name);
            return Err(VerifyError::Zip(format!(
                "entry `{name}` has a mode that a bundle never has"
            )));
        }
        let offset = file
            .data_start()
            .ok_or_else(|| VerifyError::Zip("an entry has no content".to_owned()))?;
        let stored = match file.compression() {
            CompressionMethod::Stored => true,
            CompressionMethod::Deflated => false,
            other => {
                return Err(VerifyError::Zip(format!("compression {other} is not allowed")));
            }
        };
        let mut content = Content {
            file,
            offset,
            stored,
            read: 0,
        };
        let mut portion = Portion::new(&mut content, entry.size);
        if visit(&entry, &mut portion)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        // Reading on to the very end makes the zip reader compare the checksum.
        if portion.left() > 0 || content.read(&mut [0])? > 0 {
            return Err(VerifyError::Zip("an entry is longer than it says".to_owned()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// The entries as they lie in the file, where they fill it up to the directory.
fn in_order<R: Read + Seek>(archive: &mut ZipArchive<R>) -> Result<Vec<usize>, VerifyError> {
    let mut order = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let file = archive.by_index_raw(index).map_err(refused)?;
        let end = file
            .data_start()
            .and_then(|start| start.checked_add(file.compressed_size()));
        order.push((file.header_start(), end, index));
    }
    order.sort_unstable();
    let mut at = Some(0);
    for (start, end, _) in &order {
        if at != Some(*start) {
            return Err(VerifyError::Zip("something stands between its entries".to_owned()));
        }
        at = *end;
    }
    if at != Some(archive.central_directory_start()) {
        return Err(VerifyError::Zip("something stands before its directory".to_owned()));
    }
    Ok(order.into_iter().map(|(_, _, index)| index).collect())
}

fn refused(error: zip::result::ZipError) -> VerifyError {
    match error {
        zip::result::ZipError::Io(error) => error.into(),
        error => VerifyError::Zip(error.to_string()),
    }
}

/// Checks the end record: at the very end of the file, without a comment, and of modest numbers.
fn check_end<S: Read + Seek>(source: &mut S) -> Result<(), VerifyError> {
    let length = source.seek(SeekFrom::End(0))?;
    let Some(at) = length.checked_sub(END_LENGTH as u64) else {
        return Err(VerifyError::Truncated);
    };
    source.seek(SeekFrom::Start(at))?;
    let mut end = [0; END_LENGTH];
    source.read_exact(&mut end)?;
    source.seek(SeekFrom::Start(0))?;
    if !end.starts_with(b"PK\x05\x06") || end[20..] != [0, 0] {
        // Cut off, or something was added: a zip archive tells the one from the other by chance only.
        return Err(VerifyError::Zip(
            "the file does not end where the archive does".to_owned(),
        ));
    }
    let (entries, directory, position) = (number(&end, 10, 2), number(&end, 12, 4), number(&end, 16, 4));
    let found = if directory == u64::from(u32::MAX) || position == u64::from(u32::MAX) {
        check_end64(source, at)?
    } else {
        // Some programs look for a zip64 record even where this one says everything.
        Directory {
            entries,
            size: directory,
            start: position,
            end: at,
        }
    };
    if found.entries > MAX_ENTRIES || found.size > MAX_DIRECTORY {
        let Directory { entries, size, .. } = found;
        return Err(VerifyError::Zip(format!("{entries} entries in {size} bytes")));
    }
    if found.start.checked_add(found.size) != Some(found.end) {
        return Err(VerifyError::Zip("something stands after its directory".to_owned()));
    }
    source.seek(SeekFrom::Start(0))?;
    Ok(())
}

/// What an end record says of the directory, and where that must end.
struct Directory {
    entries: u64,
    size: u64,
    start: u64,
    end: u64,
}

/// The zip64 end record and its locator, which stand right before the end record at `end`.
fn check_end64<S: Read + Seek>(source: &mut S, end: u64) -> Result<Directory, VerifyError> {
    let misplaced = || VerifyError::Zip("its zip64 record is not where it must be".to_owned());
    let at = end.checked_sub(END64_LENGTH as u64).ok_or_else(misplaced)?;
    source.seek(SeekFrom::Start(at))?;
    let mut record = [0; END64_LENGTH];
    source.read_exact(&mut record)?;
    let placed = record.starts_with(b"PK\x06\x06")
        && number(&record, 4, 8) == END64_REST
        && record[56..].starts_with(b"PK\x06\x07")
        && number(&record, 56 + 8, 8) == at;
    if !placed {
        return Err(misplaced());
    }
    Ok(Directory {
        entries: number(&record, 32, 8),
        size: number(&record, 40, 8),
        start: number(&record, 48, 8),
        end: at,
    })
}

/// The little-endian number of `length` bytes at `from`.
fn number(bytes: &[u8], from: usize, length: usize) -> u64 {
    let digits = bytes[from..from + length].iter().rev();
    digits.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The content of one entry.
struct Content<R> {
    file: R,
    offset: u64,
    stored: bool,
    read: u64,
}

impl<R: Read> Read for Content<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read += count as u64;
        Ok(count)
    }
}

impl<R: Read> Located for Content<R> {
    fn location(&mut self) -> io::Result<Location> {
        Ok(match self.stored {
            true => Location::Stored {
                offset: self.offset + self.read,
            },
            false => Location::Deflated {
                offset: self.offset,
                inside: self.read,
            },
        })
    }
}
