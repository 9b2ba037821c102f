//! HTTP to another service of the stack: plain HTTP/1.1, pooled connections, bounded waiting.

use std::time::Duration;

use axum::body::Body;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use crate::environment::{Environment, EnvironmentError};

/// A client with pooled connections.
pub type Client = legacy::Client<HttpConnector, Body>;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(3);

/// Unused connections are closed after this; shorter than servers keep them.
const IDLE: Duration = Duration::from_secs(20);

/// A client whose connections come about quickly or not at all.
pub fn new() -> Client {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT));
    connector.set_nodelay(true);
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(4)
        .build(connector)
}

/// The backend's address from `BACKEND_URL`, without a slash at its end.
///
/// # Errors
/// It is not an `http://` address without a path.
pub fn backend_url(environment: &Environment) -> Result<String, EnvironmentError> {
    address(environment, "BACKEND_URL", "http://backend:8000")
}

/// The updater's address from `UPDATER_URL`, without a slash at its end.
///
/// # Errors
/// It is not an `http://` address without a path.
pub fn updater_url(environment: &Environment) -> Result<String, EnvironmentError> {
    address(environment, "UPDATER_URL", "http://host.docker.internal:8450")
}

fn address(environment: &Environment, name: &'static str, default: &str) -> Result<String, EnvironmentError> {
    let url = environment.text(name).unwrap_or_else(|| default.to_owned());
    let url = url.trim_end_matches('/');
    let invalid = || EnvironmentError::Invalid {
        name,
        expected: "an address such as http://backend:8000",
    };
    let uri: axum::http::Uri = url.parse().map_err(|_| invalid())?;
    let plain = uri.scheme_str() == Some("http") && uri.authority().is_some() && uri.path() == "/";
    if plain && uri.query().is_none() {
        Ok(url.to_owned())
    } else {
        Err(invalid())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_addresses_are_taken() {
        let check = |url: &'static str| backend_url(&Environment::from_fn(move |_| Some(url.to_owned())));
        assert_eq!(check("http://backend:8000/").as_deref(), Ok("http://backend:8000"));
        assert_eq!(check("").as_deref(), Ok("http://backend:8000"));
        for wrong in [
            "backend:8000",
            "https://backend",
            "http://backend/api",
            "http://b/?x",
            "/",
            "ftp://b",
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
