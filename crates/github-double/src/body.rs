//! Bodies and headers of answers, and what comes instead of them.

use std::{error::Error, fmt, io};

use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};

use crate::{fault::Break, log::Entry};

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
