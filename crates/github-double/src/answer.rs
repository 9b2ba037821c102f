//! The way of every request through log, faults and limits, and how its answer gets out.

use std::sync::Arc;

use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::HeaderMap,
};

use crate::{
    Host,
    body::{Body, Cut, broken, full, respond},
    call::JsonCall,
    downloads,
    fault::Struck,
    log::Entry,
    path::Path,
    send::send,
    shared::{Shared, lock},
};

/// Answers a request, or cuts the connection.
pub(crate) async fn answer(shared: Arc<Shared>, host: Host, request: Request<Incoming>) -> Result<Response<Body>, Cut> {
    let (parts, body) = request.into_parts();
    let uri = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let entry = Entry::new(host, parts.method.as_str(), uri, &parts.headers);
    lock(&shared.log).push(entry.clone());
    let struck = strike(&shared, host, parts.method.as_str(), uri);
    if let Struck::Instead(ending) = struck {
        return broken(ending, &entry).await;
    }
    if let Struck::Elsewhere = struck {
        entry.answered(302);
        let headers = downloads::redirect("http://elsewhere.example/release-assets/1");
        return Ok(respond(302, headers, full(Bytes::new())));
    }
    let origins = lock(&shared.world).origins().clone();
    let path = origins.inner(host, parts.uri.path()).unwrap_or_default();
    let path = Path::parse(path, parts.uri.query().unwrap_or_default());
    let response = match host {
        Host::Api | Host::Uploads => {
            let exchange = JsonCall {
                shared: &shared,
                host,
                method: &parts.method,
                path: &path,
                headers: &parts.headers,
                entry: &entry,
                struck,
            };
            exchange.answer(body).await?
        }
        Host::Web => {
            let location = downloads::location(&mut lock(&shared.world), &path);
            match location {
                Ok(location) => respond(302, downloads::redirect(&location), full(Bytes::new())),
                Err(_) => respond(404, HeaderMap::new(), full("Not Found")),
            }
        }
        Host::Storage => {
            let slice = downloads::slice(&mut lock(&shared.world), &parts.method, &path, &parts.headers);
            match slice {
                Ok(slice) => send(&shared, slice, &entry, struck).await?,
                Err(status) => respond(status, HeaderMap::new(), full("<Error/>")),
            }
        }
    };
    if let Struck::Afterwards(ending) = struck {
        return broken(ending, &entry).await;
    }
    entry.answered(response.status().as_u16());
    Ok(response)
}

fn strike(shared: &Shared, host: Host, method: &str, path: &str) -> Struck {
    let mut faults = lock(&shared.faults);
    match faults
        .iter_mut()
        .find_map(|fault| fault.strikes(host, method, path).then_some(fault))
    {
        Some(fault) => fault.strike(&mut lock(&shared.world)),
        None => Struck::Nothing,
    }
}
