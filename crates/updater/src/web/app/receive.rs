//! A bundle while it is received: hashed on the way, and written under a hidden name that the intake ignores.
//!
//! The first bytes show that a file is not a bundle, and the manifest, with which a released bundle begins, that it cannot
//! be accepted: no upload of two gigabytes is refused only at its end. Dropping an [`Incoming`] removes the file, unless
//! it is kept.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use axum::{body::Bytes, http::StatusCode};
use bundle::{
    Digest, Hasher,
    read::{UnverifiedManifest, VerifyError, read_manifest},
};
use tokio::sync::mpsc;

use super::counters::Counters;
use crate::web::refusal::Refusal;
use device::{Error, config::Config, engine::preflight::WATERMARK, system::files};

/// The prefix of files that are received in one request; it hides them.
pub(crate) const PREFIX: &str = ".partial-upload-";

/// The bytes after which the free space is measured again: not every sender announces the size.
const MEASURE: u64 = 8 << 20;

/// The bytes that must be here before the manifest is read. Manifests are some kilobytes.
const JUDGE_AT: u64 = 256 << 10;

/// How long an upload may go without a byte.
pub(crate) const STALL: Duration = Duration::from_secs(60);

/// Chunks between the network and the disk.
const CHUNKS: usize = 8;

/// Decides from its manifest whether a bundle can be accepted, before all of it is here.
pub(crate) type Judge = Box<dyn Fn(&UnverifiedManifest) -> Result<(), Refusal> + Send>;

/// A file while it is received.
pub(crate) struct Incoming {
    counters: Arc<Counters>,
    judge: Judge,
    path: PathBuf,
    file: File,
    hasher: Hasher,
    size: u64,
    /// The size when the free space was measured last.
    measured: u64,
    judged: bool,
    keep: bool,
}

/// A complete file, synced to the disk.
pub(crate) struct Received {
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    pub(crate) sha256: Digest,
    pub(crate) manifest: UnverifiedManifest,
}

impl Incoming {
    /// A new file at `path`.
    pub(crate) fn create(path: PathBuf, counters: &Arc<Counters>, judge: Judge) -> Result<Self, Refusal> {
        let file = OpenOptions::new()
            .write(true)
            .read(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let file = file.map_err(|error| failed("make", &path, error))?;
        Ok(Self::of(path, file, counters, judge))
    }

    /// Continues the file at `path`; its bytes are hashed again.
    pub(crate) fn reopen(path: PathBuf, counters: &Arc<Counters>, judge: Judge) -> Result<Self, Refusal> {
        let file = OpenOptions::new().read(true).append(true).open(&path);
        let file = file.map_err(|error| failed("open", &path, error))?;
        let mut incoming = Self::of(path, file, counters, judge);
        let mut buffer = vec![0; 64 << 10];
        loop {
            match incoming.file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    incoming.hasher.update(&buffer[..count]);
                    incoming.size += count as u64;
                }
                Err(error) => return Err(failed("read", &incoming.path, error)),
            }
        }
        Ok(incoming)
    }

    fn of(path: PathBuf, file: File, counters: &Arc<Counters>, judge: Judge) -> Self {
        Self {
            counters: counters.clone(),
            judge,
            path,
            file,
            hasher: Hasher::new(),
            size: 0,
            measured: 0,
            judged: false,
            keep: false,
        }
    }

    /// The bytes that are here.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Leaves the file where it is when this is dropped.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }

    /// Removes the file when this is dropped.
    pub(crate) fn discard(&mut self) {
        self.keep = false;
    }

    /// Writes bytes, which [`Feed`] hashes at the same time. A refusal is permanent.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        if self.size == 0 && !bytes.is_empty() && !looks_like_a_bundle(bytes) {
            return Err(not_a_bundle(&VerifyError::NotABundle));
        }
        if self.size - self.measured >= MEASURE {
            self.measured = self.size;
            expect_room(&self.path, 0, 0)?;
        }
        self.file
            .write_all(bytes)
            .map_err(|error| failed("write", &self.path, error))?;
        self.size += bytes.len() as u64;
        self.counters.received(bytes.len());
        if !self.judged && self.size >= JUDGE_AT {
            self.judged = true;
            self.judge_early()?;
        }
        Ok(())
    }

    /// Judges the manifest, if it is here already.
    fn judge_early(&self) -> Result<(), Refusal> {
        match self.manifest() {
            Ok(manifest) => (self.judge)(&manifest),
            // A zip file has its directory at its end; a bundle of the first format may have its manifest there.
            Err(VerifyError::Truncated | VerifyError::Io(_)) => Ok(()),
            Err(_) if self.is_zip() => Ok(()),
            Err(error) => Err(not_a_bundle(&error)),
        }
    }

    fn is_zip(&self) -> bool {
        let mut magic = [0; 2];
        File::open(&self.path)
            .and_then(|mut file| file.read_exact(&mut magic))
            .is_ok()
            && &magic == b"PK"
    }

    fn manifest(&self) -> Result<UnverifiedManifest, VerifyError> {
        read_manifest(File::open(&self.path)?)
    }

    /// Syncs the complete file to the disk and reads its manifest. The file is kept.
    pub(crate) fn finish(mut self) -> Result<Received, Refusal> {
        self.file
            .sync_all()
            .map_err(|error| failed("write", &self.path, error))?;
        let manifest = self.manifest().map_err(|error| not_a_bundle(&error))?;
        self.keep = true;
        let hasher = std::mem::replace(&mut self.hasher, Hasher::new());
        Ok(Received {
            path: self.path.clone(),
            size: self.size,
            sha256: hasher.finish(),
            manifest,
        })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.keep {
            // A file that remains is removed at the next start.
            fs::remove_file(&self.path).ok();
        }
    }
}

/// Feeds a file from the network: one thread writes it and another hashes it.
pub(crate) struct Feed {
    sender: mpsc::Sender<Bytes>,
    worker: tokio::task::JoinHandle<(Incoming, Result<(), Refusal>)>,
}

impl Feed {
    /// Writes to `incoming` from now on.
    pub(crate) fn start(mut incoming: Incoming) -> Self {
        let (sender, mut chunks) = mpsc::channel::<Bytes>(CHUNKS);
        let worker = tokio::task::spawn_blocking(move || {
            let (pieces, inbox) = std::sync::mpsc::sync_channel::<Bytes>(CHUNKS);
            let mut hasher = std::mem::replace(&mut incoming.hasher, Hasher::new());
            let written = thread::scope(|scope| {
                let hashing = scope.spawn(move || {
                    inbox.iter().for_each(|piece| hasher.update(&piece));
                    hasher
                });
                let mut written = Ok(());
                while let Some(chunk) = chunks.blocking_recv() {
                    // It ends only when this sender does, or by a panic, which `join` passes on.
                    pieces.send(chunk.clone()).ok();
                    written = incoming.write(&chunk);
                    // What was hashed and not written does not matter then: the file is removed.
                    if written.is_err() {
                        break;
                    }
                }
                drop(pieces);
                incoming.hasher = hashing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                written
            });
            (incoming, written)
        });
        Self { sender, worker }
    }

    /// Sends bytes; false if the worker has stopped, and [`Feed::end`] says why.
    pub(crate) async fn send(&self, chunk: Bytes) -> bool {
        self.sender.send(chunk).await.is_ok()
    }

    /// Waits until all that was sent is written.
    pub(crate) async fn end(self) -> (Option<Incoming>, Result<(), Refusal>) {
        drop(self.sender);
        match self.worker.await {
            Ok((incoming, written)) => (Some(incoming), written),
            Err(error) => (None, Err(Refusal::internal(&Error::engine("write an upload", error)))),
        }
    }
}

/// Refuses what does not fit on the disk of `path`; `expected` bytes are to come beside `pledged` ones.
pub(crate) fn expect_room(path: &Path, expected: u64, pledged: u64) -> Result<(), Refusal> {
    let free = files::free_bytes(path).map_err(|error| failed("measure", path, error))?;
    match expected.saturating_add(pledged).saturating_add(WATERMARK) <= free {
        true => Ok(()),
        false => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "{expected} bytes do not fit on the device's disk: {free} are free, {WATERMARK} must stay free{}",
                match pledged {
                    0 => String::new(),
                    pledged => format!(", and {pledged} are to come of other uploads"),
                }
            ),
        )),
    }
}

/// Removes the files of uploads in one request that the end of the updater interrupted.
pub(crate) fn remove_leftovers(config: &Config) {
    for path in hidden(config, PREFIX) {
        fs::remove_file(path).ok();
    }
}

/// The hidden files in `updates/` whose names begin with `prefix`.
pub(crate) fn hidden(config: &Config, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(config.updates()).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect()
}

/// Whether the first bytes are those of gzip or zip.
fn looks_like_a_bundle(bytes: &[u8]) -> bool {
    let alike = |magic: &[u8]| bytes.iter().zip(magic).all(|(one, other)| one == other);
    alike(&[0x1f, 0x8b]) || alike(b"PK\x03\x04")
}

pub(crate) fn not_a_bundle(error: &VerifyError) -> Refusal {
    Refusal::bad_request(match error {
        VerifyError::NotABundle => error.to_string(),
        error => format!("this is not a bundle: {error}"),
    })
}

fn failed(action: &'static str, path: &Path, error: io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the device's disk is full")
        }
        _ => Refusal::internal(&Error::io(action, path)(error)),
    }
}
