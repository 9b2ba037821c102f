//! The way of every request through log, faults and limits, and how its answer gets out.

use std::{error::Error, fmt, io, sync::Arc};

use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};

use crate::{
    Host, Shared,
    api::Path,
    call::JsonCall,
    downloads,
    fault::{Break, Struck},
    lock,
    log::Entry,
    send::send,
};

pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// The connection ends without an answer.
#[derive(Debug)]
pub(crate) struct Cut;

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection is cut")
    }
}

impl Error for Cut {}

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

/// What comes instead of an answer.
pub(crate) async fn broken(ending: Break, entry: &Entry) -> Result<Response<Body>, Cut> {
    match ending {
        Break::BadGateway => {
            entry.answered(502);
            let mut headers = HeaderMap::new();
            set(&mut headers, CONTENT_TYPE, "text/html; charset=utf-8");
            let page = "<!DOCTYPE html><html><head><title>Unicorn!</title></head><body>We had issues.</body></html>";
            Ok(respond(502, headers, full(page)))
        }
        Break::Reset => Err(Cut),
        Break::Stall => std::future::pending().await,
    }
}

pub(crate) fn respond(status: u16, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = headers;
    response
}

pub(crate) fn full(text: impl Into<Bytes>) -> Body {
    Full::new(text.into()).map_err(|never| match never {}).boxed()
}

pub(crate) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

pub(crate) fn number(headers: &mut HeaderMap, name: &'static str, value: u64) {
    headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
}
