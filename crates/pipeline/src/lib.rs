//! The release pipeline.
