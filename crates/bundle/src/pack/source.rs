//! What is streamed into a bundle: a list of pieces, fed in order to a sink.
//!
//! Reading and checking run in a thread of their own, so that they overlap with the work of the
//! sink. Memory stays at a few chunks, for pieces of any size.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::thread;

use super::gzip::STORED_CHUNK;
use crate::digest::{Digest, Hasher};
use crate::error::PackError;
use crate::store::BlobStore;
use crate::stream::read_full;

/// How many chunks wait between the reading thread and the sink.
const WAITING: usize = 4;

/// One piece of a stream.
#[derive(Debug, Clone)]
pub(crate) enum Piece<'a> {
    /// Bytes in memory.
    Bytes(Cow<'a, [u8]>),
    /// An image blob.
    Blob {
        digest: Digest,
        size: u64,
        /// Whether compressing it again would be a waste.
        compressed: bool,
    },
    /// A file.
    File { path: &'a Path, sha256: Digest, size: u64 },
}

/// Pieces in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Source<'a>(Vec<Piece<'a>>);

/// What a sink is given.
pub(crate) enum Chunk<'a> {
    /// Bytes worth compressing.
    Plain(&'a [u8]),
    /// The next bytes of a compressed blob: [`STORED_CHUNK`] of them, fewer only in the last.
    Compressed { bytes: &'a [u8], first: bool, last: bool },
}

impl<'a> From<Piece<'a>> for Source<'a> {
    fn from(piece: Piece<'a>) -> Self {
        Self(vec![piece])
    }
}

impl<'a> Source<'a> {
    pub(crate) fn push(&mut self, piece: Piece<'a>) {
        self.0.push(piece);
    }

    pub(crate) fn append(&mut self, mut other: Source<'a>) {
        self.0.append(&mut other.0);
    }

    pub(crate) fn bytes(bytes: &'a [u8]) -> Self {
        Self::from(Piece::Bytes(bytes.into()))
    }

    /// Feeds every piece to `sink` until it breaks.
    pub(crate) fn feed(
        &self,
        store: &(dyn BlobStore + Sync),
        mut sink: impl FnMut(Chunk<'_>) -> ControlFlow<()>,
    ) -> Result<(), PackError> {
        let mut buffer = vec![0; STORED_CHUNK];
        for piece in &self.0 {
            let flow = match piece {
                Piece::Bytes(bytes) => sink(Chunk::Plain(bytes)),
                Piece::Blob {
                    digest,
                    size,
                    compressed,
                } => {
                    let failed = |source| PackError::Blob {
                        digest: *digest,
                        source,
                    };
                    let file = store.open(digest).map_err(failed)?;
                    let expected = (*digest, *size);
                    match copy(file, expected, &mut buffer, *compressed, &mut sink) {
                        Ok(flow) => flow,
                        Err(CopyError::Read(source)) => return Err(failed(source)),
                        Err(CopyError::Size(found)) => {
                            let (digest, recorded) = expected;
                            return Err(PackError::BlobSize {
                                digest,
                                found,
                                recorded,
                            });
                        }
                        Err(CopyError::Digest(found)) => {
                            return Err(PackError::BlobChanged { digest: *digest, found });
                        }
                    }
                }
                Piece::File { path, sha256, size } => {
                    let failed = |source| PackError::File {
                        path: path.to_path_buf(),
                        source,
                    };
                    let file = File::open(path).map_err(failed)?;
                    match copy(file, (*sha256, *size), &mut buffer, false, &mut sink) {
                        Ok(flow) => flow,
                        Err(CopyError::Read(source)) => return Err(failed(source)),
                        Err(CopyError::Size(_) | CopyError::Digest(_)) => {
                            let shown = path.display();
                            return Err(PackError::NotAsManifest(format!("{shown} differs")));
                        }
                    }
                }
            };
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }
}

enum CopyError {
    Read(io::Error),
    /// The content has another size: this many bytes, or one more than expected.
    Size(u64),
    /// The content has another digest: this one.
    Digest(Digest),
}

/// Copies `file` to `sink` in chunks, checking that it is what is expected. The sink sees the last
/// chunk only after the check of the size, so it never gets more bytes than were announced.
fn copy(
    mut file: File,
    (digest, size): (Digest, u64),
    buffer: &mut [u8],
    compressed: bool,
    sink: &mut impl FnMut(Chunk<'_>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, CopyError> {
    let mut hasher = Hasher::new();
    let mut first = true;
    loop {
        let left = size - hasher.length();
        let want = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = read_full(&mut file, &mut buffer[..want]).map_err(CopyError::Read)?;
        hasher.update(&buffer[..count]);
        if count < want {
            return Err(CopyError::Size(hasher.length()));
        }
        let last = hasher.length() == size;
        if last && read_full(&mut file, &mut [0]).map_err(CopyError::Read)? > 0 {
            return Err(CopyError::Size(size + 1));
        }
        let bytes = &buffer[..count];
        let flow = if compressed {
            sink(Chunk::Compressed { bytes, first, last })
        } else {
            sink(Chunk::Plain(bytes))
        };
        if flow.is_break() {
            return Ok(flow);
        }
        first = false;
        if last {
            break;
        }
    }
    match hasher.finish() {
        found if found == digest => Ok(ControlFlow::Continue(())),
        found => Err(CopyError::Digest(found)),
    }
}

/// Feeds `source` from another thread and gives its bytes to `consume` in this one.
pub(crate) fn stream(
    source: &Source<'_>,
    store: &(dyn BlobStore + Sync),
    mut consume: impl FnMut(&[u8]) -> Result<(), PackError>,
) -> Result<(), PackError> {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel::<Vec<u8>>(WAITING);
        let reading = scope.spawn(move || {
            source.feed(store, |chunk| {
                let (Chunk::Plain(bytes) | Chunk::Compressed { bytes, .. }) = chunk;
                match sender.send(bytes.to_vec()) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(_) => ControlFlow::Break(()),
                }
            })
        });
        let consumed = receiver.iter().try_for_each(|bytes| consume(&bytes));
        drop(receiver);
        let read = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        consumed.and(read)
    })
}

/// The digest of everything in `source`.
pub(crate) fn digest(
    source: &Source<'_>,
    store: &(dyn BlobStore + Sync),
    progress: &dyn Fn(u64),
) -> Result<Digest, PackError> {
    let mut hasher = Hasher::new();
    stream(source, store, |bytes| {
        hasher.update(bytes);
        progress(bytes.len() as u64);
        Ok(())
    })?;
    Ok(hasher.finish())
}
