//! The project's services, through `docker compose`.
//!
//! Compose is told everything and finds nothing by itself: the engine, the project's folder and files. Of the
//! environment it gets only where programs and its own configuration are, because any variable there would go before
//! the one in `.env`, and `COMPOSE_*` ones would change what the project is. So it does the same in a shell as in the
//! daemon. Nothing secret is an argument, and what Compose says is shown without the values of secrets.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::Write,
    process::Command,
    time::Duration,
};

use super::{Docker, containers, project};
use crate::{
    Result,
    containers::{ContainerFacts, Input, Services, Stack},
    system::process::{self, ProcessError},
};

/// How long Compose may take to read its files.
const READ: Duration = Duration::from_secs(120);

/// How long it may take to change services: it waits for those that others depend on, and a first start can be slow.
const CHANGE: Duration = Duration::from_secs(60 * 60);

/// How long a program in a container may take: dumping or restoring a large database on a slow disk.
const PROGRAM: Duration = Duration::from_secs(24 * 60 * 60);

/// How many stale containers are removed before giving up.
const STALE: usize = 16;

/// What `docker` gets of the environment.
const KEPT: [&str; 4] = ["PATH", "HOME", "DOCKER_CONFIG", "TMPDIR"];

/// What Compose makes anew.
pub(super) struct Changes {
    /// These services, in order.
    pub(super) services: Vec<String>,
    /// Whether they come up before all others: [`project::come_first`].
    come_first: bool,
}

impl Docker {
    /// The Compose plugin's version, if there is one.
    pub(super) fn compose_version(&self) -> Result<Option<String>> {
        let mut command = self.program();
        command.args(["compose", "version", "--short"]);
        match process::read(command, READ) {
            Ok(version) => Ok(Some(version.trim_start_matches('v').to_owned())),
            Err(ProcessError::Missing { .. } | ProcessError::Failed { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// What Compose makes of the compose file, as JSON. It holds secrets.
    pub(super) fn compose_config(&self, stack: &Stack) -> Result<String> {
        let mut command = self.compose(&Stack {
            pins: None,
            ..stack.clone()
        });
        command.args(["config", "--format", "json"]);
        process::read(command, READ).map_err(|error| project::redacted(error, stack))
    }

    /// What each service's definition is, as a hash: the one that Compose notes on the containers that it makes.
    pub(super) fn compose_hashes(&self, stack: &Stack) -> Result<BTreeMap<String, String>> {
        let mut command = self.compose(stack);
        command.args(["config", "--hash", "*"]);
        let text = process::read(command, READ).map_err(|error| project::redacted(error, stack))?;
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs.map(|(name, hash)| (name.to_owned(), hash.to_owned())).collect())
    }

    /// Where only some services changed, those come first, with what they need: Compose, told to look at all of them at
    /// once, also stops and recreates whatever depends on what it recreates. Where a service is gone, only the look at
    /// all of them removes its containers, and what they hold may be what a changed service waits for.
    pub(super) fn compose_up_all(&self, stack: &Stack) -> Result<()> {
        if let Some(changes) = self.changes(stack)?.filter(|changes| changes.come_first) {
            self.compose_up(stack, Services::Only(&changes.services))?;
        }
        self.compose_up(stack, Services::All)
    }

    /// What is made anew; none if nothing is.
    pub(super) fn changes(&self, stack: &Stack) -> Result<Option<Changes>> {
        let wanted = self.compose_hashes(stack)?;
        let made = containers::definitions(&self.api, &self.project_name(stack)?)?;
        let changed = project::changed(&wanted, &made);
        if changed.is_empty() {
            return Ok(None);
        }
        let all = self.ask_project(stack)?.services;
        let services = project::with_dependents(changed, &all);
        Ok(Some(Changes {
            come_first: project::come_first(&services, &made, &all),
            services,
        }))
    }

    pub(super) fn compose_up(&self, stack: &Stack, services: Services<'_>) -> Result<()> {
        let arguments: &[&str] = match services {
            Services::All => &["up", "--detach", "--no-build", "--pull", "never", "--remove-orphans"],
            Services::Only(_) => &["up", "--detach", "--no-build", "--pull", "never"],
        };
        let mut removed = BTreeSet::new();
        loop {
            let error = match self.change(stack, arguments, services) {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            // An update that was interrupted while a container was recreated leaves the old one under another's name
            // (docker/compose#1573).
            let stale = match &error {
                ProcessError::Failed { stderr, .. } => stale_container(stderr),
                _ => None,
            };
            match stale {
                Some(id) if removed.len() < STALE && removed.insert(id.clone()) && self.is_ours(stack, &id)? => {
                    containers::remove(&self.api, &id, false)?;
                }
                _ => return Err(project::redacted(error, stack)),
            }
        }
    }

    pub(super) fn compose_stop(&self, stack: &Stack) -> Result<()> {
        self.change(stack, &["stop"], Services::All)
            .map_err(|error| project::redacted(error, stack))
    }

    pub(super) fn docker_stop(&self, containers: &[ContainerFacts]) -> Result<()> {
        let mut command = self.program();
        command
            .arg("stop")
            .args(containers.iter().map(|container| &container.id));
        Ok(process::execute(command, CHANGE)?)
    }

    /// Never with `--volumes`: they are the product's data.
    pub(super) fn compose_down(&self, stack: &Stack) -> Result<()> {
        self.change(stack, &["down", "--remove-orphans"], Services::All)
            .map_err(|error| project::redacted(error, stack))
    }

    /// The product's data is gone afterwards.
    pub(super) fn compose_down_with_volumes(&self, stack: &Stack) -> Result<()> {
        self.change(stack, &["down", "--remove-orphans", "--volumes"], Services::All)
            .map_err(|error| project::redacted(error, stack))
    }

    pub(super) fn compose_exec(
        &self,
        stack: &Stack,
        service: &str,
        program: &[&str],
        input: Input<'_>,
        output: &mut (dyn Write + Send),
    ) -> Result<()> {
        let mut command = self.compose(stack);
        command.args(["exec", "-T", service]).args(program);
        let input = match input {
            Some(source) => process::Input::From(source),
            None => process::Input::None,
        };
        process::run(command, input, PROGRAM, |stdout| {
            std::io::copy(stdout, output).map(drop)
        })
        .map_err(|error| project::redacted(error, stack))
    }

    pub(super) fn compose_logs(&self, stack: &Stack, lines: u32) -> Result<String> {
        let mut command = self.compose(stack);
        command.args(["logs", "--no-color", "--timestamps", "--tail", &lines.to_string()]);
        process::read(command, READ).map_err(|error| project::redacted(error, stack))
    }

    fn change(&self, stack: &Stack, arguments: &[&str], services: Services<'_>) -> Result<(), ProcessError> {
        let mut command = self.compose(stack);
        command.args(arguments);
        if let Services::Only(names) = services {
            command.arg("--").args(names);
        }
        process::execute(command, CHANGE)
    }

    fn is_ours(&self, stack: &Stack, container: &str) -> Result<bool> {
        let ours = self.project_name(stack)?;
        Ok(containers::project_of(&self.api, container)? == Some(ours))
    }

    fn compose(&self, stack: &Stack) -> Command {
        let mut command = self.program();
        command.current_dir(&stack.folder);
        command.args(["compose", "--ansi", "never"]);
        command.arg("--project-directory").arg(&stack.folder);
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
    fn program(&self) -> Command {
        let mut command = Command::new("docker");
        command.env_clear();
        command.envs(KEPT.iter().filter_map(|key| Some((key, env::var_os(key)?))));
        command.env("DOCKER_HOST", &self.host);
        command
    }
}

/// The ID of the container whose name is in the way.
fn stale_container(stderr: &str) -> Option<String> {
    let (_, rest) = stderr.split_once("is already in use by container \"")?;
    let (id, _) = rest.split_once('"')?;
    let is_id = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_container_in_the_way_is_found() {
        let id = "0123456789abcdef".repeat(4);
        let stderr = format!(
            " Container webmacs-db-1  Creating\nError response from daemon: Conflict. The container name \
             \"/webmacs-db-1\" is already in use by container \"{id}\". You have to remove (or rename) that container"
        );
        assert_eq!(stale_container(&stderr), Some(id));
        assert_eq!(stale_container("is already in use by container \"../x\""), None);
        assert_eq!(stale_container("no such image"), None);
    }

    #[test]
    fn the_environment_stays_outside() {
        let docker = Docker::new(Some("unix:///somewhere")).unwrap();
        let stack = Stack {
            folder: "/".into(),
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
