//! Tar headers (POSIX ustar, with GNU's binary numbers for sizes of 8 GiB and more): the one form
//! that is written, and the strict check of what is read.
//!
//! Only regular files exist in a bundle, so there are no links, directories, devices, long-name or pax
//! entries to misunderstand. A signature does not cover headers, and a program that unpacks a verified bundle as root
//! gets their owners and modes: so a header is read only if it is, byte for byte, one that is written here.

use tar::{EntryType, Header};

/// Every header and every padded content is a multiple of this, in bytes.
pub(crate) const BLOCK: u64 = 512;
/// The end of an archive: two blocks of zeros.
pub(crate) const END: [u8; 1024] = [0; 1024];

/// The number of zeros between a content of `size` bytes and the next header.
pub(crate) fn padding(size: u64) -> usize {
    ((BLOCK - size % BLOCK) % BLOCK) as usize
}

/// The header of a regular file that belongs to root. `name` has at most 100 bytes.
pub(crate) fn header(name: &str, size: u64, executable: bool, mtime: u64) -> [u8; 512] {
    debug_assert!(name.len() <= 100, "callers use EntryName or blob paths");
    written(name.as_bytes(), size, executable, mtime)
}

fn written(name: &[u8], size: u64, executable: bool, mtime: u64) -> [u8; 512] {
    let mut header = Header::new_ustar();
    for (to, from) in header.as_old_mut().name.iter_mut().zip(name) {
        *to = *from;
    }
    header.set_entry_type(EntryType::Regular);
    header.set_size(size);
    header.set_mode(if executable { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(mtime);
    header.set_cksum();
    *header.as_bytes()
}

/// What a header announces.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The name as written, not checked.
    pub(crate) name: Vec<u8>,
    /// Size of the content in bytes.
    pub(crate) size: u64,
}

/// Why a header is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Not a tar header at all, or a damaged one.
    #[error("a tar header is damaged ({0})")]
    Damaged(&'static str),
    /// An entry that is not a regular file.
    #[error("entry `{name}` is {kind}, not a regular file")]
    Kind {
        /// Its name.
        name: String,
        /// What it is.
        kind: &'static str,
    },
    /// A header that no writer of bundles makes: another owner or mode, or fields that programs read differently.
    #[error("entry `{name}` has a tar header that a bundle never has")]
    Form {
        /// Its name.
        name: String,
    },
}

/// Reads a header; `None` for a block of zeros, which begins the end of the archive.
pub(crate) fn parse(block: &[u8; 512]) -> Result<Option<Entry>, HeaderError> {
    let Some((header, entry)) = parse_any(block)? else {
        return Ok(None);
    };
    let Entry { name, size } = entry;
    if let Some(kind) = refused_kind(header.entry_type()) {
        return Err(HeaderError::Kind {
            name: crate::text::shorten_bytes(&name),
            kind,
        });
    }
    let executable = header.mode().is_ok_and(|mode| mode == 0o755);
    if written(&name, size, executable, header.mtime().unwrap_or_default()) != *block {
        return Err(HeaderError::Form {
            name: crate::text::shorten_bytes(&name),
        });
    }
    Ok(Some(Entry { name, size }))
}

/// An entry of an archive that a common tar program wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LooseKind {
    File,
    Directory,
    /// What the next entry's header does not say.
    Pax,
}

/// Reads a header that any tar program may have written, with owners, modes and times as they may be, and directories.
///
/// Only for archives without a signature, of which nothing but names, sizes and contents is ever used.
pub(crate) fn parse_loosely(block: &[u8; 512]) -> Result<Option<(Entry, LooseKind)>, HeaderError> {
    let Some((header, entry)) = parse_any(block)? else {
        return Ok(None);
    };
    let kind = match header.entry_type() {
        // Before POSIX, a directory was a file whose name ends so.
        EntryType::Regular if entry.name.ends_with(b"/") => LooseKind::Directory,
        EntryType::Regular => LooseKind::File,
        EntryType::Directory => LooseKind::Directory,
        EntryType::XHeader => LooseKind::Pax,
        other => {
            return Err(HeaderError::Kind {
                name: crate::text::shorten_bytes(&entry.name),
                kind: refused_kind(other).unwrap_or("of an unknown kind"),
            });
        }
    };
    Ok(Some((entry, kind)))
}

/// Reads what every header has, from any writer.
fn parse_any(block: &[u8; 512]) -> Result<Option<(&Header, Entry)>, HeaderError> {
    if block.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let header = Header::from_byte_slice(block);
    let mut summed = header.clone();
    summed.set_cksum();
    match header.cksum() {
        Ok(sum) if Ok(sum) == summed.cksum().map_err(|_| ()) => {}
        _ => return Err(HeaderError::Damaged("wrong checksum")),
    }
    let size = header
        .entry_size()
        .map_err(|_| HeaderError::Damaged("unreadable size"))?;
    let name = header.path_bytes().into_owned();
    Ok(Some((header, Entry { name, size })))
}

fn refused_kind(kind: EntryType) -> Option<&'static str> {
    match kind {
        EntryType::Regular => None,
        EntryType::Link => Some("a hard link"),
        EntryType::Symlink => Some("a symbolic link"),
        EntryType::Char => Some("a character device"),
        EntryType::Block => Some("a block device"),
        EntryType::Directory => Some("a directory"),
        EntryType::Fifo => Some("a named pipe"),
        EntryType::GNUSparse => Some("a sparse file"),
        EntryType::GNULongName | EntryType::GNULongLink => Some("a GNU long name"),
        EntryType::XGlobalHeader | EntryType::XHeader => Some("a pax header"),
        _ => Some("of an unknown kind"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_beyond_octal_sizes() {
        for size in [0, 1, (8 << 30) - 1, 8 << 30, 1 << 40] {
            let block = header("blobs/sha256/x", size, false, 7);
            let entry = Entry {
                name: b"blobs/sha256/x".to_vec(),
                size,
            };
            assert_eq!(parse(&block), Ok(Some(entry)));
        }
    }

    #[test]
    fn one_changed_bit_is_noticed() {
        let good = header("a", 5, false, 0);
        for bit in 0..512 * 8 {
            let mut block = good;
            block[bit / 8] ^= 1 << (bit % 8);
            assert!(parse(&block).is_err(), "bit {bit}");
        }
    }

    /// With a right checksum, a changed byte is another name, size, time or mode, or it is refused.
    #[test]
    fn nothing_else_can_be_said() {
        let good = header("abc", 5, false, 7);
        for at in 0..512 {
            let mut block = Header::from_byte_slice(&good).clone();
            block.as_mut_bytes()[at] ^= 1;
            block.set_cksum();
            let parsed = match at {
                // Name, size and time; the checksum is set right again.
                0..=3 | 124..=134 | 136..=146 | 148..=155 => continue,
                _ => parse(block.as_bytes()),
            };
            assert!(parsed.is_err(), "byte {at}: {parsed:?}");
        }
    }

    #[test]
    fn owners_modes_and_numbers_that_programs_read_differently() {
        let refused = |what: &str, change: fn(&mut Header)| {
            let mut block = Header::from_byte_slice(&header("bin/updater", 5, true, 7)).clone();
            change(&mut block);
            block.set_cksum();
            let expected = HeaderError::Form {
                name: "bin/updater".to_owned(),
            };
            assert_eq!(parse(block.as_bytes()), Err(expected), "{what}");
        };
        refused("set-user-ID", |header| header.set_mode(0o4755));
        refused("writable by all", |header| header.set_mode(0o666));
        refused("an owner", |header| header.set_uid(1000));
        refused("an owner's name", |header| header.set_username("www-data").unwrap());
        refused("bits above a size", |header| {
            header.as_old_mut().size = [0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
        });
    }
}
