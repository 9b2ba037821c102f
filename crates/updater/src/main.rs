//! The updater.
fn main() {}
