//! Passes requests on to the backend and answers back, both streamed.
//!
//! Of the headers, those that concern one connection only are dropped (RFC 9110, section 7.6.1), and
//! `X-Forwarded-*` is set from what is known here, whatever the caller claims: this is the outermost proxy.
//! A backend that is away gives 502, one that is slow 504, both as JSON.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{ConnectInfo, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, uri::PathAndQuery},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tracing::warn;

use super::stall::StallGuard;
use crate::{
    client::{self, Client},
    environment::{Environment, EnvironmentError},
    program::chain,
};

/// How long the backend may take to begin its answer, once it is asked.
const ANSWER: Duration = Duration::from_secs(30);

/// How long a body may stand still, in either direction.
const STALL: Duration = Duration::from_secs(30);

/// Headers that concern one connection only, beside those that `Connection` names.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The way to the backend.
#[derive(Clone)]
pub struct Proxy {
    client: Client,
    backend: String,
}

impl Proxy {
    /// A proxy to the backend at `BACKEND_URL`.
    ///
    /// # Errors
    /// `BACKEND_URL` is not an address.
    pub fn new(environment: &Environment) -> Result<Self, EnvironmentError> {
        Ok(Self {
            client: client::new(),
            backend: client::backend_url(environment)?,
        })
    }

    /// Passes one request on.
    pub async fn pass(&self, request: Request) -> Response {
        let request = match self.outgoing(request) {
            Ok(request) => request,
            Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        match tokio::time::timeout(ANSWER, self.client.request(request)).await {
            Ok(Ok(answer)) => {
                let (mut parts, body) = answer.into_parts();
                drop_hop_by_hop(&mut parts.headers);
                Response::from_parts(parts, Body::new(StallGuard::new(Body::new(body), STALL)))
            }
            Ok(Err(error)) => {
                warn!(error = chain(&error), "backend is away");
                refusal(StatusCode::BAD_GATEWAY, "backend is not reachable")
            }
            Err(_) => {
                warn!(seconds = ANSWER.as_secs(), "backend is slow");
                refusal(StatusCode::GATEWAY_TIMEOUT, "backend did not answer in time")
            }
        }
    }

    /// The request as the backend gets it.
    fn outgoing(&self, request: Request) -> Result<Request, axum::http::uri::InvalidUri> {
        let peer = request
            .extensions()
            .get::<ConnectInfo<SocketAddr>>()
            .map(|info| info.0.ip().to_canonical());
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        parts.uri = format!("{}{path}", self.backend).parse::<Uri>()?;
        parts.version = axum::http::Version::HTTP_11;
        drop_hop_by_hop(&mut parts.headers);
        // The client names the backend itself; whom the caller asked is in X-Forwarded-Host.
        let host = parts.headers.remove(header::HOST);
        set(&mut parts.headers, "x-forwarded-host", host);
        set(
            &mut parts.headers,
            "x-forwarded-proto",
            Some(HeaderValue::from_static("http")),
        );
        let peer = peer.and_then(|peer| HeaderValue::from_str(&peer.to_string()).ok());
        set(&mut parts.headers, "x-forwarded-for", peer);
        parts.headers.remove(header::FORWARDED);
        Ok(Request::from_parts(parts, Body::new(StallGuard::new(body, STALL))))
    }
}

/// Sets a header, or removes what the caller sent when there is nothing to say.
fn set(headers: &mut HeaderMap, name: &'static str, value: Option<HeaderValue>) {
    match value {
        Some(value) => headers.insert(name, value),
        None => headers.remove(name),
    };
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

fn refusal(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_one_connection_are_dropped() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "close, X-Once"),
            ("connection", "x-twice"),
            ("x-once", "1"),
            ("x-twice", "2"),
            ("te", "trailers"),
            ("upgrade", "websocket"),
            ("keep-alive", "timeout=5"),
            ("authorization", "Bearer key"),
        ] {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        drop_hop_by_hop(&mut headers);
        assert_eq!(
            headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["authorization"]
        );
    }

    #[tokio::test]
    async fn what_the_caller_claims_about_itself_is_replaced() {
        let environment = Environment::from_fn(|_| Some("http://backend:8000".to_owned()));
        let mut request = Request::builder()
            .uri("/api/v1/datapoints?limit=1")
            .header("host", "device")
            .header("x-forwarded-for", "1.2.3.4")
            .header("forwarded", "for=1.2.3.4")
            .body(Body::empty())
            .unwrap();
        request
            .extensions_mut()
            .insert(ConnectInfo(SocketAddr::from(([0, 0, 0, 0, 0, 0xffff, 0x0a00, 1], 9))));
        let passed = Proxy::new(&environment).unwrap().outgoing(request).unwrap();
        assert_eq!(passed.uri(), "http://backend:8000/api/v1/datapoints?limit=1");
        let header = |name| passed.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("x-forwarded-for"), Some("10.0.0.1"));
        assert_eq!(header("x-forwarded-host"), Some("device"));
        assert_eq!((header("host"), header("forwarded")), (None, None));
    }
}
