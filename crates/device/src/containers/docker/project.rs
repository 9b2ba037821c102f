//! What Compose makes of a project's files: its name and services, and which of them changed.
//!
//! An answer takes Compose a good part of a second on a small board and is needed for every list of containers, so it is
//! kept as long as the files have the same content.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bundle::Digest;
use serde::Deserialize;

use super::program::{Program, env_file, redacted};
use crate::{
    Error, Result,
    containers::facts::{Project, Service, Stack},
    system::process,
};

/// How long Compose may take to read its files.
pub(super) const READ: Duration = Duration::from_secs(120);

/// The answers that are kept.
#[derive(Debug, Default)]
pub(super) struct Projects(Mutex<Vec<(Digest, Project)>>);

/// How many answers are kept: the current version's, the target version's, and those between.
const KEPT: usize = 8;

impl Projects {
    /// What Compose makes of the compose file of `stack`: a kept answer, or else a new one.
    pub(super) fn ask(&self, program: &Program, stack: &Stack) -> Result<Project> {
        let before = fingerprint(stack);
        let kept = self.lock().iter().find(|(known, _)| *known == before).cloned();
        if let Some((_, project)) = kept {
            return Ok(project);
        }
        let project = read(&config(program, stack)?)?;
        // Files that changed meanwhile may have been read in either form.
        if fingerprint(stack) == before {
            let mut kept = self.lock();
            if kept.len() == KEPT {
                kept.remove(0);
            }
            kept.push((before, project.clone()));
        }
        Ok(project)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Digest, Project)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The compose file with its environment filled in, as JSON. It holds secrets.
fn config(program: &Program, stack: &Stack) -> Result<String> {
    let mut command = program.compose(&Stack {
        pins: None,
        ..stack.clone()
    });
    command.args(["config", "--format", "json"]);
    process::read(command, READ).map_err(|error| redacted(error, stack))
}

/// The services without a container of the wanted definition.
pub(super) fn changed(
    wanted: &BTreeMap<String, String>,
    made: &BTreeMap<String, BTreeSet<String>>,
) -> BTreeSet<String> {
    let is_made = |(service, hash): &(&String, &String)| {
        made.get(*service)
            .is_some_and(|made| made.iter().all(|made| made == *hash))
    };
    let changed = wanted.iter().filter(|service| !is_made(service));
    changed.map(|(name, _)| name.clone()).collect()
}

/// Whether the services that changed start before all others: there are others, and no container is left of a removed
/// service, which would still hold the ports and names that another service takes over.
pub(super) fn come_first(changed: &[String], made: &BTreeMap<String, BTreeSet<String>>, services: &[Service]) -> bool {
    let is_known = |name: &String| services.iter().any(|service| service.name == *name);
    !changed.is_empty() && changed.len() < services.len() && made.keys().all(is_known)
}

/// The services that changed, and those that restart with them.
pub(super) fn with_dependents(mut changed: BTreeSet<String>, services: &[Service]) -> Vec<String> {
    loop {
        let before = changed.len();
        for service in services {
            if service.restarted_with.iter().any(|need| changed.contains(need)) {
                changed.insert(service.name.clone());
            }
        }
        if changed.len() == before {
            return changed.into_iter().collect();
        }
    }
}

/// The digest of everything that the answer depends on: the directory and the content of the files, not their paths. So an
/// answer about the target version's files from before they were put in place still counts.
fn fingerprint(stack: &Stack) -> Digest {
    let mut text = Vec::new();
    let env_file = env_file(stack);
    text.extend_from_slice(format!("{:?}\n", stack.directory).as_bytes());
    for file in [&stack.file, &env_file] {
        let content = fs::read(stack.directory.join(file))
            .map(|bytes| Digest::of(&bytes))
            .ok();
        text.extend_from_slice(format!("{content:?}\n").as_bytes());
    }
    Digest::of(&text)
}

/// Reads what `docker compose config` says. Nothing of it gets into an error: it holds secrets.
fn read(json: &str) -> Result<Project> {
    #[derive(Deserialize)]
    struct Config {
        name: String,
        #[serde(default)]
        services: BTreeMap<String, ConfigService>,
    }
    #[derive(Deserialize)]
    struct ConfigService {
        image: Option<String>,
        build: Option<serde::de::IgnoredAny>,
        #[serde(default)]
        depends_on: BTreeMap<String, Dependency>,
    }
    #[derive(Deserialize)]
    struct Dependency {
        #[serde(default)]
        restart: bool,
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
        restarted_with: service
            .depends_on
            .into_iter()
            .filter(|(_, dependency)| dependency.restart)
            .map(|(name, _)| name)
            .collect(),
    };
    Ok(Project {
        name: config.name,
        services: config.services.into_iter().map(service).collect(),
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
    fn what_changed_restarts_and_what_says_so_restarts_with_it() {
        let json = r#"{"name":"webmacs","services":{
            "db":{"image":"postgres:17"},
            "backend":{"image":"b","depends_on":{"db":{"condition":"service_started","required":true}}},
            "web":{"image":"w","depends_on":{"backend":{"condition":"service_started","restart":true}}},
            "log":{"image":"l","depends_on":{"web":{"condition":"service_started","restart":true}}}}}"#;
        let project = read(json).unwrap();
        let all_changed =
            |wanted: &BTreeMap<_, _>, made: &BTreeMap<_, _>| with_dependents(changed(wanted, made), &project.services);
        let hashes = |changed: &str| -> BTreeMap<String, String> {
            let hash = |name: &str| if name == changed { "new" } else { "old" }.to_owned();
            ["db", "backend", "web", "log"]
                .map(|name| (name.to_owned(), hash(name)))
                .into()
        };
        let mut made: BTreeMap<_, BTreeSet<_>> = hashes("")
            .into_iter()
            .map(|(name, hash)| (name, [hash].into()))
            .collect();
        assert!(all_changed(&hashes(""), &made).is_empty());
        assert_eq!(all_changed(&hashes("db"), &made), ["db"]);
        assert_eq!(all_changed(&hashes("backend"), &made), ["backend", "log", "web"]);
        made.remove("log");
        assert_eq!(all_changed(&hashes(""), &made), ["log"]);
        // Of two containers, one was not recreated.
        made.get_mut("db").unwrap().insert("older".to_owned());
        assert_eq!(all_changed(&hashes(""), &made), ["db", "log"]);
    }

    #[test]
    fn what_changed_comes_first_unless_a_service_is_gone() {
        let services = ["db", "frontend"].map(|name| Service {
            name: name.to_owned(),
            image: None,
            builds: false,
            restarted_with: Vec::new(),
        });
        let come_first = |changed: &[&str], made: &[&str]| {
            let changed: Vec<_> = changed.iter().map(|&name| name.to_owned()).collect();
            let made = made.iter().map(|&name| (name.to_owned(), BTreeSet::new())).collect();
            super::come_first(&changed, &made, &services)
        };
        assert!(come_first(&["frontend"], &["db", "frontend"]));
        assert!(come_first(&["frontend"], &["db"]));
        // `web` was renamed, and holds the port.
        assert!(!come_first(&["frontend"], &["db", "web"]));
        assert!(!come_first(&["db", "frontend"], &["db", "frontend"]));
        assert!(!come_first(&[], &["db", "frontend"]));
    }

    #[test]
    fn an_error_holds_nothing_of_the_configuration() {
        let error = read(r#"{"name": {"DB_PASSWORD": "hunter2"}}"#).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_changed_file_is_another_project() {
        let directory = tempfile::tempdir().unwrap();
        let stack = Stack {
            directory: directory.path().to_owned(),
            file: "compose.yml".into(),
            pins: None,
            env_file: None,
        };
        fs::write(directory.path().join("compose.yml"), "name: a").unwrap();
        let first = fingerprint(&stack);
        assert_eq!(fingerprint(&stack), first);
        fs::write(directory.path().join(".env"), "COMPOSE_PROJECT_NAME=b").unwrap();
        assert_ne!(fingerprint(&stack), first);
    }
}
