//! The layer store: every layer in the form in which bundles carry it.
//!
//! BuildKit hands over layers with zstd's lowest level, which costs it half of what it costs to hand them over plain: a
//! third of the bytes pass its connections. They are compressed again here, on all processors, once: the store remembers by
//! diff ID and compression what it made, and files are found under their digest as in an OCI layout. The same input and
//! settings give the same bytes on every machine, with any builder and any number of processors.
//!
//! zstd frames have a window of 8 MiB, which every reader must support (RFC 8878 §3.1.1.1.2).

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufReader, BufWriter, Read, Write},
    num::NonZero,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, SystemTime},
};

use bundle::{Digest, HashingReader, HashingWriter, manifest::LayerRecord};
use oci_spec::image::{Descriptor, MediaType};
use serde::{Deserialize, Serialize};
use zstd::zstd_safe::CParameter;

use super::layout::{Layout, digest};
use crate::{
    Error, Result,
    declaration::{Compression, Layers},
    facts::Workspace,
    system::{files, interrupt},
};

/// Base-2 logarithm of the window: 8 MiB.
const WINDOW_LOG: u32 = 23;

/// What one worker compresses at a time. Fixed, since it shows in the bytes; small, since memory is what
/// the machine has least of.
const JOB_BYTES: u32 = 8 << 20;

/// How much of the window a job sees of the one before it: 7 of 9 is a quarter.
const OVERLAP_LOG: u32 = 7;

/// Raised when anything above changes, so that no layer in the old form is taken from the store.
const FORM: u32 = 1;

/// Layers that no release has used for so long are removed from the store.
const KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// More workers than this only cost memory.
const MOST_WORKERS: usize = 4;

/// A directory of layers.
#[derive(Debug)]
pub(crate) struct LayerStore {
    directory: PathBuf,
    settings: Layers,
    known: BTreeMap<String, LayerRecord>,
}

/// What is known about a layer that is carried as it came.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    layers: BTreeMap<String, LayerRecord>,
}

impl LayerStore {
    /// The store of `workspace`, which need not be there yet.
    pub(crate) fn of(workspace: &Workspace) -> Self {
        let directory = workspace.state.join("layers");
        let known =
            files::read_cache::<Known>(&directory.join("layers.json")).map_or_else(BTreeMap::new, |known| known.layers);
        Self {
            directory,
            settings: workspace.declaration.layers,
            known,
        }
    }

    /// The directory, in which blobs lie as in an OCI layout.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Gives the layer `descriptor` of `layout`, which comes `from` there, in the form in which bundles carry it.
    pub(crate) fn provide(
        &mut self,
        layout: &Layout,
        descriptor: &Descriptor,
        diff_id: &Digest,
        from: LayerOrigin,
    ) -> Result<LayerRecord> {
        let source = digest(descriptor).map_err(|message| refused(layout, message))?;
        let form = Form::of(descriptor.media_type()).map_err(|message| refused(layout, message))?;
        let target = match (form, self.settings.compression, from) {
            (Form::Plain, compression, _) | (Form::Zstd, compression, LayerOrigin::Builder) => Some(compression),
            (Form::Zstd, Compression::Gzip, LayerOrigin::Elsewhere) => Some(Compression::Gzip),
            // Gzip is read everywhere, so it is carried as it came.
            (Form::Zstd, Compression::Zstd, LayerOrigin::Elsewhere) | (Form::Gzip, ..) => None,
        };
        let key = match target {
            Some(compression) => self.key(diff_id, compression),
            None => source.to_string(),
        };
        if let Some(known) = self.known.get(&key) {
            let file = if target.is_some() {
                self.blob_path(&known.digest)
            } else {
                layout.blob_path(&source)
            };
            let complete = fs::metadata(&file).is_ok_and(|file| file.len() == known.size);
            if complete && known.diff_id == *diff_id {
                return Ok(known.clone());
            }
        }
        let path = layout.blob_path(&source);
        let record = match target {
            None => measure(&path, source, descriptor.media_type(), diff_id)?,
            Some(compression) => self.compress(&path, form, compression, Some(diff_id))?,
        };
        self.known.insert(key, record.clone());
        self.remember()?;
        Ok(record)
    }

    /// Compresses layers while a build is still exporting others, until `done` is set.
    ///
    /// Only saves time: what it did not get to, or failed at, [`Self::provide`] does, and reports. A blob that
    /// stands under its name in a layout is complete: BuildKit's client writes elsewhere and renames.
    pub(crate) fn compress_early(&mut self, layouts: &[PathBuf], done: &AtomicBool) {
        let began = SystemTime::now();
        let mut seen = BTreeSet::new();
        while !done.load(Ordering::Relaxed) {
            for path in layouts.iter().flat_map(|layout| files(&layout.join("blobs/sha256"))) {
                if done.load(Ordering::Relaxed) {
                    return;
                }
                let name = path
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned())
                    .unwrap_or_default();
                // A blob that was there before this build is one of an earlier build.
                if !seen.insert(name) || is_older(&path, began) {
                    continue;
                }
                let Some(form) = large_layer(&path) else { continue };
                if let Ok(record) = self.compress(&path, form, self.settings.compression, None) {
                    self.known
                        .insert(self.key(&record.diff_id, self.settings.compression), record);
                }
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Writes a small blob, such as a manifest, and gives its digest.
    pub(crate) fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let path = self.blob_path(&digest);
        if fs::read(&path).ok().as_deref() != Some(bytes) {
            files::write_atomically(&path, bytes)?;
        }
        Ok(digest)
    }

    /// Removes what `used` does not name and what is older than a month, so that the store does not grow for ever.
    pub(crate) fn prune(&mut self, used: &BTreeSet<Digest>) -> Result<()> {
        for path in files(&self.directory.join("blobs/sha256")) {
            let name = path
                .file_name()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            let modified = fs::metadata(&path).and_then(|file| file.modified());
            let old = modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > KEPT));
            if old && Digest::from_hex(&name).is_ok_and(|digest| !used.contains(&digest)) {
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        let blobs = self.directory.join("blobs/sha256");
        let before = self.known.len();
        self.known
            .retain(|_, record| used.contains(&record.digest) || blobs.join(record.digest.hex()).exists());
        if self.known.len() == before {
            Ok(())
        } else {
            self.remember()
        }
    }

    /// Under which a compressed layer is remembered.
    fn key(&self, diff_id: &Digest, compression: Compression) -> String {
        let encoder = match compression {
            Compression::Zstd => format!("zstd {}", zstd::zstd_safe::version_string()),
            Compression::Gzip => "gzip by zlib-rs".to_owned(),
        };
        format!("{diff_id} {encoder} {} {FORM}", self.settings.level())
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.directory.join("blobs/sha256").join(digest.hex())
    }

    /// Writes down what is known, for the next release.
    pub(crate) fn remember(&self) -> Result<()> {
        let path = self.directory.join("layers.json");
        let text = serde_json::to_vec_pretty(&Known {
            layers: self.known.clone(),
        })
        .map_err(|error| Error::Content {
            path: path.clone(),
            message: error.to_string(),
        })?;
        files::write_atomically(&path, &text)
    }

    /// Compresses the layer in `path` anew. `diff_id` is the one that it must have, where that is known.
    fn compress(
        &self,
        path: &Path,
        form: Form,
        compression: Compression,
        diff_id: Option<&Digest>,
    ) -> Result<LayerRecord> {
        let file = File::open(path).map_err(Error::io("read", path))?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        let plain: Box<dyn Read> = match form {
            Form::Plain => Box::new(file),
            Form::Gzip => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file))),
            Form::Zstd => Box::new(zstd::Decoder::new(file).map_err(Error::io("read", path))?),
        };
        let mut plain = HashingReader::new(interrupt::Watch(plain));
        let temporary = files::temporary_beside(&self.directory.join("blobs/sha256/layer"))?;
        let out = HashingWriter::new(BufWriter::with_capacity(1 << 20, temporary.as_file()));
        let level = self.settings.level();
        let (out, media_type) = match compression {
            Compression::Zstd => {
                let pledged = (form == Form::Plain).then_some(size);
                (
                    compress_zstd(&mut plain, out, level, pledged),
                    MediaType::ImageLayerZstd,
                )
            }
            Compression::Gzip => (compress_gzip(&mut plain, out, level), MediaType::ImageLayerGzip),
        };
        let (digest, written) = out
            .and_then(HashingWriter::finish)
            .map_err(|error| damaged(path).unwrap_or_else(|| interrupt::or_io("compress", path)(error)))?;
        let (found, uncompressed_size) = plain.finish();
        if let Some(diff_id) = diff_id.filter(|diff_id| **diff_id != found) {
            return Err(Error::Content {
                path: path.to_owned(),
                message: format!("is damaged: its diff ID is {found}, expected {diff_id}"),
            });
        }
        files::persist(temporary, &self.blob_path(&digest))?;
        Ok(LayerRecord {
            digest,
            size: written,
            media_type: media_type.to_string(),
            diff_id: found,
            uncompressed_size,
        })
    }
}

/// Removes the damaged blob `digest` from those of `stores` that are the release's own, so that it is made again.
pub(crate) fn forget(workspace: &Workspace, stores: &[PathBuf], digest: &Digest) {
    let own = stores.iter().filter(|store| store.starts_with(&workspace.state));
    for directory in own {
        // What cannot be removed is found damaged again, and reported.
        fs::remove_file(directory.join("blobs/sha256").join(digest.hex())).ok();
    }
    let mut store = LayerStore::of(workspace);
    fs::remove_file(store.blob_path(digest)).ok();
    store.known.retain(|_, record| record.digest != *digest);
}

/// Where a layer in a layout comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LayerOrigin {
    /// The builder compressed it, on its way to us.
    Builder,
    /// A registry or another machine has it in this form.
    Elsewhere,
}

/// How a layer lies in a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Plain,
    Gzip,
    Zstd,
}

impl Form {
    fn of(media_type: &MediaType) -> Result<Self, String> {
        match media_type.as_ref() {
            "application/vnd.oci.image.layer.v1.tar" | "application/vnd.docker.image.rootfs.diff.tar" => {
                Ok(Self::Plain)
            }
            "application/vnd.oci.image.layer.v1.tar+gzip" | "application/vnd.docker.image.rootfs.diff.tar.gzip" => {
                Ok(Self::Gzip)
            }
            "application/vnd.oci.image.layer.v1.tar+zstd" => Ok(Self::Zstd),
            other => Err(format!("has a layer of the unknown media type {other}")),
        }
    }
}

/// The files in a directory; none if it cannot be read.
fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default()
}

/// The form of a blob that is a layer and worth compressing early: 256 KiB or more of zstd (RFC 8878 §3.1.1, magic
/// number), or a tar archive (POSIX.1-1988 "ustar", magic at offset 257).
fn large_layer(path: &Path) -> Option<Form> {
    let mut head = [0; 262];
    let large = fs::metadata(path).is_ok_and(|file| file.len() >= 256 << 10);
    if !large
        || File::open(path)
            .and_then(|mut file| file.read_exact(&mut head))
            .is_err()
    {
        return None;
    }
    if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Some(Form::Zstd)
    } else {
        head.ends_with(b"ustar").then_some(Form::Plain)
    }
}

/// Whether a file was there before `began`.
fn is_older(path: &Path, began: SystemTime) -> bool {
    fs::metadata(path)
        .and_then(|file| file.modified())
        .is_ok_and(|modified| modified < began)
}

/// The error for a blob that is not what its name says, if it is not: what cannot be uncompressed may be damaged, and is
/// then made again.
fn damaged(path: &Path) -> Option<Error> {
    let name = Digest::from_hex(&path.file_name()?.to_string_lossy()).ok()?;
    let (found, _) = bundle::hash_all(File::open(path).ok()?).ok()?;
    (found != name).then(|| Error::Content {
        path: path.to_owned(),
        message: format!("is damaged: its digest is {found}"),
    })
}

/// Measures a layer that is carried as it came.
fn measure(path: &Path, digest: Digest, media_type: &MediaType, diff_id: &Digest) -> Result<LayerRecord> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let size = file.metadata().map_err(Error::io("read", path))?.len();
    let damaged = |message: String| Error::Content {
        path: path.to_owned(),
        message,
    };
    let mut reader = HashingReader::new(interrupt::Watch(file));
    let media_type = media_type.to_string();
    let facts = bundle::measure_layer(&mut reader, &media_type).map_err(|error| damaged(error.to_string()))?;
    let (found, _) = reader.finish();
    if found != digest {
        return Err(damaged(format!("is damaged: its digest is {found}")));
    }
    if facts.diff_id != *diff_id {
        return Err(damaged(format!(
            "is not its configuration's: its diff ID is {}, expected {diff_id}",
            facts.diff_id
        )));
    }
    Ok(LayerRecord {
        digest,
        size,
        media_type,
        diff_id: facts.diff_id,
        uncompressed_size: facts.uncompressed_size,
    })
}

fn compress_zstd<W: Write>(plain: &mut impl Read, out: W, level: u8, pledged: Option<u64>) -> io::Result<W> {
    let mut encoder = zstd::Encoder::new(out, i32::from(level))?;
    encoder.set_pledged_src_size(pledged)?;
    for parameter in [
        CParameter::WindowLog(WINDOW_LOG),
        // At least one: without workers the format of the output is another.
        CParameter::NbWorkers(workers()),
        CParameter::JobSize(JOB_BYTES),
        CParameter::OverlapSizeLog(OVERLAP_LOG),
    ] {
        encoder.set_parameter(parameter)?;
    }
    io::copy(plain, &mut encoder)?;
    encoder.finish()
}

fn compress_gzip<W: Write>(plain: &mut impl Read, out: W, level: u8) -> io::Result<W> {
    let level = flate2::Compression::new(u32::from(level));
    let mut encoder = flate2::GzBuilder::new()
        .mtime(0)
        .operating_system(255)
        .write(out, level);
    io::copy(plain, &mut encoder)?;
    encoder.finish()
}

fn workers() -> u32 {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    u32::try_from(processors.min(MOST_WORKERS)).unwrap_or(1)
}

fn refused(layout: &Layout, message: String) -> Error {
    Error::Image {
        subject: layout.directory().display().to_string(),
        message,
    }
}
