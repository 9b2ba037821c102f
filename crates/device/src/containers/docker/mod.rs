//! Docker with its Compose plugin: the real [`ContainerEngine`].
//!
//! ```text
//! images, containers, loading    the Engine API over its socket    api, images, containers, upload
//! the project's services         the `docker` program              compose, project, program
//! the product's health           HTTP to its published port        health
//! ```
//!
//! Everything outside is synchronous; each call runs on a small runtime of its own kind and ends within a limit. What
//! the engine says is passed on in its own words. Only sockets are spoken to: an updater changes its own device.

mod api;
mod compose;
mod containers;
mod health;
mod images;
mod program;
mod project;
mod upload;

use std::{env, io::Write, path::PathBuf};

use bundle::{Digest, Platform, manifest::Health};

use self::{api::Api, compose::Compose};
use crate::{
    Error, Result,
    containers::{
        engine::{ContainerEngine, Input, Services, WriteArchive},
        facts::{ContainerFacts, EngineFacts, ImageFacts, ImageStore, Project, Stack},
    },
};

/// The socket that Docker's own tools use when nothing else is said.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// What an engine with the containerd store shows among its driver's facts (moby, daemon/containerd/service.go).
const CONTAINERD_DRIVER: [&str; 2] = ["driver-type", "io.containerd.snapshotter.v1"];

/// A Docker engine on this device.
#[derive(Debug)]
pub struct Docker {
    api: Api,
    compose: Compose,
}

impl Docker {
    /// The engine at `host`, `unix:///…`; if none, at `$DOCKER_HOST`, or else at the default socket. It is not spoken to
    /// yet.
    ///
    /// # Errors
    /// The address is not a socket's.
    pub fn new(host: Option<&str>) -> Result<Self> {
        let host = match host {
            Some(host) => host.to_owned(),
            None => env::var("DOCKER_HOST")
                .ok()
                .filter(|host| !host.is_empty())
                .unwrap_or_else(|| DEFAULT_HOST.to_owned()),
        };
        Ok(Self {
            api: Api::new(&host)?,
            compose: Compose::new(host),
        })
    }
}

impl ContainerEngine for Docker {
    fn facts(&self) -> Result<EngineFacts> {
        let action = "ask the Docker engine what it is";
        let version = self.api.call(action, async |docker| docker.version().await)?;
        let info = self.api.call(action, async |docker| docker.info().await)?;
        let containerd = info
            .driver_status
            .unwrap_or_default()
            .iter()
            .any(|fact| *fact == CONTAINERD_DRIVER);
        Ok(EngineFacts {
            version: version.version.unwrap_or_default(),
            store: if containerd {
                ImageStore::Containerd
            } else {
                ImageStore::Classic
            },
            platform: platform(
                version.os.as_deref().unwrap_or("linux"),
                version.arch.as_deref().unwrap_or_default(),
                info.architecture.as_deref().unwrap_or_default(),
            )?,
            root: info.docker_root_dir.map(PathBuf::from).unwrap_or_default(),
        })
    }

    fn compose(&self) -> Result<Option<String>> {
        self.compose.version()
    }

    fn image(&self, name: &str) -> Result<Option<ImageFacts>> {
        images::image(&self.api, name)
    }

    fn images(&self) -> Result<Vec<ImageFacts>> {
        images::all(&self.api)
    }

    fn load(&self, write: &mut WriteArchive<'_>) -> Result<()> {
        upload::load(&self.api, write, upload::PATIENCE)
    }

    fn try_create(&self, image: &Digest) -> Result<()> {
        containers::try_create(&self.api, image)
    }

    fn tag(&self, image: &Digest, reference: &str) -> Result<()> {
        images::tag(&self.api, image, reference)
    }

    fn remove_image(&self, name: &str) -> Result<()> {
        images::remove(&self.api, name)
    }

    fn project(&self, stack: &Stack) -> Result<Project> {
        self.compose.project(stack)
    }

    fn containers(&self, stack: &Stack) -> Result<Vec<ContainerFacts>> {
        containers::of_project(&self.api, &self.compose.project_name(stack)?)
    }

    fn changed(&self, stack: &Stack) -> Result<Vec<String>> {
        let changes = self.compose.changes(&self.api, stack)?;
        Ok(changes.map(|changes| changes.services).unwrap_or_default())
    }

    fn up(&self, stack: &Stack, services: Services<'_>) -> Result<()> {
        match services {
            Services::All => self.compose.up_all(&self.api, stack),
            Services::Only(_) => self.compose.up(&self.api, stack, services),
        }
    }

    fn stop(&self, stack: &Stack) -> Result<()> {
        self.compose.stop(stack)
    }

    fn stop_containers(&self, containers: &[ContainerFacts]) -> Result<()> {
        self.compose.stop_containers(containers)
    }

    fn down(&self, stack: &Stack) -> Result<()> {
        self.compose.down(stack)
    }

    fn down_with_volumes(&self, stack: &Stack) -> Result<()> {
        self.compose.down_with_volumes(stack)
    }

    fn exec(
        &self,
        stack: &Stack,
        service: &str,
        command: &[&str],
        input: Input<'_>,
        output: &mut (dyn Write + Send),
    ) -> Result<()> {
        self.compose.exec(stack, service, command, input, output)
    }

    fn ask_health(&self, stack: &Stack, health: &Health) -> Result<(), String> {
        let url = if health::is_absolute(&health.url) {
            health.url.clone()
        } else {
            let project = self.compose.project_name(stack).map_err(|error| error.to_string())?;
            let found = containers::of_service(&self.api, &project, &health.service);
            health::url_of(found.map_err(|error| error.to_string())?.as_ref(), health)?
        };
        health::get(&url)
    }

    fn logs(&self, stack: &Stack, lines: u32) -> Result<String> {
        self.compose.logs(stack, lines)
    }

    fn sync(&self) {
        rustix::fs::sync();
    }
}

/// The platform of an engine compiled for `arch` (Go's spelling, which is OCI's), on a machine that calls itself `machine`.
///
/// The engine's own architecture counts: a 32-bit engine on a 64-bit kernel runs 32-bit images.
fn platform(os: &str, arch: &str, machine: &str) -> Result<Platform> {
    let variant = match (arch, machine) {
        ("arm", "armv6l") => "/v6",
        _ => "",
    };
    format!("{os}/{arch}{variant}")
        .parse()
        .map_err(|error| Error::engine_because("tell the platform of the Docker engine", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_what_the_engine_was_compiled_for() {
        for (arch, machine, expected) in [
            ("amd64", "x86_64", "linux/amd64"),
            ("arm64", "aarch64", "linux/arm64"),
            ("arm", "armv7l", "linux/arm/v7"),
            ("arm", "aarch64", "linux/arm/v7"),
            ("arm", "armv6l", "linux/arm/v6"),
        ] {
            assert_eq!(platform("linux", arch, machine).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn only_sockets_are_spoken_to() {
        let error = Docker::new(Some("tcp://192.0.2.1:2375")).unwrap_err();
        assert!(error.to_string().contains("tcp://192.0.2.1:2375"), "{error}");
        assert!(error.hint().is_some());
    }
}
