//! A witness outside of the stack: hands readings in through the product's own page, without a pause, and keeps the list
//! of those that were acknowledged.
//!
//! What was acknowledged must be in the database in the end, with its value; what is there must have been handed in. Lists
//! are compared, never counts: a lost reading and a doubled one would make up for each other.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause between two readings.
const PAUSE: Duration = Duration::from_millis(50);

/// What the witness calls itself in its readings.
pub(crate) const SOURCE: &str = "witness";

/// Readings by their ID, each with its value.
pub(crate) type Readings = BTreeMap<String, u64>;

/// Hands readings in until it is dropped.
pub(crate) struct Witness {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    to: SocketAddr,
    key: String,
    ended: AtomicBool,
    lists: Mutex<Lists>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Lists {
    /// Everything that was handed in.
    pub(crate) tried: Readings,
    /// What the product said it has stored.
    pub(crate) acknowledged: Readings,
}

impl Witness {
    /// Begins, at a port of this machine. `key` is what the product wants to be shown.
    pub(crate) fn start(port: u16, key: &str) -> Self {
        let shared = Arc::new(Shared {
            to: SocketAddr::from(([127, 0, 0, 1], port)),
            key: key.to_owned(),
            ended: AtomicBool::new(false),
            lists: Mutex::default(),
        });
        let its = shared.clone();
        let thread = thread::spawn(move || its.run());
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// What it knows now.
    pub(crate) fn lists(&self) -> Lists {
        self.shared.lists.lock().unwrap().clone()
    }

    /// Waits until a reading is acknowledged that was handed in from now on: the product takes writes.
    pub(crate) fn expect_writes(&self) {
        let before = self.lists().tried.len() as u64;
        for _ in 0..600 {
            let newest = self.lists().acknowledged.into_values().max();
            // One that is under way was handed in before.
            if newest.is_some_and(|newest| newest > before + 1) {
                return;
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("no reading was acknowledged within a minute");
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn run(&self) {
        for value in 1.. {
            if self.ended.load(Ordering::Relaxed) {
                return;
            }
            let id = format!("00000000-0000-4000-8000-{value:012x}");
            self.lists.lock().unwrap().tried.insert(id.clone(), value);
            if self
                .hand_in(&id, value)
                .is_ok_and(|status| status == 201 || status == 200)
            {
                self.lists.lock().unwrap().acknowledged.insert(id, value);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Hands one reading in, and gives the answer's status. It is not tried again: whether it was stored is then not known.
    fn hand_in(&self, id: &str, value: u64) -> std::io::Result<u16> {
        let body = format!(
            r#"{{"id":"{id}","source":"{SOURCE}","name":"count","value":{value},"measured_at":"2026-01-02T03:04:05Z"}}"#
        );
        let key = &self.key;
        let length = body.len();
        let request = format!(
            "POST /api/v1/datapoints HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let mut stream = TcpStream::connect_timeout(&self.to, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let text = String::from_utf8_lossy(&answer);
        let status = text.split_whitespace().nth(1).and_then(|status| status.parse().ok());
        status.ok_or_else(|| std::io::ErrorKind::InvalidData.into())
    }
}
