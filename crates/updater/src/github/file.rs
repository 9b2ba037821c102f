//! One file: what is here of it is kept, the rest is fetched, and all of it is hashed.
//!
//! Every [`STEP`] bytes what has come is brought to the disk and recorded, in this order: what is recorded has survived a
//! power cut. What follows may be anything, and is cut off before going on.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
};

use bundle::Hasher;
use rustix::fs::FallocateFlags;

use super::{
    client::Client,
    fault::Fault,
    repository::GitHub,
    resume::{self, Place},
};
use device::{
    Error, Result,
    control::progress::Progress,
    store::{Download, Store},
    system::crash,
};

/// What may have to be fetched twice after a power cut, in bytes.
pub(crate) const STEP: u64 = 4 << 20;

/// A file that is being fetched.
pub(crate) struct Fetch<'a> {
    pub(crate) github: GitHub<'a>,
    pub(crate) store: &'a mut Store,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) update: i64,
    /// Its position among the files of its bundle.
    pub(crate) position: usize,
}

/// What is known of the file while it comes.
struct PartialFile {
    file: File,
    hasher: Hasher,
    etag: Option<String>,
    /// So many bytes are recorded.
    recorded: u64,
}

impl Fetch<'_> {
    /// Makes the file at `path` what `download` says.
    ///
    /// # Errors
    /// What GitHub, the connection or the disk do; what has come until then is kept. The download was cancelled.
    pub(crate) fn run(&mut self, download: &Download, path: &Path) -> Result<()> {
        let mut partial = self.what_is_here(download, path)?;
        if partial.hasher.length() < download.file.size {
            reserve(&partial.file, partial.recorded, download.file.size).map_err(Error::io("make room for", path))?;
            let fetched = self.rest(download, path, &mut partial);
            // Also what came before a failure counts.
            let kept = self.keep(path, &mut partial);
            fetched.and(kept)?;
        }
        let judged = resume::judge(&download.file, partial.hasher.finish());
        if judged.is_err() {
            // From the beginning, the next time.
            self.record(0, None)?;
        }
        Ok(judged?)
    }

    /// Cuts off what was not recorded, and hashes the rest.
    fn what_is_here(&mut self, download: &Download, path: &Path) -> Result<PartialFile> {
        let open = || {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).open(path)?;
            let here = download.at.min(file.metadata()?.len()).min(download.file.size);
            file.set_len(here)?;
            Ok((file, here))
        };
        let (mut file, here) = open().map_err(Error::io("write", path))?;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 1 << 16];
        self.progress.begin("checking what is here", Some(here));
        while hasher.length() < here {
            let count = file.read(&mut buffer).map_err(Error::io("read", path))?;
            if count == 0 {
                return Err(Error::io("read", path)(io::ErrorKind::UnexpectedEof.into()));
            }
            hasher.update(&buffer[..count]);
            self.progress.advance(count as u64);
        }
        Ok(PartialFile {
            file,
            hasher,
            etag: download.etag.clone(),
            recorded: here,
        })
    }

    fn rest(&mut self, download: &Download, path: &Path, partial: &mut PartialFile) -> Result<()> {
        let client = Client::new(self.github.settings, self.github.patience)?;
        let place = Place {
            at: partial.recorded,
            etag: partial.etag.clone(),
        };
        let mut coming = client.file(&download.file, &place)?;
        if coming.from < partial.recorded {
            self.record(0, None)?;
            *partial = self.what_is_here(
                &Download {
                    at: 0,
                    ..download.clone()
                },
                path,
            )?;
        }
        partial.etag.clone_from(&coming.etag);
        self.progress
            .begin(&format!("downloading {}", download.file.name), Some(download.file.size));
        self.progress.advance(partial.recorded);
        while let Some(chunk) = coming.next()? {
            let chunk = chunk.as_ref();
            if partial.hasher.length() + chunk.len() as u64 > download.file.size {
                return Err(changed(download));
            }
            partial.file.write_all(chunk).map_err(Error::io("write", path))?;
            partial.hasher.update(chunk);
            self.progress.advance(chunk.len() as u64);
            if partial.hasher.length() - partial.recorded >= STEP {
                self.keep(path, partial)?;
            }
        }
        if partial.hasher.length() < download.file.size {
            return Err(Fault::CutOff("it ended too early".to_owned()).into());
        }
        Ok(())
    }

    /// Brings what has come to the disk, and records it.
    fn keep(&mut self, path: &Path, partial: &mut PartialFile) -> Result<()> {
        let length = partial.hasher.length();
        if length > partial.recorded {
            partial.file.sync_data().map_err(Error::io("write", path))?;
            crash::point("download synced");
            self.record(length, partial.etag.as_deref())?;
            crash::point("download recorded");
            partial.recorded = length;
        }
        Ok(())
    }

    fn record(&mut self, at: u64, etag: Option<&str>) -> Result<()> {
        if self.store.set_fetched(self.update, self.position, at, etag)? {
            return Ok(());
        }
        Err(Error::refused("the download is not wanted any more", "updater history"))
    }
}

fn changed(download: &Download) -> Error {
    let name = download.file.name.clone();
    Fault::Changed { name }.into()
}

/// Takes the disk space for the rest of a file, so that no other process can use it.
fn reserve(file: &File, from: u64, to: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, from, to - from) {
        // Not every file system can.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
        reserved => Ok(reserved?),
    }
}
