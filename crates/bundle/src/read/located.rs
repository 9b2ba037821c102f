//! Streams that know where in the bundle's file they are, and how to come back there.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use flate2::bufread::{DeflateDecoder, GzDecoder};

use crate::stream::CHUNK;

/// Where in the file some content begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Location {
    /// `inside` uncompressed bytes into the gzip members that begin at `member`.
    Gzip { member: u64, inside: u64 },
    /// At `offset`, as it is.
    Stored { offset: u64 },
    /// `inside` uncompressed bytes into the deflate stream that begins at `offset`.
    Deflated { offset: u64, inside: u64 },
}

/// A stream that can tell where its next byte lies.
pub(super) trait Located: Read {
    /// Where the next byte lies; at the end of the stream, some place near it.
    fn location(&mut self) -> io::Result<Location>;
}

/// The next `left` bytes of a stream.
pub(super) struct Portion<'a> {
    inner: &'a mut dyn Located,
    left: u64,
}

impl<'a> Portion<'a> {
    pub(super) fn new(inner: &'a mut dyn Located, left: u64) -> Self {
        Self { inner, left }
    }

    pub(super) fn left(&self) -> u64 {
        self.left
    }
}

impl Read for Portion<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let count = self.inner.read(&mut buffer[..want])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= count as u64;
        Ok(count)
    }
}

impl Located for Portion<'_> {
    fn location(&mut self) -> io::Result<Location> {
        self.inner.location()
    }
}

/// A buffered reader that counts what was taken from it.
struct Counted<R> {
    inner: BufReader<R>,
    taken: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.taken += count as u64;
        Ok(count)
    }
}

impl<R: Read> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.taken += count as u64;
        self.inner.consume(count);
    }
}

/// Uncompresses gzip members one after the other, and knows which one it is in.
pub(super) struct MemberReader<R> {
    state: State<R>,
    /// Where the current member begins in the file.
    member: u64,
    /// How many bytes of the current member were taken from `buffer` or before.
    inside: u64,
    /// Uncompressed bytes of the current member that were not taken yet.
    buffer: Vec<u8>,
    from: usize,
    until: usize,
}

/// What follows a member must be a member.
const NO_MEMBER: &str = "after a gzip member comes something else";

/// What comes next. `Broken` stays after an error in the compressed data.
enum State<R> {
    Between(Counted<R>),
    Inside(Box<GzDecoder<Counted<R>>>),
    End,
    Broken,
}

impl<R: Read> MemberReader<R> {
    /// Reads from `inner`, which stands at `offset` in the file, where a member begins.
    pub(super) fn new(inner: R, offset: u64) -> Self {
        let inner = BufReader::with_capacity(CHUNK, inner);
        Self {
            state: State::Between(Counted { inner, taken: offset }),
            member: offset,
            inside: 0,
            buffer: vec![0; 64 * 1024],
            from: 0,
            until: 0,
        }
    }

    /// Makes `buffer` hold at least one byte, unless the file ends.
    fn fill(&mut self) -> io::Result<()> {
        while self.from == self.until {
            match std::mem::replace(&mut self.state, State::Broken) {
                State::Between(mut file) => {
                    match file.fill_buf()?.first() {
                        None => {
                            self.state = State::End;
                            return Ok(());
                        }
                        Some(0x1f) => {}
                        Some(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, NO_MEMBER)),
                    }
                    self.member = file.taken;
                    self.inside = 0;
                    self.state = State::Inside(Box::new(GzDecoder::new(file)));
                }
                State::Inside(mut decoder) => {
                    let count = decoder.read(&mut self.buffer).map_err(damaged)?;
                    (self.from, self.until) = (0, count);
                    self.state = match count {
                        0 => State::Between(decoder.into_inner()),
                        _ => State::Inside(decoder),
                    };
                }
                State::End => {
                    self.state = State::End;
                    return Ok(());
                }
                State::Broken => return Err(damaged(io::ErrorKind::InvalidData.into())),
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for MemberReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill()?;
        let count = buffer.len().min(self.until - self.from);
        buffer[..count].copy_from_slice(&self.buffer[self.from..self.from + count]);
        self.from += count;
        self.inside += count as u64;
        Ok(count)
    }
}

impl<R: Read> Located for MemberReader<R> {
    fn location(&mut self) -> io::Result<Location> {
        self.fill()?;
        Ok(Location::Gzip {
            member: self.member,
            inside: self.inside,
        })
    }
}

/// flate2 reports damage as invalid *input*; everything that is not the file's own fault becomes
/// invalid data.
fn damaged(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => io::Error::new(io::ErrorKind::InvalidData, error),
        _ => error,
    }
}

/// Reads from `location` on.
pub(super) fn reopen<'a, S: Read + Seek>(source: &'a mut S, location: Location) -> io::Result<Box<dyn Read + 'a>> {
    let (mut reader, inside): (Box<dyn Read + 'a>, u64) = match location {
        Location::Gzip { member, inside } => {
            source.seek(SeekFrom::Start(member))?;
            (Box::new(MemberReader::new(source, member)), inside)
        }
        Location::Stored { offset } => {
            source.seek(SeekFrom::Start(offset))?;
            (Box::new(source), 0)
        }
        Location::Deflated { offset, inside } => {
            source.seek(SeekFrom::Start(offset))?;
            let file = BufReader::with_capacity(CHUNK, source);
            (Box::new(DeflateDecoder::new(file)), inside)
        }
    };
    if io::copy(&mut reader.by_ref().take(inside), &mut io::sink())? < inside {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(reader)
}
