//! Writing a bundle.
//!
//! [`write_tar_gz`] and [`write_zip`] take the same [`Contents`], compare them with the manifest (a
//! bundle that the reader would refuse is never written), and stream every byte once. Each blob and
//! file is hashed again on the way, so what was planned is what is written, or there is an error.
//!
//! Nothing here makes manifests, signs, names output files, or renames them into place.

mod contents;
mod gzip;
pub(crate) mod source;
mod tar_gz;
mod zip;

pub use contents::{Content, Contents, PackFile};
pub use tar_gz::{write_tar_gz, write_tar_gz_on};
pub use zip::write_zip;
