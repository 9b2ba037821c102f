//! The `.zip` form: the same entries in the same order, for people and tools that know zip better.
//!
//! `images.tar` is stored, because its blobs are compressed already and must be readable in place;
//! everything else is deflated. Times are a constant: zip's have no zone, and mean a local time.

use std::io::{Seek, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::contents::{Contents, file_piece};
use super::source::{Source, stream};
use crate::error::PackError;
use crate::names::{IMAGES, MANIFEST, SIGNATURE};

/// Writes the bundle as `.zip`. `progress` gets the number of uncompressed bytes of each piece.
///
/// # Errors
/// [`PackError`]: the manifest does not describe the contents, something cannot be read or has
/// changed, or `out` fails. What was written until then is not a bundle.
pub fn write_zip(out: impl Write + Seek, contents: &Contents<'_>, progress: &dyn Fn(u64)) -> Result<(), PackError> {
    let manifest = contents.described()?;
    let mut zip = ZipWriter::new(out);
    let mut entry = |name: &str, size: u64, executable: bool, content: Source<'_>| {
        let method = match name {
            IMAGES => CompressionMethod::Stored,
            _ => CompressionMethod::Deflated,
        };
        let options = SimpleFileOptions::default()
            .compression_method(method)
            .last_modified_time(DateTime::DEFAULT)
            .unix_permissions(if executable { 0o755 } else { 0o644 })
            .large_file(size >= u64::from(u32::MAX));
        zip.start_file(name, options)
            .map_err(|error| PackError::Write(error.into()))?;
        stream(&content, contents.store, |bytes| {
            zip.write_all(bytes).map_err(PackError::Write)?;
            progress(bytes.len() as u64);
            Ok(())
        })
    };
    entry(
        MANIFEST,
        contents.manifest.len() as u64,
        false,
        Source::bytes(contents.manifest),
    )?;
    if let Some(signature) = contents.signature {
        entry(
            SIGNATURE,
            signature.len() as u64,
            false,
            Source::bytes(signature.as_bytes()),
        )?;
    }
    for (file, record) in contents.files.iter().zip(&manifest.files) {
        let content = Source::from(file_piece(file, record)?);
        entry(file.name.as_str(), record.size, file.executable, content)?;
    }
    entry(IMAGES, contents.images.size(), false, contents.images.source())?;
    let mut out = zip.finish().map_err(|error| PackError::Write(error.into()))?;
    out.flush().map_err(PackError::Write)
}
