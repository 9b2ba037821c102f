//! Connections: accepted, encrypted where a certificate is configured, and closed when they stall.
//!
//! A caller has half a minute for the handshake, and for the head of a request; bodies have limits where they are read.
//! A limited number of connections is served at a time; more wait in the kernel's queue.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{Request, Response},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tracing::warn;

use super::{routes::router, tls::Tls};
use crate::web::{
    access::client::Peer,
    app::{App, receive},
    upload::unfinished,
};
use device::{Error, Result};

/// The largest number of connections that are served at a time.
const CONNECTIONS: usize = 400;

/// How long a handshake, or the head of a request, may take.
const HEAD: Duration = Duration::from_secs(30);

/// How long to wait before listening is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// The largest buffer of a connection, in bytes.
const BUFFER: usize = 256 << 10;

/// How often expired uploads are removed.
const TIDY: Duration = Duration::from_secs(60 * 60);

/// Serves until the process ends.
pub(crate) async fn serve(app: Arc<App>) {
    tidy(&app);
    let mut said = None;
    loop {
        match open(&app).await {
            Ok((listener, tls)) => return accept(&listener, tls, &router(app)).await,
            Err(error) => {
                let text = error.to_string();
                if said.as_ref() != Some(&text) {
                    warn!(
                        "the page is not served: {text}; trying again every {} s",
                        AGAIN.as_secs()
                    );
                }
                said = Some(text);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Removes the files of interrupted uploads, now and periodically.
pub(crate) fn tidy(app: &Arc<App>) {
    receive::remove_leftovers(&app.config);
    let tidied = app.clone();
    tokio::spawn(async move {
        loop {
            let app = tidied.clone();
            tokio::task::spawn_blocking(move || unfinished::remove_expired(&app))
                .await
                .ok();
            tokio::time::sleep(TIDY).await;
        }
    });
}

async fn open(app: &App) -> Result<(TcpListener, Option<Tls>)> {
    let web = &app.config.web;
    let tls = Tls::read(web)?;
    Ok((bind(web.listen).await?, tls))
}

/// Listens. On a machine without IPv6, every address is every IPv4 address.
pub(crate) async fn bind(address: SocketAddr) -> Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(_) if address.ip() == Ipv6Addr::UNSPECIFIED => {
            let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
            TcpListener::bind(address)
                .await
                .map_err(|error| Error::io("listen on", address.to_string())(error))
        }
        Err(error) => Err(Error::io("listen on", address.to_string())(error)),
    }
}

/// Accepts connections without end.
pub(crate) async fn accept(listener: &TcpListener, mut tls: Option<Tls>, router: &Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // Never closed.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                // Too many open files, say: it passes.
                warn!("a connection cannot be accepted: {error}");
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
        };
        let peer = Peer {
            address,
            tls: tls.is_some(),
        };
        let acceptor = tls.as_mut().map(Tls::acceptor);
        let router = router.clone();
        tokio::spawn(async move {
            let _place = place;
            stream.set_nodelay(true).ok();
            match acceptor {
                None => converse(stream, peer, router).await,
                Some(acceptor) => {
                    // A caller that does not speak TLS gets no answer.
                    if let Ok(Ok(stream)) = tokio::time::timeout(HEAD, acceptor.accept::<TcpStream>(stream)).await {
                        converse(stream, peer, router).await;
                    }
                }
            }
        });
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, peer: Peer, router: Router) {
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let answer = hyper::service::Service::call(&service, request);
        async move { answer.await as std::result::Result<Response<Body>, Infallible> }
    });
    // A broken connection is not an error of this program.
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .await
        .ok();
}
