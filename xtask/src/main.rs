//! This repository's chores.
fn main() {}
