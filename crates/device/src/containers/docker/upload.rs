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
use crate::{Error, Result, containers::engine::WriteArchive, system::timing::timed};

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
    timed(tracing::debug_span!("send archive"), ToString::to_string, || {
        stream_to_engine(api, write, patience)
    })
}

fn stream_to_engine(api: &Api, write: &mut WriteArchive<'_>, patience: Duration) -> Result<()> {
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
        written.map_err(|error| Error::engine_because("read the image for the Docker engine", error))?;
        answered
    })
}

async fn send(api: &Api, mut chunks: mpsc::Receiver<io::Result<Vec<u8>>>, patience: Duration) -> Result<()> {
    let activity = Activity::new();
    let taken = activity.clone();
    let client = api.client().await.map_err(|error| api::failed(ACTION, error))?;
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
            Ok(Some(Err(error))) => return Err(api::failed(ACTION, error)),
            Err(_) if activity.age() >= patience => {
                let seconds = patience.as_secs();
                return Err(Error::engine(
                    ACTION,
                    format!("the Docker engine has taken nothing and said nothing for {seconds} s"),
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

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        os::unix::net::{UnixListener, UnixStream},
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(400);

    /// Where nothing is to be given up.
    const GENEROUS: Duration = Duration::from_secs(60);

    /// An engine that tells its version, and treats a load as `treat` does.
    fn engine(treat: impl Fn(&mut UnixStream) + Send + 'static) -> (tempfile::TempDir, Api) {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    stream.read_exact(&mut byte).unwrap();
                    head.push(byte[0]);
                }
                if String::from_utf8_lossy(&head).contains("/version") {
                    answer(&mut stream, r#"{"ApiVersion":"1.41"}"#);
                } else {
                    treat(&mut stream);
                }
            }
        });
        let api = Api::new(&format!("unix://{}", socket.display())).unwrap();
        (directory, api)
    }

    fn answer(stream: &mut UnixStream, json: &str) {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
        let length = json.len();
        write!(stream, "{head}\r\nContent-Length: {length}\r\n\r\n{json}").unwrap();
    }

    /// What an engine reads of a body, to its end or to the end of the connection.
    fn read_body(stream: &mut UnixStream) -> Vec<u8> {
        let mut body = Vec::new();
        let mut buffer = [0; 8192];
        while !body.ends_with(b"\r\n0\r\n\r\n") {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(count) => body.extend_from_slice(&buffer[..count]),
            }
        }
        body
    }

    fn endless(out: &mut dyn Write) -> io::Result<()> {
        loop {
            out.write_all(&[7; 4096])?;
        }
    }

    #[test]
    fn an_engine_that_takes_nothing_is_given_up() {
        let (_directory, api) = engine(|_| thread::sleep(Duration::from_secs(30)));
        let started = Instant::now();
        let error = load(&api, &mut endless, PATIENCE).unwrap_err().to_string();
        assert!(error.contains("has taken nothing and said nothing"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn an_engine_that_is_slow_is_not() {
        let (_directory, api) = engine(|stream| {
            let mut buffer = vec![0; 256 * 1024];
            for _ in 0..6 {
                stream.read_exact(&mut buffer).unwrap();
                thread::sleep(Duration::from_millis(700));
            }
            read_body(stream);
            answer(stream, r#"{"stream":"Loaded image"}"#);
        });
        // Less than the six pauses together, and much more than one: also on a machine that has other things to do.
        let patience = Duration::from_secs(4);
        let started = Instant::now();
        load(&api, &mut |out| out.write_all(&vec![7; 2 << 20]), patience).unwrap();
        assert!(started.elapsed() > patience);
    }

    #[test]
    fn a_refusal_with_status_200_is_an_error() {
        let (_directory, api) = engine(|stream| {
            read_body(stream);
            answer(
                stream,
                r#"{"errorDetail":{"message":"no such layer"},"error":"no such layer"}"#,
            );
        });
        let error = load(&api, &mut |out| out.write_all(b"archive"), GENEROUS).unwrap_err();
        assert!(error.to_string().ends_with("Docker engine: no such layer"), "{error}");
    }

    #[test]
    fn an_engine_that_goes_away_ends_the_writing() {
        let (_directory, api) = engine(|_| {});
        let error = load(&api, &mut endless, GENEROUS).unwrap_err().to_string();
        assert!(error.contains("the connection to the Docker engine broke"), "{error}");
    }

    #[test]
    fn what_cannot_be_read_is_why_and_no_archive_ends_well() {
        let (sender, bodies) = std::sync::mpsc::channel();
        let (_directory, api) = engine(move |stream| sender.send(read_body(stream)).unwrap());
        let mut broken = |out: &mut dyn Write| {
            out.write_all(&vec![7; 1 << 20])?;
            Err(io::Error::other("the bundle has changed"))
        };
        let error = load(&api, &mut broken, GENEROUS).unwrap_err().to_string();
        assert!(error.ends_with("the bundle has changed"), "{error}");
        assert!(!bodies.recv().unwrap().ends_with(b"0\r\n\r\n"));
    }
}
