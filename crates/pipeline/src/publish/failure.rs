//! Why a call to GitHub did not do what it should.

use std::{fmt, time::Duration};

use super::error::PublishError;
use crate::Error;

/// Why a call did not do what it should.
#[derive(Debug)]
pub(super) enum Failure {
    /// Waiting may help.
    Call {
        /// What was tried.
        action: &'static str,
        /// What came of it.
        reason: Reason,
    },
    /// Waiting does not help.
    Final(PublishError),
    /// A file on this machine cannot be read.
    Io(Box<Error>),
    /// Interrupted with Ctrl-C or SIGTERM.
    Interrupted,
}

/// Why waiting may help.
#[derive(Debug)]
pub(super) enum Reason {
    /// The network or the server failed, or something changed meanwhile.
    Passing(String),
    /// A limit, for so long.
    Limited(Duration),
}

impl Failure {
    pub(super) fn passing(action: &'static str, status: u16, message: &str) -> Self {
        Self::Call {
            action,
            reason: Reason::Passing(format!("GitHub answered {status}: {message}")),
        }
    }
}

/// An error and all that is behind it, in one line.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let message = error.to_string();
        // Some repeat what is behind them.
        if !text.contains(message.as_str()) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(message.lines().next().unwrap_or_default());
        }
        next = error.source();
    }
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { action, reason } => write!(f, "could not {action}: {reason}"),
            Self::Final(error) => error.fmt(f),
            Self::Io(error) => error.fmt(f),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passing(message) => f.write_str(message),
            Self::Limited(wait) => write!(f, "GitHub asks to wait {} s", wait.as_secs()),
        }
    }
}
