//! What can go wrong when a program runs.

use std::{io, process::ExitStatus, time::Duration};

/// A program that could not be run, or that failed.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// The program is not installed.
    #[error("`{program}` was not found")]
    Missing {
        /// Its name.
        program: String,
    },
    /// It could not be started, or its input, output or status failed.
    #[error("cannot run `{command}`: {source}")]
    Run {
        /// The command line.
        command: String,
        /// What the system answered.
        source: io::Error,
    },
    /// It failed.
    #[error("`{command}` failed: {status}{}", indent(.stderr))]
    Failed {
        /// The command line.
        command: String,
        /// Its exit status.
        status: ExitStatus,
        /// The end of its standard error.
        stderr: String,
    },
    /// It took too long and was killed.
    #[error("`{command}` did not end within {} s{}", .limit.as_secs(), indent(.stderr))]
    TooLong {
        /// The command line.
        command: String,
        /// How long it may take.
        limit: Duration,
        /// The end of its standard error.
        stderr: String,
    },
}

impl ProcessError {
    /// How to fix it, where that is known.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing { program } if program == "docker" => Some("install Docker with the Compose plugin"),
            Self::Failed { stderr, .. } if stderr.contains("Cannot connect to the Docker daemon") => {
                Some("systemctl start docker")
            }
            _ => None,
        }
    }
}

fn indent(stderr: &str) -> String {
    stderr.lines().fold(String::new(), |text, line| text + "\n    " + line)
}
