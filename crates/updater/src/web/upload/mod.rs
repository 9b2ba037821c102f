//! Bundles that callers send.
//!
//! ```text
//! form         in one request
//! resumable    in several requests     unfinished    between them
//! claim        a complete bundle becomes an update
//! ```

pub(crate) mod claim;
pub(crate) mod form;
pub(crate) mod resumable;
pub(crate) mod unfinished;
