//! The page and its API, served beside the daemon's loop.
//!
//! ```text
//! serve     connections, TLS, limits on slow callers; which call goes where; the page; the OpenAPI document
//! api       what is read, and commands, which the daemon executes (device::control::requests); events, metrics
//! upload    a bundle in one request, or in several
//! access    who calls: session cookie or bearer token; attempts are limited; the audit log
//! app       what all calls share; uploads that are under way
//! refusal, answer, body, worker    error responses, other responses, what calls bring, work that blocks
//! ```
//!
//! Architecture invariants: imports run down this list only. Nothing here acts on the product: records of updates that
//! wait are added, bundles are received under a hidden name and renamed when they are complete, and everything else is a
//! command to the daemon, which holds the lock. Work on files and the record runs on worker threads, so that one slow
//! disk stops no caller.
//!
//! One thread serves: a device has few callers, and little memory.

pub(crate) mod access;
pub(crate) mod answer;
pub(crate) mod api;
pub(crate) mod app;
pub(crate) mod body;
pub(crate) mod refusal;
pub(crate) mod serve;
pub(crate) mod upload;
pub(crate) mod worker;

use std::{sync::Arc, thread};

use tracing::warn;

use self::app::App;
pub use self::serve::openapi::document;
use crate::github::Waker;
use device::{
    config::Config,
    control::{board::Board, requests::Requests},
};

/// The threads that work on files and the record.
const WORKERS: usize = 12;

/// A worker's stack in bytes: they only read, write and hash.
const STACK: usize = 512 << 10;

/// Serves in a thread of its own until the process ends. A failure is logged, and listening is tried again: the device
/// takes dropped bundles all the same.
pub fn start(config: &Config, requests: &Arc<Requests>, board: &Arc<Board>, waker: Option<Waker>) {
    if !config.web.enabled {
        return;
    }
    let app = Arc::new(App::new(config.clone(), requests.clone(), board.clone(), waker));
    let started = thread::Builder::new().name("web".to_owned()).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(WORKERS)
            .thread_stack_size(STACK)
            .build();
        match runtime {
            Ok(runtime) => runtime.block_on(serve::listen::serve(app)),
            Err(error) => warn!("the page cannot be served: {error}"),
        }
    });
    if let Err(error) = started {
        warn!("the page cannot be served: {error}");
    }
}

/// As [`start`], on a free port of this machine, which is returned.
#[cfg(test)]
pub(crate) fn start_for_test(config: &Config, requests: &Arc<Requests>, board: &Arc<Board>) -> std::net::SocketAddr {
    let app = Arc::new(App::new(config.clone(), requests.clone(), board.clone(), None));
    let tls = serve::tls::Tls::read(&config.web).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(WORKERS)
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = serve::listen::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
            sender.send(listener.local_addr().unwrap()).unwrap();
            serve::listen::tidy(&app);
            serve::listen::accept(&listener, tls, &serve::routes::router(app)).await;
        });
    });
    receiver.recv().unwrap()
}
