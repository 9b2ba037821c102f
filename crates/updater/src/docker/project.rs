//! What Compose makes of a project's files: its name and services. Also: keeping secrets out of what is said of them.
//!
//! Asking takes Compose a good part of a second on a small board, and the answer is needed at every look at the
//! containers, so it is kept as long as the files have the same content.

use std::{fs, sync::Mutex};

use bundle::Digest;
use serde::Deserialize;

use super::Docker;
use crate::{
    Error, Result,
    containers::{Service, Stack},
    env_file::EnvFile,
    process::ProcessError,
};

/// The environment file that Compose reads if none is named.
const ENV_FILE: &str = ".env";

/// What Compose makes of a project's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Project {
    /// Its name, which its containers carry as a label.
    pub(super) name: String,
    pub(super) services: Vec<Service>,
}

/// The answers that are kept.
#[derive(Debug, Default)]
pub(super) struct Projects(Mutex<Vec<(Digest, Project)>>);

/// The answers that are kept at once: the current version, the new one, and what lies between.
const KEPT: usize = 8;

impl Docker {
    /// What Compose makes of the files of `stack`.
    pub(super) fn project(&self, stack: &Stack) -> Result<Project> {
        let before = fingerprint(stack);
        {
            let kept = self
                .projects
                .0
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some((_, project)) = kept.iter().find(|(fingerprint, _)| *fingerprint == before) {
                return Ok(project.clone());
            }
        }
        let project = read(&self.compose_config(stack)?)?;
        // Files that were changed meanwhile may have been read in either form.
        if fingerprint(stack) == before {
            let mut kept = self
                .projects
                .0
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if kept.len() == KEPT {
                kept.remove(0);
            }
            kept.push((before, project.clone()));
        }
        Ok(project)
    }
}

/// The digest of everything that the answer depends on.
fn fingerprint(stack: &Stack) -> Digest {
    let mut text = Vec::new();
    let env_file = stack
        .folder
        .join(stack.env_file.as_deref().unwrap_or(ENV_FILE.as_ref()));
    for file in stack.files.iter().chain([&env_file]) {
        let path = stack.folder.join(file);
        let content = fs::read(&path).map(|bytes| Digest::of(&bytes)).ok();
        text.extend_from_slice(format!("{path:?} {content:?}\n").as_bytes());
    }
    Digest::of(&text)
}

/// Reads what `docker compose config` says. Nothing of it gets into an error: it holds secrets.
fn read(json: &str) -> Result<Project> {
    #[derive(Deserialize)]
    struct Config {
        name: String,
        #[serde(default)]
        services: std::collections::BTreeMap<String, ConfigService>,
    }
    #[derive(Deserialize)]
    struct ConfigService {
        image: Option<String>,
        build: Option<serde::de::IgnoredAny>,
    }
    let config: Config = serde_json::from_str(json).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Error::engine(
            "understand `docker compose config`",
            format!("unexpected content at {place}"),
        )
    })?;
    let service = |(name, service): (String, ConfigService)| Service {
        name,
        image: service.image,
        builds: service.build.is_some(),
    };
    Ok(Project {
        name: config.name,
        services: config.services.into_iter().map(service).collect(),
    })
}

/// A failure of Compose without the values of secrets: Compose shows the line of `.env` that it does not understand.
pub(super) fn redacted(error: ProcessError, stack: &Stack) -> Error {
    let env_file = stack
        .folder
        .join(stack.env_file.as_deref().unwrap_or(ENV_FILE.as_ref()));
    let environment = fs::read_to_string(env_file).unwrap_or_default();
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
    fn name_and_services_are_read() {
        let json = r#"{"name":"webmacs","networks":{},"services":{
            "db":{"image":"postgres:17","environment":{"PASSWORD":"x"}},
            "web":{"build":{"context":"/a"},"image":null}}}"#;
        let project = read(json).unwrap();
        assert_eq!(project.name, "webmacs");
        let services: Vec<_> = project
            .services
            .iter()
            .map(|service| (service.name.as_str(), service.image.as_deref(), service.builds))
            .collect();
        assert_eq!(services, [("db", Some("postgres:17"), false), ("web", None, true)]);
    }

    #[test]
    fn an_error_holds_nothing_of_the_configuration() {
        let error = read(r#"{"name": {"DB_PASSWORD": "hunter2"}}"#).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_changed_file_is_another_project() {
        let folder = tempfile::tempdir().unwrap();
        let stack = Stack {
            folder: folder.path().to_owned(),
            files: vec!["compose.yml".into()],
            env_file: None,
        };
        fs::write(folder.path().join("compose.yml"), "name: a").unwrap();
        let first = fingerprint(&stack);
        assert_eq!(fingerprint(&stack), first);
        fs::write(folder.path().join(".env"), "COMPOSE_PROJECT_NAME=b").unwrap();
        assert_ne!(fingerprint(&stack), first);
    }
}
