//! Passes requests on to another service and answers back, both streamed.
//!
//! Of the headers, those that concern one connection only are dropped (RFC 9110, section 7.6.1), and
//! `X-Forwarded-*` is set from what is known here, never from what the caller sent: this is the outermost proxy.
//! A service that is away gives 502, one that is slow 504, both as JSON.

use std::{future::Future, net::SocketAddr, pin::pin, time::Duration};

use axum::{
    Json,
    body::Body,
    extract::{ConnectInfo, Request},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, uri::PathAndQuery},
    response::{IntoResponse, Response},
};
use serde_json::json;
use tracing::warn;

use super::stall::{Moves, StallGuard};
use crate::{
    client::{self, Client},
    environment::{Environment, EnvironmentError},
    program::chain,
};

/// How long a service may take to begin its answer, from when the last part of the request was passed on.
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

/// Whom the service sees in `Host`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    /// Itself, as it is called here.
    Service,
    /// What the caller asked for: a service that compares it with a page's origin needs that.
    Caller,
}

/// The way to a service.
#[derive(Clone)]
pub struct Proxy {
    client: Client,
    name: &'static str,
    url: String,
    host: Host,
}

impl Proxy {
    /// A proxy to the backend at `BACKEND_URL`.
    ///
    /// # Errors
    /// `BACKEND_URL` is not an address.
    pub fn to_backend(environment: &Environment) -> Result<Self, EnvironmentError> {
        Ok(Self {
            client: client::new(),
            name: "backend",
            url: client::backend_url(environment)?,
            host: Host::Service,
        })
    }

    /// A proxy to the updater at `UPDATER_URL`.
    ///
    /// # Errors
    /// `UPDATER_URL` is not an address.
    pub fn to_updater(environment: &Environment) -> Result<Self, EnvironmentError> {
        Ok(Self {
            client: client::new(),
            name: "updater",
            url: client::updater_url(environment)?,
            host: Host::Caller,
        })
    }

    /// Passes one request on.
    pub async fn pass(&self, request: Request) -> Response {
        let moves = Moves::default();
        let (parts, body) = request.into_parts();
        let body = Body::new(StallGuard::new(body, STALL).watched(moves.clone()));
        let name = self.name;
        let request = match self.outgoing(Request::from_parts(parts, body)) {
            Ok(request) => request,
            Err(error) => return refusal(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        match answer_in_time(self.client.request(request), &moves).await {
            Some(Ok(answer)) => {
                let (mut parts, body) = answer.into_parts();
                drop_hop_by_hop(&mut parts.headers);
                Response::from_parts(parts, Body::new(StallGuard::new(Body::new(body), STALL)))
            }
            Some(Err(error)) => {
                warn!(error = chain(&error), "{name} is away");
                refusal(StatusCode::BAD_GATEWAY, &format!("{name} is not reachable"))
            }
            None => {
                warn!(seconds = ANSWER.as_secs(), "{name} is slow");
                refusal(StatusCode::GATEWAY_TIMEOUT, &format!("{name} did not answer in time"))
            }
        }
    }

    /// The request as the service gets it.
    fn outgoing(&self, request: Request) -> Result<Request, axum::http::uri::InvalidUri> {
        let peer = request
            .extensions()
            .get::<ConnectInfo<SocketAddr>>()
            .map(|info| info.0.ip().to_canonical());
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        parts.uri = format!("{}{path}", self.url).parse::<Uri>()?;
        parts.version = axum::http::Version::HTTP_11;
        drop_hop_by_hop(&mut parts.headers);
        // Without it, the client names the service; whom the caller asked is in X-Forwarded-Host either way.
        let host = match self.host {
            Host::Service => parts.headers.remove(header::HOST),
            Host::Caller => parts.headers.get(header::HOST).cloned(),
        };
        set(&mut parts.headers, "x-forwarded-host", host);
        set(
            &mut parts.headers,
            "x-forwarded-proto",
            Some(HeaderValue::from_static("http")),
        );
        let peer = peer.and_then(|peer| HeaderValue::from_str(&peer.to_string()).ok());
        set(&mut parts.headers, "x-forwarded-for", peer);
        parts.headers.remove(header::FORWARDED);
        Ok(Request::from_parts(parts, body))
    }
}

/// What `answer` gives, unless nothing of the request has been passed on for too long: a long upload is no slow service.
async fn answer_in_time<T>(answer: impl Future<Output = T>, moves: &Moves) -> Option<T> {
    let mut answer = pin!(answer);
    loop {
        let deadline = moves.last() + ANSWER;
        if let Ok(answer) = tokio::time::timeout_at(deadline, &mut answer).await {
            return Some(answer);
        }
        if moves.last() + ANSWER <= deadline {
            return None;
        }
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
        let passed = Proxy::to_backend(&environment).unwrap().outgoing(request).unwrap();
        assert_eq!(passed.uri(), "http://backend:8000/api/v1/datapoints?limit=1");
        let header = |name| passed.headers().get(name).map(|value| value.to_str().unwrap());
        assert_eq!(header("x-forwarded-for"), Some("10.0.0.1"));
        assert_eq!(header("x-forwarded-host"), Some("device"));
        assert_eq!((header("host"), header("forwarded")), (None, None));
    }

    #[tokio::test]
    async fn the_updater_sees_whom_the_caller_asked() {
        let environment = Environment::from_fn(|name| (name == "UPDATER_URL").then(|| "http://host:8450".to_owned()));
        let request = Request::builder()
            .uri("/ota/")
            .header("host", "device")
            .body(Body::empty());
        let proxy = Proxy::to_updater(&environment).unwrap();
        let passed = proxy.outgoing(request.unwrap()).unwrap();
        assert_eq!(passed.uri(), "http://host:8450/ota/");
        assert_eq!(passed.headers()["host"], "device");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_moves_is_not_slow() {
        let moves = Moves::default();
        let upload = async {
            for _ in 0..10 {
                tokio::time::sleep(ANSWER / 2).await;
                moves.moved();
            }
            "done"
        };
        assert_eq!(answer_in_time(upload, &moves).await, Some("done"));
        let silent = tokio::time::sleep(ANSWER * 2);
        assert_eq!(answer_in_time(silent, &Moves::default()).await, None);
    }
}
