//! The life of an update against a recording engine, ended at every point and started again.
//!
//! [`world`] is a device: images, containers, a database with rows that a witness knows, and a clock that runs only when
//! a caller waits. [`bundles`] makes small real bundles. What real engines do is tested in `xtask/tests/devices`.

mod download;
mod github;
mod install;
mod site;
mod tls;
mod web;
