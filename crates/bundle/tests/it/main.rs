//! Integration tests of the bundle format: what is written, by whom it can be read, and what is
//! refused.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on fails by panicking"
)]

mod diff;
mod fixture;
mod hostile;
mod images_inside;
mod legacy;
mod manifest;
mod parts;
mod read;
mod round_trip;
mod signature;
mod system_tools;
mod written;
mod zip_form;
