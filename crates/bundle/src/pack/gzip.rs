//! Gzip members (RFC 1952): the two kinds that a bundle consists of.
//!
//! A file of several members is one gzip file (§2.2), and every tool reads it as one. Headers are
//! pinned: no name, no time, unknown operating system.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::DeflateEncoder;

/// ID1 ID2 CM FLG, MTIME, XFL, OS (§2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// The most bytes that a stored block holds (RFC 1951 §3.2.4).
const BLOCK: usize = u16::MAX as usize;
/// Content goes into a stored member in pieces of this size: whole blocks, so that the pieces do not
/// show in the result.
pub(crate) const STORED_CHUNK: usize = 15 * BLOCK;
/// The compression level of compressible members: flate2's default.
const LEVEL: u32 = 6;

/// A whole member with `content` compressed.
pub(crate) fn compressed_member(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut member = Vec::with_capacity(content.len() / 2 + 64);
    member.extend_from_slice(&HEADER);
    let mut encoder = DeflateEncoder::new(member, Compression::new(LEVEL));
    encoder.write_all(content)?;
    let mut member = encoder.finish()?;
    trailer(&mut member, crc32fast::hash(content), content.len() as u64);
    Ok(member)
}

fn trailer(member: &mut Vec<u8>, crc: u32, length: u64) {
    member.extend_from_slice(&crc.to_le_bytes());
    // ISIZE is the length modulo 2^32 (§2.3.1).
    let length = (length & u64::from(u32::MAX)) as u32;
    member.extend_from_slice(&length.to_le_bytes());
}

/// A member of stored blocks, written in pieces.
#[derive(Default)]
pub(crate) struct StoredMember {
    crc: crc32fast::Hasher,
    length: u64,
}

impl StoredMember {
    /// The member's next bytes, with `content` in them: [`STORED_CHUNK`] bytes, fewer only in the
    /// last piece.
    pub(crate) fn piece(&mut self, content: &[u8], last: bool) -> Vec<u8> {
        debug_assert!(last || content.len() == STORED_CHUNK, "a piece is whole blocks");
        let blocks = content.len().div_ceil(BLOCK).max(1);
        let mut piece = Vec::with_capacity(content.len() + blocks * 5 + 18);
        if self.length == 0 {
            piece.extend_from_slice(&HEADER);
        }
        self.crc.update(content);
        self.length += content.len() as u64;
        for index in 0..blocks {
            let block = &content[index * BLOCK..content.len().min((index + 1) * BLOCK)];
            // BFINAL in bit 0, BTYPE 00; then LEN and its complement.
            piece.push(u8::from(last && index + 1 == blocks));
            let length = block.len() as u16;
            piece.extend_from_slice(&length.to_le_bytes());
            piece.extend_from_slice(&(!length).to_le_bytes());
            piece.extend_from_slice(block);
        }
        if last {
            trailer(&mut piece, self.crc.clone().finalize(), self.length);
        }
        piece
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn decompress(bytes: &[u8]) -> Vec<u8> {
        let mut content = Vec::new();
        flate2::read::MultiGzDecoder::new(bytes)
            .read_to_end(&mut content)
            .unwrap();
        content
    }

    #[test]
    fn members_decompress() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, STORED_CHUNK, STORED_CHUNK + 7] {
            let content: Vec<u8> = (0..length).map(|n| (n * 31 % 251) as u8).collect();
            assert_eq!(decompress(&compressed_member(&content).unwrap()), content, "{length}");
            let mut member = StoredMember::default();
            let (whole, rest) = content.split_at(length / STORED_CHUNK * STORED_CHUNK);
            let mut stored = Vec::new();
            for piece in whole.chunks(STORED_CHUNK) {
                stored.extend(member.piece(piece, rest.is_empty()));
            }
            if !rest.is_empty() || content.is_empty() {
                stored.extend(member.piece(rest, true));
            }
            assert_eq!(decompress(&stored), content, "{length} stored");
        }
    }
}
