//! Parts read as the one file that they are.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::list::{MAX_LIST, Part, PartsError, PartsList};
use crate::digest::hash_all;
use crate::names::file_name::bundle_of_list;

/// Several readers as one, each of a known size.
#[derive(Debug)]
pub struct Joined<R> {
    pieces: Vec<Piece<R>>,
    size: u64,
    /// Where the next byte is, in the whole.
    at: u64,
    /// The piece that stands where the next byte is; none after a seek.
    ready: Option<usize>,
}

#[derive(Debug)]
struct Piece<R> {
    inner: R,
    /// Where it begins in the whole.
    begin: u64,
    size: u64,
}

impl<R: Read + Seek> Joined<R> {
    /// Joins readers, each with its size in bytes.
    pub fn new(pieces: impl IntoIterator<Item = (R, u64)>) -> Self {
        let mut size = 0;
        let pieces = pieces.into_iter().map(|(inner, length)| {
            let begin = size;
            size += length;
            Piece {
                inner,
                begin,
                size: length,
            }
        });
        Self {
            pieces: pieces.collect(),
            size,
            at: 0,
            ready: None,
        }
    }

    /// The size of the whole in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Joined<File> {
    /// Opens all parts that the list at `path` names, which lie beside it. Each must have its size.
    ///
    /// # Errors
    /// [`PartsError`]: the list is refused or has not its bundle's name; a part is missing or has another size.
    pub fn open(path: &Path) -> Result<Self, PartsError> {
        let list = read_list(path)?;
        let mut pieces = Vec::with_capacity(list.parts.len());
        for (part, place) in places(&list, path) {
            let file = open(&place)?;
            let metadata = file.metadata().map_err(|source| unreadable(&place, source))?;
            if metadata.len() != part.size || !metadata.is_file() {
                return Err(PartsError::Size {
                    name: part.name.clone(),
                    found: metadata.len(),
                    expected: part.size,
                });
            }
            pieces.push((file, part.size));
        }
        Ok(Self::new(pieces))
    }
}

impl<R: Read + Seek> Read for Joined<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // No piece is empty, so only one can hold the next byte.
        let index = self.pieces.partition_point(|piece| piece.begin + piece.size <= self.at);
        let Some(piece) = self.pieces.get_mut(index) else {
            return Ok(0);
        };
        let inside = self.at - piece.begin;
        if self.ready != Some(index) {
            piece.inner.seek(SeekFrom::Start(inside))?;
        }
        // Not known until it has been read.
        self.ready = None;
        let left = usize::try_from(piece.size - inside).unwrap_or(usize::MAX);
        let want = buffer.len().min(left);
        let count = piece.inner.read(&mut buffer[..want])?;
        if count == 0 && want > 0 {
            // It was as long as it had to be when it was opened.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        self.ready = Some(index);
        Ok(count)
    }
}

impl<R: Read + Seek> Seek for Joined<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        let target = target.ok_or(io::ErrorKind::InvalidInput)?;
        if target != self.at {
            self.ready = None;
        }
        self.at = target;
        Ok(target)
    }
}

/// A bundle that is opened to be read: one file, or parts.
#[derive(Debug)]
pub enum Source {
    /// One file.
    File(File),
    /// Parts, joined.
    Parts(Joined<File>),
}

impl Source {
    /// Opens a bundle, or the parts of one where `path` is called as their list.
    ///
    /// # Errors
    /// [`PartsError`]; for one file only [`PartsError::Io`].
    pub fn open(path: &Path) -> Result<Self, PartsError> {
        if is_list(path) {
            Joined::open(path).map(Self::Parts)
        } else {
            File::open(path)
                .map(Self::File)
                .map_err(|source| unreadable(path, source))
        }
    }

    /// The same open files once more. Both read from where they stand, so only one may be read at a time, after seeking.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::File(file) => Self::File(file.try_clone()?),
            Self::Parts(parts) => {
                let clone = |piece: &Piece<File>| Ok((piece.inner.try_clone()?, piece.size));
                let pieces = parts.pieces.iter().map(clone).collect::<io::Result<Vec<_>>>()?;
                Self::Parts(Joined::new(pieces))
            }
        })
    }

    /// The bundle's size in bytes.
    ///
    /// # Errors
    /// The file's size cannot be read.
    pub fn size(&self) -> io::Result<u64> {
        match self {
            Self::File(file) => Ok(file.metadata()?.len()),
            Self::Parts(parts) => Ok(parts.size()),
        }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Parts(parts) => parts.read(buffer),
        }
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::File(file) => file.seek(to),
            Self::Parts(parts) => parts.seek(to),
        }
    }
}

/// Finds the first part of the list at `path` that is not what the list says, by reading them all; nothing to find in a
/// bundle of one file. For a bundle that was refused: why is then said best by which part to fetch again.
///
/// # Errors
/// [`PartsError`]: that part, or what [`Joined::open`] gives.
pub fn find_damage(path: &Path) -> Result<(), PartsError> {
    if !is_list(path) {
        return Ok(());
    }
    let list = read_list(path)?;
    for (part, place) in places(&list, path) {
        let (found, size) = hash_all(open(&place)?).map_err(|source| unreadable(&place, source))?;
        let (name, expected) = (part.name.clone(), part.sha256.0);
        if size != part.size {
            let (found, expected) = (size, part.size);
            return Err(PartsError::Size { name, found, expected });
        }
        if found != expected {
            return Err(PartsError::Damaged { name, found, expected });
        }
    }
    Ok(())
}

fn is_list(path: &Path) -> bool {
    bundle_of_list(&name_of(path)).is_some()
}

/// Reads the list, whose file must be called after its bundle: else a list that was renamed would name parts of another.
fn read_list(path: &Path) -> Result<PartsList, PartsError> {
    let mut bytes = Vec::new();
    open(path)?
        .take(MAX_LIST + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| unreadable(path, source))?;
    let list = PartsList::from_json(&bytes)?;
    if bundle_of_list(&name_of(path)) != Some(list.bundle.as_str()) {
        let bundle = list.bundle.to_string();
        return Err(PartsError::Renamed { bundle });
    }
    Ok(list)
}

/// Every part with its place beside the list.
fn places<'a>(list: &'a PartsList, path: &'a Path) -> impl Iterator<Item = (&'a Part, PathBuf)> {
    list.parts.iter().map(|part| (part, path.with_file_name(&part.name)))
}

fn open(path: &Path) -> Result<File, PartsError> {
    File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => PartsError::Missing(name_of(path)),
        _ => unreadable(path, source),
    })
}

fn unreadable(path: &Path, source: io::Error) -> PartsError {
    let name = path.display().to_string();
    PartsError::Io { name, source }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
