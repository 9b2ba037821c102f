//! The front end: serves the page and passes API calls on to the backend.
//!
//! The page is embedded and needs nothing from elsewhere. `/alive` is about the front end alone; `/health` is
//! the backend's, passed on, so that one address tells about the whole product.
//!
//! It deliberately does not cache, log in or rewrite anything.

pub mod page;
pub mod proxy;
mod stall;

use axum::{
    Router,
    extract::Request,
    middleware,
    routing::{any, get},
};

use self::proxy::Proxy;
use crate::{
    environment::Environment,
    program::{Error, Program, Shutdown},
};

/// The program.
pub const PROGRAM: Program = Program {
    name: "frontend",
    default_port: 80,
    health_path: "/alive",
};

/// Serves until the shutdown.
///
/// # Errors
/// A setting is wrong or the port is taken.
pub async fn run(environment: Environment, shutdown: Shutdown) -> Result<(), Error> {
    let proxy = Proxy::new(&environment)?;
    let port = PROGRAM.port(&environment)?;
    let router = page::routes().layer(middleware::map_response(page::protect)).merge(
        Router::new()
            .route("/alive", get(async || "ok\n"))
            .merge(passed_on(proxy)),
    );
    PROGRAM.serve(port, router, shutdown).await
}

fn passed_on(proxy: Proxy) -> Router {
    let pass = any(move |request: Request| {
        let proxy = proxy.clone();
        async move { proxy.pass(request).await }
    });
    Router::<()>::new()
        .route("/health", pass.clone())
        .route("/api/v1/{*path}", pass)
}
