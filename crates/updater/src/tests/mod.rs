//! The life of an update against a recording engine, ended at every point and started again.
//!
//! [`world`] is a device: images, containers, a database with rows that a witness knows, and a clock that runs only when
//! somebody waits. [`bundles`] makes small real bundles. What real engines do is tested in `xtask/tests/devices`.

mod again;
mod bundles;
mod crash_matrix;
mod device;
mod download;
mod github;
mod install;
mod legacy;
mod lives;
mod self_update;
mod site;
mod split;
mod tls;
mod web;
mod world;
