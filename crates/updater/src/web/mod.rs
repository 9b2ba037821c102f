//! The page and its API, served beside the daemon's loop.
//!
//! ```text
//! listen    connections, TLS, limits on slow callers
//! routes    which call goes where; headers that every answer has
//! access    who calls: session cookie or bearer token; attempts are limited
//! api       what is read          views    what it looks like outside
//! actions   what is asked for; the daemon does it (device::control::requests)
//! upload    a bundle in one request     resumable    in several     unfinished, receive, claim    what becomes of it
//! events    the course of an update, live
//! metrics, openapi, page
//! ```
//!
//! Architecture invariants: nothing here acts on the product. Records of updates that wait are added, bundles are
//! received under a hidden name and renamed when they are whole, and everything else is asked of the daemon, which holds
//! the lock. What works on files or the record runs on threads of its own, so that one slow disk stops no caller.
//!
//! One thread serves: a device has few callers, and memory is what it lacks.

pub(crate) mod access;
pub(crate) mod api;
pub(crate) mod app;
pub(crate) mod refusal;
pub(crate) mod serve;
pub(crate) mod upload;

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

/// Serves from now on, in a thread of its own, until the process ends. That it cannot is told, and tried again: the
/// device must take bundles all the same.
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

/// As [`start`], on a free port of this machine, which is given.
///
/// # Panics
/// There is no port, or no thread.
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
