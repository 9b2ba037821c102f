//! Listening: connections, TLS, routes, the page and its description.

pub(crate) mod listen;
pub(crate) mod openapi;
pub(crate) mod page;
pub(crate) mod routes;
pub(crate) mod tls;
