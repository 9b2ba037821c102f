//! The demo product.
fn main() {}
