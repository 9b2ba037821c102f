//! The `.tar.gz` form: one tar in several gzip members.
//!
//! ```text
//! reading thread ──pieces──► compressing threads ──┐
//!        └──────── in order: ready or pending ─────┴──► this thread: hash, write
//! ```
//!
//! Compressible bytes are cut into pieces of 1 MiB, each a member; a compressed blob is a member of
//! stored blocks and begins where its content begins, so that a reader can go straight to it. The
//! cuts depend on the contents alone, so the number of threads does not change a byte.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use super::contents::{Contents, file_piece};
use super::gzip::{StoredMember, compressed_member};
use super::source::{Chunk, Piece, Source};
use crate::digest::{Digest, Hasher};
use crate::error::PackError;
use crate::names::{IMAGES, MANIFEST, SIGNATURE};
use crate::tar_entry::{END, header, padding};

/// The uncompressed size of a compressible member.
const PIECE: usize = 1024 * 1024;
/// How many parts may wait to be written, at about 1 MiB each.
const WAITING: usize = 12;

/// Writes the bundle as `.tar.gz` and gives the digest of the written bytes. `progress` gets
/// the number of uncompressed bytes of each part.
///
/// # Errors
/// [`PackError`]: the manifest does not describe the contents, something cannot be read or has
/// changed, or `out` fails. What was written until then is not a bundle.
pub fn write_tar_gz(out: impl Write, contents: &Contents<'_>, progress: &dyn Fn(u64)) -> Result<Digest, PackError> {
    let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    write_tar_gz_on(threads, out, contents, progress)
}

/// [`write_tar_gz`] with a given number of compressing threads, which does not change the result.
///
/// # Errors
/// As for [`write_tar_gz`].
pub fn write_tar_gz_on(
    threads: NonZeroUsize,
    mut out: impl Write,
    contents: &Contents<'_>,
    progress: &dyn Fn(u64),
) -> Result<Digest, PackError> {
    let source = archive(contents)?;
    thread::scope(|scope| {
        let (job_sender, job_receiver) = sync_channel::<Job>(threads.get());
        let (part_sender, part_receiver) = sync_channel::<Part>(WAITING);
        let jobs = std::sync::Arc::new(Mutex::new(job_receiver));
        for _ in 0..threads.get() {
            let jobs = std::sync::Arc::clone(&jobs);
            scope.spawn(move || compress_all(&jobs));
        }
        // Only the threads hold the receiver: when they end, the reading thread notices.
        drop(jobs);
        let reading = scope.spawn(|| {
            let mut cutter = Cutter::new(job_sender, part_sender);
            source.feed(contents.store, |chunk| cutter.take(chunk))?;
            // A break means that this thread's receiver is gone, and that it knows why.
            let _ended: ControlFlow<()> = cutter.flush();
            Ok(())
        });
        let written = write_parts(&mut out, part_receiver, progress);
        let read: Result<(), PackError> = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // A failed read ends the parts early: it is the reason, not what was written.
        read.and(written)
    })
}

/// The outer tar, as pieces.
fn archive<'a>(contents: &'a Contents<'a>) -> Result<Source<'a>, PackError> {
    let manifest = contents.described()?;
    let mtime = contents.mtime;
    let mut source = Source::default();
    let mut entry = |name: &str, size: u64, executable: bool, content: Source<'a>| {
        source.push(Piece::Bytes(header(name, size, executable, mtime).to_vec().into()));
        source.append(content);
        source.push(Piece::Bytes(vec![0; padding(size)].into()));
    };
    entry(
        MANIFEST,
        contents.manifest.len() as u64,
        false,
        Source::bytes(contents.manifest),
    );
    if let Some(signature) = contents.signature {
        entry(
            SIGNATURE,
            signature.len() as u64,
            false,
            Source::bytes(signature.as_bytes()),
        );
    }
    for (file, record) in contents.files.iter().zip(&manifest.files) {
        let content = Source::from(file_piece(file, record)?);
        entry(file.name.as_str(), record.size, file.executable, content);
    }
    entry(IMAGES, contents.images.size(), false, contents.images.source());
    source.push(Piece::Bytes(END.as_slice().into()));
    Ok(source)
}

/// A piece to compress, and where to send the member.
struct Job {
    content: Vec<u8>,
    member: SyncSender<io::Result<Vec<u8>>>,
}

/// The next bytes of the output, in order.
enum Part {
    Ready {
        bytes: Vec<u8>,
        progress: u64,
    },
    Pending {
        member: Receiver<io::Result<Vec<u8>>>,
        progress: u64,
    },
}

/// Cuts what is read into members.
struct Cutter {
    run: Vec<u8>,
    stored: StoredMember,
    jobs: SyncSender<Job>,
    parts: SyncSender<Part>,
}

impl Cutter {
    fn new(jobs: SyncSender<Job>, parts: SyncSender<Part>) -> Self {
        Self {
            run: Vec::with_capacity(PIECE),
            stored: StoredMember::default(),
            jobs,
            parts,
        }
    }

    fn take(&mut self, chunk: Chunk<'_>) -> ControlFlow<()> {
        match chunk {
            Chunk::Plain(mut bytes) => {
                while !bytes.is_empty() {
                    let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.run.len()));
                    self.run.extend_from_slice(now);
                    bytes = later;
                    if self.run.len() == PIECE {
                        self.flush()?;
                    }
                }
                ControlFlow::Continue(())
            }
            Chunk::Compressed { bytes, first, last } => {
                if first {
                    self.flush()?;
                    self.stored = StoredMember::default();
                }
                let progress = bytes.len() as u64;
                let bytes = self.stored.piece(bytes, last);
                self.send(Part::Ready { bytes, progress })
            }
        }
    }

    /// Hands the compressible bytes so far to a compressing thread.
    fn flush(&mut self) -> ControlFlow<()> {
        if self.run.is_empty() {
            return ControlFlow::Continue(());
        }
        let content = std::mem::replace(&mut self.run, Vec::with_capacity(PIECE));
        let progress = content.len() as u64;
        let (sender, member) = sync_channel(1);
        self.send(Part::Pending { member, progress })?;
        match self.jobs.send(Job {
            content,
            member: sender,
        }) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }

    fn send(&self, part: Part) -> ControlFlow<()> {
        match self.parts.send(part) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}

/// Compresses pieces until no more come.
fn compress_all(jobs: &Mutex<Receiver<Job>>) {
    loop {
        let job = match jobs.lock() {
            Ok(jobs) => jobs.recv(),
            Err(_) => return,
        };
        let Ok(job) = job else { return };
        // The member is not needed once writing has failed.
        let _unwanted = job.member.send(compressed_member(&job.content));
    }
}

fn write_parts(out: &mut impl Write, parts: Receiver<Part>, progress: &dyn Fn(u64)) -> Result<Digest, PackError> {
    let mut hasher = Hasher::new();
    for part in parts {
        let (bytes, done) = match part {
            Part::Ready { bytes, progress } => (bytes, progress),
            Part::Pending { member, progress } => {
                let member = member.recv().map_err(|_| PackError::ThreadLost)?;
                (member.map_err(PackError::Write)?, progress)
            }
        };
        hasher.update(&bytes);
        out.write_all(&bytes).map_err(PackError::Write)?;
        progress(done);
    }
    out.flush().map_err(PackError::Write)?;
    Ok(hasher.finish())
}
