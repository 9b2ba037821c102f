//! Four listeners in a thread of their own.

use std::{convert::Infallible, io, net, sync::Arc, thread};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use crate::{Host, answer::answer, shared::Shared, world::Origins};

/// Open ports, not served yet.
pub(crate) struct Listeners([(Host, net::TcpListener); 4]);

/// The thread that serves; it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    stop: Option<oneshot::Sender<Infallible>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has shown itself, and the test fails for want of an answer.
            thread.join().ok();
        }
    }
}

impl Listeners {
    pub(crate) fn open() -> io::Result<Self> {
        let open = |host| {
            let listener = net::TcpListener::bind("127.0.0.1:0")?;
            listener.set_nonblocking(true)?;
            io::Result::Ok((host, listener))
        };
        Ok(Self([
            open(Host::Api)?,
            open(Host::Uploads)?,
            open(Host::Web)?,
            open(Host::Storage)?,
        ]))
    }

    pub(crate) fn origins(&self, [calls, files]: [&str; 2]) -> io::Result<Origins> {
        let [api, uploads, web, storage] = &self.0;
        let origin = |(_, listener): &(Host, net::TcpListener)| {
            let address = listener.local_addr()?;
            io::Result::Ok(format!("http://{address}"))
        };
        Ok(Origins {
            api: origin(api)? + calls,
            uploads: origin(uploads)? + files,
            web: origin(web)?,
            storage: origin(storage)?,
        })
    }

    pub(crate) fn serve(self, shared: &Arc<Shared>) -> io::Result<Server> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel::<Infallible>();
        let shared = Arc::clone(shared);
        let thread = thread::Builder::new().name("github-double".to_owned()).spawn(move || {
            runtime.block_on(async {
                for (host, listener) in self.0 {
                    tokio::spawn(accept(Arc::clone(&shared), host, listener));
                }
                stopped.await.ok();
            });
            // Not waited for: requests that stall never end.
            runtime.shutdown_background();
        })?;
        Ok(Server {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

async fn accept(shared: Arc<Shared>, host: Host, listener: net::TcpListener) {
    let Ok(listener) = TcpListener::from_std(listener) else {
        return;
    };
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(connection(Arc::clone(&shared), host, stream));
    }
}

async fn connection(shared: Arc<Shared>, host: Host, stream: TcpStream) {
    let service = service_fn(move |request| answer(Arc::clone(&shared), host, request));
    // That a client goes away, or is cut off, is what tests are about.
    http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await
        .ok();
}
