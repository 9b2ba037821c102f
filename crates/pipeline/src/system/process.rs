//! The one place that runs other programs.
//!
//! Commands are written with [`xshell::cmd!`]. [`read`] captures standard output; [`run_live`] lets
//! standard error through to the person while keeping its end for the error. A failure always says which
//! command, how it ended and what it said last. Arguments never hold secrets, so they can be shown.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, IsTerminal, Write},
    process::{Command, ExitStatus, Stdio},
};

use thiserror::Error;
use xshell::Cmd;

/// Lines of standard error that an error keeps.
const TAIL_LINES: usize = 40;

/// A program that could not be run, or that failed.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// The program is not there.
    #[error("`{program}` was not found")]
    Missing {
        /// Its name.
        program: String,
    },
    /// The program could not be started or waited for.
    #[error("cannot run `{command}`: {source}")]
    Start {
        /// The command line.
        command: String,
        /// What the system answered.
        source: io::Error,
    },
    /// The program ended with a failure.
    #[error("`{command}` failed: {status}{}", indent(.stderr))]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its standard error.
        stderr: String,
    },
}

impl ProcessError {
    /// The fix, where it is known.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Missing { program } if program == "docker" => Some("install Docker with the buildx plugin"),
            Self::Missing { program } if program == "git" => Some("install git"),
            _ => None,
        }
    }

    /// The end of what the program wrote to standard error; empty if it never ran.
    pub fn stderr(&self) -> &str {
        match self {
            Self::Failed { stderr, .. } => stderr,
            _ => "",
        }
    }
}

/// Runs `cmd` and gives its standard output without the final line break.
///
/// # Errors
/// The program is missing, fails, or writes something that is not UTF-8 (which is replaced, not refused).
pub fn read(cmd: Cmd<'_>) -> Result<String, ProcessError> {
    let text = cmd.to_string();
    let mut command = Command::from(cmd);
    let output = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .map_err(|error| start_error(&command, &text, error))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        return Err(ProcessError::Failed {
            command: text,
            status: output.status,
            stderr: tail(stderr.lines()),
        });
    }
    let mut stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    stdout.truncate(stdout.trim_end().len());
    Ok(stdout)
}

/// Where a live command's progress goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Live {
    /// To the person, as it comes.
    Show,
    /// Nowhere; its end is kept for the error.
    Hide,
}

/// Runs a long `cmd`, showing its standard error as it comes.
///
/// On a terminal the program writes to it directly, so that it can draw. Otherwise its lines are
/// passed on one by one. Either way an error can show the end: on a terminal it is above the error.
///
/// # Errors
/// The program is missing or fails.
pub fn run_live(cmd: Cmd<'_>, live: Live) -> Result<(), ProcessError> {
    let text = cmd.to_string();
    let mut command = Command::from(cmd);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    if live == Live::Show && io::stderr().is_terminal() {
        let status = command
            .stderr(Stdio::inherit())
            .status()
            .map_err(|error| start_error(&command, &text, error))?;
        return finish(text, status, String::new());
    }
    let mut child = command
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| start_error(&command, &text, error))?;
    let mut last = VecDeque::with_capacity(TAIL_LINES);
    if let Some(stderr) = child.stderr.take() {
        for line in BufReader::new(stderr).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line).into_owned();
            if live == Live::Show {
                // A closed standard error must not end the build.
                writeln!(io::stderr(), "{line}").ok();
            }
            if last.len() == TAIL_LINES {
                last.pop_front();
            }
            last.push_back(line);
        }
    }
    let status = child.wait().map_err(|source| ProcessError::Start {
        command: text.clone(),
        source,
    })?;
    finish(text, status, tail(last.iter().map(String::as_str)))
}

fn finish(command: String, status: ExitStatus, stderr: String) -> Result<(), ProcessError> {
    if status.success() {
        Ok(())
    } else {
        Err(ProcessError::Failed {
            command,
            status,
            stderr,
        })
    }
}

fn start_error(command: &Command, text: &str, source: io::Error) -> ProcessError {
    if source.kind() == io::ErrorKind::NotFound {
        ProcessError::Missing {
            program: command.get_program().to_string_lossy().into_owned(),
        }
    } else {
        ProcessError::Start {
            command: text.to_owned(),
            source,
        }
    }
}

fn tail<'a>(lines: impl DoubleEndedIterator<Item = &'a str>) -> String {
    let mut last: Vec<_> = lines.rev().take(TAIL_LINES).collect();
    last.reverse();
    last.join("\n").trim_end().to_owned()
}

fn indent(stderr: &str) -> String {
    stderr.lines().fold(String::new(), |text, line| text + "\n    " + line)
}

#[cfg(test)]
mod tests {
    use xshell::{Shell, cmd};

    use super::*;

    #[test]
    fn a_failure_shows_command_status_and_end_of_stderr() {
        let sh = Shell::new().unwrap();
        let error = read(cmd!(sh, "sh -c 'echo first >&2; echo last >&2; exit 3'")).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("exit status: 3"), "{text}");
        assert!(text.ends_with("    first\n    last"), "{text}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let sh = Shell::new().unwrap();
        let error = read(cmd!(sh, "no-such-program")).unwrap_err();
        assert_eq!(error.to_string(), "`no-such-program` was not found");
    }

    #[test]
    fn live_keeps_only_the_end() {
        let sh = Shell::new().unwrap();
        let script = "for i in $(seq 100); do echo line $i >&2; done; exit 1";
        let error = run_live(cmd!(sh, "sh -c {script}"), Live::Hide).unwrap_err();
        assert_eq!(error.stderr().lines().count(), TAIL_LINES);
        assert!(error.stderr().ends_with("line 100"));
    }
}
