//! What was asked, what was answered, and how many bytes went each way.

use std::sync::{
    Arc,
    atomic::{AtomicU16, AtomicU64, Ordering},
};

use hyper::HeaderMap;

/// Which of GitHub's hosts was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// `api.github.com`
    Api,
    /// `uploads.github.com`
    Uploads,
    /// `github.com`, for `browser_download_url`
    Web,
    /// Where downloads are redirected to
    Storage,
}

/// One request, as the log has it.
#[derive(Debug, Clone)]
pub struct Request {
    /// The host that was asked.
    pub host: Host,
    /// The method in capitals.
    pub method: String,
    /// Path and query, as they came.
    pub path: String,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The answer's status; 0 while there is none, and for ever where a fault left none.
    pub status: u16,
    /// Bytes of the request's body that were read.
    pub received: u64,
    /// Bytes of the answer's body that were sent.
    pub sent: u64,
}

impl Request {
    /// A header's value, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A request under way; its clones count into the same entry.
#[derive(Debug, Clone)]
pub(crate) struct Entry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    host: Host,
    method: String,
    path: String,
    headers: HeaderMap,
    status: AtomicU16,
    received: AtomicU64,
    sent: AtomicU64,
}

impl Entry {
    pub(crate) fn new(host: Host, method: &str, path: &str, headers: &HeaderMap) -> Self {
        Self(Arc::new(Inner {
            host,
            method: method.to_owned(),
            path: path.to_owned(),
            headers: headers.clone(),
            status: AtomicU16::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        }))
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.0.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.0.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self, status: u16) {
        self.0.status.store(status, Ordering::Relaxed);
    }

    pub(crate) fn request(&self) -> Request {
        let inner = &self.0;
        Request {
            host: inner.host,
            method: inner.method.clone(),
            path: inner.path.clone(),
            headers: inner.headers.clone(),
            status: inner.status.load(Ordering::Relaxed),
            received: inner.received.load(Ordering::Relaxed),
            sent: inner.sent.load(Ordering::Relaxed),
        }
    }
}
