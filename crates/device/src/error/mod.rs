//! What can go wrong, with a hint for a person and an exit code for scripts.
//!
//! An error's text is one sentence. What caused it is kept as its source, where there is one, so that the whole chain can
//! be printed.

mod process;

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

pub use bundle::Problem;
use bundle::{parts::PartsError, read::VerifyError, signature::SignatureError};

pub use self::process::ProcessError;
use crate::state::IllegalTransition;

/// An error of another library, kept as the source of one of ours.
pub(crate) type Source = Box<dyn std::error::Error + Send + Sync>;

/// The result of nearly everything here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read, written, created or removed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A file has invalid content.
    #[error("{}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A bundle is refused, or cannot be read.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A bundle in parts is not whole, or its list is refused.
    #[error(transparent)]
    Parts(#[from] PartsError),
    /// A key is refused.
    #[error("trusted key `{key}`: {source}")]
    Key {
        /// What was given.
        key: String,
        /// What is wrong with it.
        source: SignatureError,
    },
    /// Problems that block an update, found before anything was changed.
    #[error("{}", list(.0))]
    Problems(Vec<Problem>),
    /// A program failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The Docker Engine refused something or could not be reached.
    #[error("cannot {action}: {message}")]
    Engine {
        /// What was tried.
        action: String,
        /// What the engine answered.
        message: String,
        /// What caused it, unless the message is all there is.
        source: Option<Source>,
    },
    /// The record of updates cannot be read or written.
    #[error("the record of updates cannot be used: {0}")]
    Store(#[from] rusqlite::Error),
    /// Another process holds the lock.
    #[error("{holder} is at work")]
    Busy {
        /// The holder and what it does.
        holder: String,
    },
    /// The event is not allowed in the update's state.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// A request is refused.
    #[error("{message}")]
    Refused {
        /// Why.
        message: String,
        /// What to do instead.
        hint: Option<String>,
    },
    /// The server that newer versions are downloaded from does not answer, or its answer cannot be used.
    #[error("{error}")]
    Remote {
        /// The error of that part of the program.
        #[source]
        error: Source,
        /// What to do about it.
        hint: Option<String>,
    },
    /// The product is not healthy.
    #[error("{0}")]
    Unhealthy(String),
    /// The update failed; the previous version runs.
    #[error("{version} was not installed: {message}")]
    Undone {
        /// The target version.
        version: String,
        /// What failed.
        message: String,
    },
    /// Returning to the previous version failed.
    #[error("the device is stuck between two versions: {0}")]
    Stuck(String),
}

fn list(problems: &[Problem]) -> String {
    let lines = problems.iter().map(|problem| problem.without_severity().to_string());
    lines.collect::<Vec<_>>().join(
        "
",
    )
}

/// The exit code of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Something could not be read, written or run.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// Problems block it; nothing was changed.
    Problems = 3,
    /// The update failed; the previous version runs.
    Undone = 4,
    /// The bundle is refused.
    Refused = 5,
    /// Another process holds the lock.
    Busy = 6,
    /// The device is stuck and needs a person.
    Stuck = 7,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Error {
    /// Makes an [`Error::Io`] of the system's answer.
    pub fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Makes an [`Error::Engine`] with no source.
    pub fn engine(action: impl Into<String>, message: impl fmt::Display) -> Self {
        Self::Engine {
            action: action.into(),
            message: message.to_string(),
            source: None,
        }
    }

    /// Makes an [`Error::Engine`] of the error that caused it.
    pub(crate) fn engine_because(action: impl Into<String>, source: impl Into<Source>) -> Self {
        let source = source.into();
        Self::Engine {
            action: action.into(),
            message: source.to_string(),
            source: Some(source),
        }
    }

    /// Makes an [`Error::Refused`] with a hint.
    pub fn refused(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Refused {
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Verify(error) => error.hint().map(str::to_owned),
            Self::Parts(error) => error.hint().map(str::to_owned),
            Self::Process(error) => error.hint().map(str::to_owned),
            Self::Remote { hint, .. } => hint.clone(),
            Self::Key { .. } => Some("a key is a minisign public key file, or its second line".to_owned()),
            Self::Refused { hint, .. } => hint.clone(),
            Self::Busy { .. } => Some("wait for it, or stop it".to_owned()),
            Self::Stuck(_) => Some(
                "mend what the message names, then `updater retry`; `updater diagnose` shows all that is known"
                    .to_owned(),
            ),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("run it as root".to_owned())
            }
            _ => None,
        }
    }

    /// The error and what a person can do about it, in one line.
    pub fn with_hint(&self) -> String {
        match self.hint() {
            Some(hint) => format!("{self}; hint: {hint}"),
            None => self.to_string(),
        }
    }

    /// The exit code of a command that fails with this error.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Verify(error) if error.is_unreadable() => Exit::Failed,
            Self::Parts(error) if error.is_unreadable() => Exit::Failed,
            Self::Verify(_) | Self::Parts(_) => Exit::Refused,
            Self::Key { .. } => Exit::Usage,
            Self::Problems(_) | Self::Refused { .. } | Self::Illegal(_) => Exit::Problems,
            Self::Busy { .. } => Exit::Busy,
            Self::Undone { .. } | Self::Unhealthy(_) => Exit::Undone,
            Self::Stuck(_) => Exit::Stuck,
            Self::Io { .. }
            | Self::Content { .. }
            | Self::Process(_)
            | Self::Engine { .. }
            | Self::Remote { .. }
            | Self::Store(_) => Exit::Failed,
        }
    }

    /// Whether the bundle itself is the cause, so that every other attempt fails too.
    pub(crate) fn is_the_bundles_fault(&self) -> bool {
        match self {
            Self::Verify(error) => !error.is_unreadable(),
            _ => false,
        }
    }
}
