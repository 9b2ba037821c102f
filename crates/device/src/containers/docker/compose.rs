//! The project's services, through `docker compose`.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    time::Duration,
};

use super::{
    api::Api,
    containers,
    program::{Program, redacted},
    project::{self, Projects, READ},
};
use crate::{
    Result,
    containers::{
        engine::{Input, Services},
        facts::{ContainerFacts, Project, Stack},
        pins,
    },
    error::ProcessError,
    system::process,
};

/// How long it may take to change services: it waits for those that others depend on, and a first start can be slow.
const CHANGE: Duration = Duration::from_secs(60 * 60);

/// How long a program in a container may take: dumping or restoring a large database on a slow disk.
const PROGRAM: Duration = Duration::from_secs(24 * 60 * 60);

/// How many stale containers are removed before giving up.
const STALE: usize = 16;

/// What Compose recreates.
pub(super) struct Changes {
    /// These services, in order.
    pub(super) services: Vec<String>,
    /// Whether they start before all others: [`project::come_first`].
    come_first: bool,
}

/// Compose, for one engine.
#[derive(Debug)]
pub(super) struct Compose {
    program: Program,
    projects: Projects,
}

impl Compose {
    /// Compose for the engine at `host`.
    pub(super) fn new(host: String) -> Self {
        Self {
            program: Program::new(host),
            projects: Projects::default(),
        }
    }

    /// What Compose makes of the compose file.
    pub(super) fn project(&self, stack: &Stack) -> Result<Project> {
        self.projects.ask(&self.program, stack)
    }

    /// The name of a project: from its file of pins if that holds it, without a call of Compose.
    pub(super) fn project_name(&self, stack: &Stack) -> Result<String> {
        match stack.pins.as_deref().and_then(pins::project_of) {
            Some(name) => Ok(name),
            None => Ok(self.project(stack)?.name),
        }
    }

    /// The Compose plugin's version, if there is one.
    pub(super) fn version(&self) -> Result<Option<String>> {
        let mut command = self.program.docker();
        command.args(["compose", "version", "--short"]);
        match process::read(command, READ) {
            Ok(version) => Ok(Some(version.trim_start_matches('v').to_owned())),
            Err(ProcessError::Missing { .. } | ProcessError::Failed { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The hash of each service's definition, which Compose writes on the containers that it creates.
    fn hashes(&self, stack: &Stack) -> Result<BTreeMap<String, String>> {
        let mut command = self.program.compose(stack);
        command.args(["config", "--hash", "*"]);
        let text = process::read(command, READ).map_err(|error| redacted(error, stack))?;
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        Ok(pairs.map(|(name, hash)| (name.to_owned(), hash.to_owned())).collect())
    }

    /// Starts all services. If only some changed, those start first, with their dependencies: a single `up` of all of them
    /// also stops and recreates every service that depends on a recreated one. If a service was removed, only the `up` of
    /// all of them removes its containers, and a changed service may wait for the ports and names that they hold.
    pub(super) fn up_all(&self, api: &Api, stack: &Stack) -> Result<()> {
        if let Some(changes) = self.changes(api, stack)?.filter(|changes| changes.come_first) {
            self.up(api, stack, Services::Only(&changes.services))?;
        }
        self.up(api, stack, Services::All)
    }

    /// What is recreated; none if nothing is.
    pub(super) fn changes(&self, api: &Api, stack: &Stack) -> Result<Option<Changes>> {
        let wanted = self.hashes(stack)?;
        let made = containers::definitions(api, &self.project_name(stack)?)?;
        let changed = project::changed(&wanted, &made);
        if changed.is_empty() {
            return Ok(None);
        }
        let all = self.project(stack)?.services;
        let services = project::with_dependents(changed, &all);
        Ok(Some(Changes {
            come_first: project::come_first(&services, &made, &all),
            services,
        }))
    }

    /// Starts services; containers that an interrupted recreation left in the way are removed.
    pub(super) fn up(&self, api: &Api, stack: &Stack, services: Services<'_>) -> Result<()> {
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
            // An update that was interrupted while Compose recreated a container leaves the previous one under the name of
            // the new one (docker/compose#1573).
            let stale = match &error {
                ProcessError::Failed { stderr, .. } => stale_container(stderr),
                _ => None,
            };
            match stale {
                Some(id) if removed.len() < STALE && removed.insert(id.clone()) && self.is_ours(api, stack, &id)? => {
                    containers::remove(api, &id, false)?;
                }
                _ => return Err(redacted(error, stack)),
            }
        }
    }

    /// Stops all services, and keeps their containers.
    pub(super) fn stop(&self, stack: &Stack) -> Result<()> {
        self.change(stack, &["stop"], Services::All)
            .map_err(|error| redacted(error, stack))
    }

    /// Stops containers by ID, through `docker stop`.
    pub(super) fn stop_containers(&self, containers: &[ContainerFacts]) -> Result<()> {
        let mut command = self.program.docker();
        command
            .arg("stop")
            .args(containers.iter().map(|container| &container.id));
        Ok(process::execute(command, CHANGE)?)
    }

    /// Removes containers and networks. Never with `--volumes`: they are the product's data.
    pub(super) fn down(&self, stack: &Stack) -> Result<()> {
        self.change(stack, &["down", "--remove-orphans"], Services::All)
            .map_err(|error| redacted(error, stack))
    }

    /// Removes containers, networks and volumes: all of the product's data.
    pub(super) fn down_with_volumes(&self, stack: &Stack) -> Result<()> {
        self.change(stack, &["down", "--remove-orphans", "--volumes"], Services::All)
            .map_err(|error| redacted(error, stack))
    }

    /// Runs a program in a service's container.
    pub(super) fn exec(
        &self,
        stack: &Stack,
        service: &str,
        program: &[&str],
        input: Input<'_>,
        output: &mut (dyn Write + Send),
    ) -> Result<()> {
        let mut command = self.program.compose(stack);
        command.args(["exec", "-T", service]).args(program);
        let input = match input {
            Some(source) => process::Input::From(source),
            None => process::Input::None,
        };
        process::run(command, input, PROGRAM, |stdout| {
            std::io::copy(stdout, output).map(drop)
        })
        .map_err(|error| redacted(error, stack))
    }

    /// The last lines that the services wrote.
    pub(super) fn logs(&self, stack: &Stack, lines: u32) -> Result<String> {
        let mut command = self.program.compose(stack);
        command.args(["logs", "--no-color", "--timestamps", "--tail", &lines.to_string()]);
        process::read(command, READ).map_err(|error| redacted(error, stack))
    }

    fn change(&self, stack: &Stack, arguments: &[&str], services: Services<'_>) -> Result<(), ProcessError> {
        let mut command = self.program.compose(stack);
        command.args(arguments);
        if let Services::Only(names) = services {
            command.arg("--").args(names);
        }
        process::execute(command, CHANGE)
    }

    fn is_ours(&self, api: &Api, stack: &Stack, container: &str) -> Result<bool> {
        let ours = self.project_name(stack)?;
        Ok(containers::project_of(api, container)? == Some(ours))
    }
}

/// The ID of the container that already has the name that Compose wants.
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
}
