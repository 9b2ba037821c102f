//! Feeding an archive to the engine's load call while it is being written.
//!
//! ```text
//! write → a few chunks → a thread: body of POST /images/load → the engine
//!                                  answers, as JSON lines    ←
//! ```
//!
//! Memory stays at those few chunks, because the body is sent only as fast as the engine takes it. There is no limit to
//! the whole, which takes as long as the disk needs, but to how long nothing happens. The engine says what it refuses in
//! an answer with status 200.

use std::{
    io::{self, Write},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bollard::{body_try_stream, query_parameters::ImportImageOptions};
use futures_util::{StreamExt as _, stream};
use tokio::sync::mpsc;

use super::api::{self, Api};
use crate::{Error, Result, containers::WriteArchive};

/// How long the engine may take nothing and say nothing. It is silent while it unpacks a layer, and 2 GB on a slow card
/// take a quarter of an hour.
pub(super) const PATIENCE: Duration = Duration::from_secs(20 * 60);

/// How long the whole may take, for the client library, which must have some limit.
const FOREVER: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Bytes that are handed over at once.
const CHUNK: usize = 128 * 1024;

/// Chunks that wait for the engine.
const WAITING: usize = 2;

const ACTION: &str = "load the image into the Docker engine";

/// Loads what `write` writes; gives up when nothing happened for `patience`.
pub(super) fn load(api: &Api, write: &mut WriteArchive<'_>, patience: Duration) -> Result<()> {
    let runtime = api::runtime()?;
    let (sender, receiver) = mpsc::channel(WAITING);
    thread::scope(|scope| {
        let sending = scope.spawn(move || {
            let answered = runtime.block_on(send(api, receiver, patience));
            // Ends what is left of the connection, and with it the waiting of `write`.
            drop(runtime);
            answered
        });
        let written = Pipe::of(sender).fill(write);
        let answered = sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // A broken archive is why the engine complains, where both do.
        written.map_err(|error| Error::engine("read the image for the Docker engine", error))?;
        answered.map_err(|message| Error::engine(ACTION, message))
    })
}

async fn send(api: &Api, mut chunks: mpsc::Receiver<io::Result<Vec<u8>>>, patience: Duration) -> Result<(), String> {
    let activity = Activity::new();
    let taken = activity.clone();
    let client = api.client().await.map_err(|error| api::describe(&error))?;
    let client = client.with_timeout(FOREVER);
    let body = stream::poll_fn(move |context| chunks.poll_recv(context)).map(move |chunk| {
        taken.touch();
        chunk.map(Into::into)
    });
    let mut answers = pin!(client.import_image(ImportImageOptions::default(), body_try_stream(body), None));
    loop {
        let left = patience.saturating_sub(activity.age()).max(Duration::from_millis(10));
        match tokio::time::timeout(left, answers.next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(Ok(_))) => activity.touch(),
            Ok(Some(Err(error))) => return Err(api::describe(&error)),
            Err(_) if activity.age() >= patience => {
                return Err(format!(
                    "the Docker engine has taken nothing and said nothing for {} s",
                    patience.as_secs()
                ));
            }
            Err(_) => {}
        }
    }
}

/// When something happened last.
#[derive(Clone)]
struct Activity {
    start: Instant,
    last: Arc<AtomicU64>,
}

impl Activity {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            last: Arc::default(),
        }
    }

    fn touch(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    fn age(&self) -> Duration {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(last)
    }
}

/// What the archive is written to.
struct Pipe {
    sender: mpsc::Sender<io::Result<Vec<u8>>>,
    chunk: Vec<u8>,
    /// Whether the engine wants no more.
    closed: bool,
}

impl Pipe {
    fn of(sender: mpsc::Sender<io::Result<Vec<u8>>>) -> Self {
        Self {
            sender,
            chunk: Vec::with_capacity(CHUNK),
            closed: false,
        }
    }

    /// Lets `write` write everything. It is no failure here that the engine wants no more: it says why.
    fn fill(mut self, write: &mut WriteArchive<'_>) -> io::Result<()> {
        let written = write(&mut self).and_then(|()| self.flush());
        match written {
            Err(error) if !self.closed => {
                // The body must not end as if it were whole.
                self.sender.blocking_send(Err(io::ErrorKind::UnexpectedEof.into())).ok();
                Err(error)
            }
            _ => Ok(()),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK {
            self.flush()?;
        }
        let count = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.sender.blocking_send(Ok(chunk)).map_err(|_| {
            self.closed = true;
            io::ErrorKind::BrokenPipe.into()
        })
    }
}
