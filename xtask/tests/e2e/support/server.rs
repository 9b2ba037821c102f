//! Something on this machine's network that a build fetches from.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

/// Gives everyone who connects the same text, until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    answers: Arc<AtomicUsize>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts one on an unused port.
    pub(crate) fn start(text: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (answers, ends) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let address = listener.local_addr().unwrap();
        let (counter, end) = (Arc::clone(&answers), Arc::clone(&ends));
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    break;
                }
                stream.unwrap().write_all(text.as_bytes()).unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self {
            address,
            answers,
            ends,
            thread: Some(thread),
        }
    }

    /// Where it is.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often it has answered.
    pub(crate) fn answers(&self) -> usize {
        self.answers.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        // Wakes the thread up.
        TcpStream::connect(self.address).ok();
        self.thread.take().map(JoinHandle::join);
    }
}
