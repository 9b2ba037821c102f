//! The one place that runs other programs.
//!
//! An error shows the command, its status and the end of its standard error. Arguments never hold secrets: those go
//! through files and standard input. A program that runs longer than its limit is killed.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::timing::timed;
use crate::error::ProcessError;

/// Lines of standard error that an error keeps.
const TAIL_LINES: usize = 30;

/// How often a running program is polled.
const LOOK: Duration = Duration::from_millis(20);

/// The standard input of a program.
pub enum Input<'a> {
    /// Nothing.
    None,
    /// Everything that the reader gives.
    From(&'a mut (dyn Read + Send)),
}

/// Runs `command`, passes its standard output to `output` as it comes, and waits for its end, at most for `limit`.
///
/// # Errors
/// The program is missing, fails or takes too long; `output` fails, which ends the program.
pub fn run(
    command: Command,
    input: Input<'_>,
    limit: Duration,
    output: impl FnOnce(&mut dyn Read) -> io::Result<()> + Send,
) -> Result<(), ProcessError> {
    let text = show(&command);
    let span = tracing::debug_span!("run", command = text);
    timed(span, outcome, || run_named(command, text, input, limit, output))
}

/// How a run failed, without what the program wrote: that may hold secrets of its configuration.
fn outcome(error: &ProcessError) -> String {
    match error {
        ProcessError::Failed { status, .. } => status.to_string(),
        ProcessError::TooLong { limit, .. } => format!("did not end within {} s", limit.as_secs()),
        ProcessError::Missing { .. } => "not found".to_owned(),
        ProcessError::Run { source, .. } => source.to_string(),
    }
}

fn run_named(
    mut command: Command,
    text: String,
    input: Input<'_>,
    limit: Duration,
    output: impl FnOnce(&mut dyn Read) -> io::Result<()> + Send,
) -> Result<(), ProcessError> {
    let started = Instant::now();
    let mut child = command
        .stdin(match input {
            Input::None => Stdio::null(),
            Input::From(_) => Stdio::piped(),
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => ProcessError::Missing {
                program: command.get_program().to_string_lossy().into_owned(),
            },
            _ => ProcessError::Run {
                command: text.clone(),
                source,
            },
        })?;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let errors = scope.spawn(|| stderr.map(tail).unwrap_or_default());
        let (done, written) = mpsc::channel();
        scope.spawn(move || {
            let result = match stdout {
                Some(mut stdout) => output(&mut stdout),
                None => Ok(()),
            };
            // There is no receiver if the program was killed.
            done.send(result).ok();
        });
        let feeding = scope.spawn(move || match (input, stdin) {
            // A program that has read enough closes its input; its status tells the rest.
            (Input::From(source), Some(mut stdin)) => io::copy(source, &mut stdin).map(drop),
            _ => Ok(()),
        });
        let ended = wait(&mut child, started, limit);
        let written = match &ended {
            Ok(_) => written.recv().unwrap_or(Ok(())),
            Err(_) => Ok(()),
        };
        let fed = feeding.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let stderr = errors.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let run = |source| ProcessError::Run {
            command: text.clone(),
            source,
        };
        match ended.map_err(run)? {
            None => Err(ProcessError::TooLong {
                command: text,
                limit,
                stderr,
            }),
            Some(status) if !status.success() => {
                // If both failed, what `output` could not write is why the program failed.
                written.map_err(run)?;
                Err(ProcessError::Failed {
                    command: text,
                    status,
                    stderr,
                })
            }
            Some(_) => {
                written.map_err(run)?;
                match fed {
                    Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(run(error)),
                    _ => Ok(()),
                }
            }
        }
    })
}

/// Runs `command` and gives its standard output without the final line break.
///
/// # Errors
/// As for [`run`].
pub fn read(command: Command, limit: Duration) -> Result<String, ProcessError> {
    let mut bytes = Vec::new();
    run(command, Input::None, limit, |stdout| {
        stdout.read_to_end(&mut bytes).map(drop)
    })?;
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    text.truncate(text.trim_end().len());
    Ok(text)
}

/// Runs `command` and ignores its standard output.
///
/// # Errors
/// As for [`run`].
pub fn execute(command: Command, limit: Duration) -> Result<(), ProcessError> {
    run(command, Input::None, limit, |stdout| {
        io::copy(stdout, &mut io::sink()).map(drop)
    })
}

/// Its exit status; none if it was killed because it took too long.
fn wait(child: &mut Child, started: Instant, limit: Duration) -> io::Result<Option<ExitStatus>> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

fn tail(stderr: impl Read) -> String {
    let mut last = VecDeque::with_capacity(TAIL_LINES);
    for line in BufReader::new(stderr).split(b'\n') {
        let Ok(line) = line else { break };
        if last.len() == TAIL_LINES {
            last.pop_front();
        }
        last.push_back(String::from_utf8_lossy(&line).trim_end().to_owned());
    }
    Vec::from(last).join("\n").trim_end().to_owned()
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_is_read_and_input_is_fed() {
        assert_eq!(read(sh("echo a; echo b >&2"), LIMIT).unwrap(), "a");
        let mut input: &[u8] = &vec![b'x'; 1 << 20];
        let mut count = 0;
        run(sh("cat"), Input::From(&mut input), LIMIT, |stdout| {
            count = io::copy(stdout, &mut io::sink())?;
            Ok(())
        })
        .unwrap();
        assert_eq!(count, 1 << 20);
    }

    #[test]
    fn a_failure_shows_command_status_and_end_of_stderr() {
        let error = read(sh("echo first >&2; echo last >&2; exit 3"), LIMIT)
            .unwrap_err()
            .to_string();
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.ends_with("    first\n    last"), "{error}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = read(Command::new("no-such-program"), LIMIT).unwrap_err();
        assert_eq!(error.to_string(), "`no-such-program` was not found");
    }

    #[test]
    fn what_takes_too_long_is_ended() {
        let started = Instant::now();
        let error = execute(sh("exec sleep 60"), Duration::from_millis(100)).unwrap_err();
        assert!(matches!(error, ProcessError::TooLong { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_full_disk_is_reported_and_not_the_broken_pipe() {
        let error = run(
            sh("yes"),
            Input::None,
            LIMIT,
            |_| Err(io::ErrorKind::StorageFull.into()),
        )
        .unwrap_err();
        assert!(matches!(&error, ProcessError::Run { .. }), "{error}");
    }
}
