//! Errors of commands, each with its exit code and hint.

use std::{io, path::PathBuf};

use bundle::Problem;
use thiserror::Error;

use crate::system::process::ProcessError;

const MAKE_ROOM: &str = "free some space and run the same command again: it goes on where it stopped";

/// Why a command of the pipeline failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A word of the command line is not what it should be.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to type instead.
        hint: String,
    },
    /// The declaration, the repository or the machine is not fit for a release.
    #[error("{}", list(.0))]
    Problems(Vec<Problem>),
    /// The builder could not build the images.
    #[error("the image build failed\n{0}")]
    Build(#[source] ProcessError),
    /// An image that was built, or came as a part, is not what the release needs.
    #[error("{subject}: {message}")]
    Image {
        /// The image or the directory it was looked for in.
        subject: String,
        /// What is wrong with it.
        message: String,
    },
    /// A tool failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A bundle could not be written.
    #[error(transparent)]
    Pack(#[from] bundle::PackError),
    /// A bundle is damaged or not to be trusted.
    #[error("{}: {source}", path.display())]
    Verify {
        /// The bundle.
        path: PathBuf,
        /// What was found.
        source: bundle::read::VerifyError,
    },
    /// A bundle in parts is not whole.
    #[error("{}: {source}", path.display())]
    Parts {
        /// The list of the parts.
        path: PathBuf,
        /// What was found.
        source: bundle::parts::PartsError,
    },
    /// The signing key cannot be used.
    #[error("signing key: {message}")]
    Key {
        /// What is wrong with it.
        message: String,
        /// The fix.
        hint: String,
    },
    /// A file or directory could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: "read", "write".
        action: &'static str,
        /// What it was tried on.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// A file's content is not what it should be.
    #[error("{}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A release could not be published.
    #[error(transparent)]
    Publish(#[from] crate::publish::error::PublishError),
    /// Interrupted with Ctrl-C or SIGTERM.
    #[error("interrupted; what was finished is kept, the same command goes on from there")]
    Interrupted,
}

/// Result of the pipeline's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The process's exit code, as documented in `docs/src/reference/exit-codes.md`.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => 2,
            Self::Problems(_) | Self::Key { .. } => 3,
            Self::Publish(error) if error.is_ours() => 3,
            Self::Publish(_) => 6,
            Self::Build(_) | Self::Image { .. } => 4,
            Self::Verify { source, .. } if source.is_unreadable() => 1,
            Self::Parts { source, .. } if source.is_unreadable() => 1,
            Self::Verify { .. } | Self::Parts { .. } => 5,
            Self::Interrupted => 130,
            Self::Process(_) | Self::Pack(_) | Self::Io { .. } | Self::Content { .. } => 1,
        }
    }

    /// What the person can do about it, where that is known.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Usage { hint, .. } | Self::Key { hint, .. } => Some(hint),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => Some(MAKE_ROOM),
            Self::Pack(bundle::PackError::Write(source)) if source.kind() == io::ErrorKind::StorageFull => {
                Some(MAKE_ROOM)
            }
            Self::Build(error) if error.stderr().contains("no space left on device") => Some(MAKE_ROOM),
            // On a terminal BuildKit's lines are not ours to read.
            Self::Build(error) if error.stderr().is_empty() => Some(
                "fix what the lines above show and run the same command again: stages that were built are kept; if a \
                 snapshot does not exist, once with --no-cache",
            ),
            Self::Build(_) => {
                Some("fix what the lines above show and run the same command again: stages that were built are kept")
            }
            Self::Process(error) => error.hint(),
            Self::Publish(error) => error.hint(),
            Self::Verify { source, .. } => source.hint(),
            Self::Parts { source, .. } => source.hint(),
            _ => None,
        }
    }

    /// Turns an I/O error into one that names what was tried on which path.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

    use super::*;

    #[test]
    fn a_build_that_ran_out_of_space_asks_for_some() {
        let hint = |stderr: &str| {
            let failed = ProcessError::Failed {
                command: "docker buildx bake".to_owned(),
                status: ExitStatus::from_raw(1 << 8),
                stderr: stderr.to_owned(),
            };
            Error::Build(failed).hint().map(str::to_owned)
        };
        let full = "ERROR: failed to copy: write images/a/ingest/b/data: no space left on device: unknown";
        assert_eq!(hint(full).as_deref(), Some(MAKE_ROOM));
        assert!(
            hint("ERROR: exit code: 1")
                .unwrap()
                .starts_with("fix what the lines above show")
        );
    }
}
