//! The front end: serves the page and passes API calls on to the backend.
//!
//! The page is embedded and needs nothing from elsewhere. `/alive` is about the front end alone; `/health` is
//! the backend's, passed on, so that one address tells about the whole product. `/ota` and `/api/v1/ota` are the updater's,
//! which runs beside the containers: its page works at this address, too.
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
    let backend = Proxy::to_backend(&environment)?;
    let updater = Proxy::to_updater(&environment)?;
    let port = PROGRAM.port(&environment)?;
    let router = page::routes().layer(middleware::map_response(page::protect)).merge(
        Router::new()
            .route("/alive", get(async || "ok\n"))
            .merge(passed_on(backend, &["/health", "/api/v1/{*path}"]))
            .merge(passed_on(
                updater,
                // A wildcard is one character at least.
                &["/ota", "/ota/", "/ota/{*path}", "/api/v1/ota", "/api/v1/ota/{*path}"],
            )),
    );
    PROGRAM.serve(port, router, shutdown).await
}

fn passed_on(proxy: Proxy, routes: &[&str]) -> Router {
    let pass = any(move |request: Request| {
        let proxy = proxy.clone();
        async move { proxy.pass(request).await }
    });
    routes
        .iter()
        .fold(Router::new(), |router, route| router.route(route, pass.clone()))
}
