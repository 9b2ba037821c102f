//! The `docker` program: its environment, its arguments for a project, and its errors without secrets.
//!
//! Compose gets the engine, the project's directory and its files as arguments, and finds nothing by itself. Of the
//! environment it gets only where programs and its own configuration are, because any variable there would take precedence
//! over the one in `.env`, and `COMPOSE_*` ones would change what the project is. So it does the same in a shell as in the
//! daemon. Nothing secret is an argument, and what Compose says is shown without the values of secrets.

use std::{env, fs, path::PathBuf, process::Command};

use crate::{
    Error,
    containers::{env_file::EnvFile, facts::Stack},
    error::ProcessError,
};

/// The environment file that Compose reads if none is named.
const ENV_FILE: &str = ".env";

/// The variables that `docker` gets of the environment.
const KEPT: [&str; 4] = ["PATH", "HOME", "DOCKER_CONFIG", "TMPDIR"];

/// The `docker` program, for one engine.
#[derive(Debug)]
pub(super) struct Program {
    host: String,
}

impl Program {
    /// The program for the engine at `host`.
    pub(super) fn new(host: String) -> Self {
        Self { host }
    }

    /// `docker compose` for a project.
    pub(super) fn compose(&self, stack: &Stack) -> Command {
        let mut command = self.docker();
        command.current_dir(&stack.directory);
        command.args(["compose", "--ansi", "never"]);
        command.arg("--project-directory").arg(&stack.directory);
        command.arg("--file").arg(&stack.file);
        if let Some(pins) = &stack.pins {
            command.arg("--file").arg(pins);
        }
        if let Some(file) = &stack.env_file {
            command.arg("--env-file").arg(file);
        }
        command
    }

    /// `docker`, talking to this engine.
    pub(super) fn docker(&self) -> Command {
        let mut command = Command::new("docker");
        command.env_clear();
        command.envs(KEPT.iter().filter_map(|key| Some((key, env::var_os(key)?))));
        command.env("DOCKER_HOST", &self.host);
        command
    }
}

/// The environment file that Compose reads.
pub(super) fn env_file(stack: &Stack) -> PathBuf {
    let name = stack.env_file.as_deref().unwrap_or(ENV_FILE.as_ref());
    stack.directory.join(name)
}

/// A failure of Compose without the values of secrets: Compose shows the line of `.env` that it does not understand.
pub(super) fn redacted(error: ProcessError, stack: &Stack) -> Error {
    let environment = fs::read_to_string(env_file(stack)).unwrap_or_default();
    let environment = EnvFile::parse(&environment);
    let hide = |text: String| environment.hide_secrets(text);
    Error::Process(match error {
        ProcessError::Failed {
            command,
            status,
            stderr,
        } => ProcessError::Failed {
            command,
            status,
            stderr: hide(stderr),
        },
        ProcessError::TooLong { command, limit, stderr } => ProcessError::TooLong {
            command,
            limit,
            stderr: hide(stderr),
        },
        other => other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_stays_outside() {
        let docker = Program::new("unix:///somewhere".to_owned());
        let stack = Stack {
            directory: "/".into(),
            file: "a.yml".into(),
            pins: Some("b.yml".into()),
            env_file: None,
        };
        let command = docker.compose(&stack);
        let keys: Vec<_> = command
            .get_envs()
            .map(|(key, _)| key.to_string_lossy().into_owned())
            .collect();
        assert!(keys.contains(&"DOCKER_HOST".to_owned()));
        assert!(
            keys.iter()
                .all(|key| key == "DOCKER_HOST" || KEPT.contains(&key.as_str())),
            "{keys:?}"
        );
    }
}
