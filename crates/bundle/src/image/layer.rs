//! Image layers: their compression, and what is known only by uncompressing them.
//!
//! A device needs a layer's diff ID and uncompressed size before it has the layer (which layers are
//! missing, how much disk they take), and zstd frames from BuildKit do not carry the size. So the
//! release side measures each layer once.

use std::io::{self, BufReader, Read};

use crate::digest::{Digest, HashingReader};
use crate::stream::{CHUNK, drain};

/// The largest zstd window, as a power of two: 8 MiB, which bounds what a device needs to uncompress.
const WINDOW_LOG_MAX: u32 = 23;

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// A plain tar.
    None,
    /// Gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// The compression that a layer's media type tells (OCI image-spec, layer.md; Docker image
    /// manifest schema 2).
    ///
    /// # Errors
    /// [`LayerError::MediaType`] for every other type, non-distributable layers included: their
    /// content is not in the image.
    pub fn of_media_type(media_type: &str) -> Result<Self, LayerError> {
        match media_type {
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => Ok(Self::None),
            "application/vnd.oci.image.layer.v1.tar+gzip" | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
                Ok(Self::Gzip)
            }
            "application/vnd.oci.image.layer.v1.tar+zstd" | "application/vnd.docker.image.rootfs.diff.tar.zstd" => {
                Ok(Self::Zstd)
            }
            other => Err(LayerError::MediaType(crate::text::shorten(other))),
        }
    }
}

/// Why a layer cannot be measured.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// A media type that is no layer's.
    #[error("`{0}` is not the media type of a layer that can be packed")]
    MediaType(String),
    /// The layer cannot be read or uncompressed.
    #[error("the layer cannot be uncompressed: {0}")]
    Read(#[from] io::Error),
}

/// What uncompressing a layer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerFacts {
    /// Digest of the uncompressed layer.
    pub diff_id: Digest,
    /// Its size in bytes.
    pub uncompressed_size: u64,
}

/// Reads a layer uncompressed, as a stream, in constant memory.
///
/// # Errors
/// An unknown media type. The reader fails where the layer is damaged, is cut off, or has a zstd window of more than
/// 8 MiB.
pub fn uncompressed<'a>(reader: impl Read + 'a, media_type: &str) -> Result<Box<dyn Read + 'a>, LayerError> {
    let reader = BufReader::with_capacity(CHUNK, reader);
    Ok(match Compression::of_media_type(media_type)? {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        Compression::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(reader)?;
            decoder.window_log_max(WINDOW_LOG_MAX)?;
            Box::new(decoder)
        }
    })
}

/// Uncompresses a layer as a stream, in constant memory, and forgets the result.
///
/// # Errors
/// [`LayerError`]: an unknown media type, or a layer that is damaged, cut off, or whose zstd window
/// is larger than 8 MiB.
pub fn measure_layer(reader: impl Read, media_type: &str) -> Result<LayerFacts, LayerError> {
    measure(uncompressed(reader, media_type)?)
}

fn measure(reader: impl Read) -> Result<LayerFacts, LayerError> {
    let mut hashing = HashingReader::new(reader);
    drain(&mut hashing)?;
    let (diff_id, uncompressed_size) = hashing.finish();
    Ok(LayerFacts {
        diff_id,
        uncompressed_size,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const PREFIX: &str = "application/vnd.oci.image.layer.v1.tar";

    fn sample() -> Vec<u8> {
        (0..3_000_000_u32)
            .flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 20).to_le_bytes())
            .collect()
    }

    fn zstd_with_window(log: u32) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(log).unwrap();
        encoder.write_all(&sample()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn all_compressions_give_the_same_facts() {
        let plain = sample();
        let expected = LayerFacts {
            diff_id: Digest::of(&plain),
            uncompressed_size: plain.len() as u64,
        };
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd_with_window(23);
        for (bytes, suffix) in [(plain, ""), (gzip, "+gzip"), (zstd, "+zstd")] {
            let facts = measure_layer(&bytes[..], &format!("{PREFIX}{suffix}")).unwrap();
            assert_eq!(facts, expected, "{suffix}");
        }
    }

    #[test]
    fn a_window_above_8_mib_is_refused() {
        let result = measure_layer(&zstd_with_window(24)[..], &format!("{PREFIX}+zstd"));
        assert!(matches!(result, Err(LayerError::Read(_))), "{result:?}");
    }

    #[test]
    fn cut_off_layers_are_refused() {
        let bytes = zstd_with_window(20);
        let result = measure_layer(&bytes[..bytes.len() - 5], &format!("{PREFIX}+zstd"));
        assert!(matches!(result, Err(LayerError::Read(_))), "{result:?}");
    }

    #[test]
    fn foreign_media_types_are_refused() {
        let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
        assert!(matches!(measure_layer(&[][..], foreign), Err(LayerError::MediaType(_))));
    }
}
