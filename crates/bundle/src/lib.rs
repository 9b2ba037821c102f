//! The update bundle.
