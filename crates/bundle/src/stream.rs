//! Reading streams in constant memory.

use std::io::{self, Read};

/// The size of the buffers that streams go through, in bytes.
pub(crate) const CHUNK: usize = 256 * 1024;

/// Reads `reader` to its end and forgets what it gave.
pub(crate) fn drain(reader: &mut impl Read) -> io::Result<u64> {
    each_chunk(reader, |_| {})
}

/// Reads `reader` to its end, calling `visit` with each piece. Gives the number of bytes.
pub(crate) fn each_chunk(reader: &mut impl Read, mut visit: impl FnMut(&[u8])) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(count) => {
                visit(&buffer[..count]);
                total += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Fills `buffer` as far as `reader` can, and gives the number of bytes: fewer only at the end.
pub(crate) fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
