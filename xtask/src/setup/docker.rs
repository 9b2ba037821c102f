//! Docker on this machine: whose engine answers, and whether the client has its plugins.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use pipeline::system::process;
use xshell::{Shell, cmd};

use super::{cache::Cache, tools};
use crate::engines::{Engine, Kind};

/// The client's plugins that a release needs.
const PLUGINS: [&str; 2] = ["buildx", "compose"];

/// Whose engine answers here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Docker {
    /// The machine's own, with its version: it is left alone.
    Own(String),
    /// The one that setup made, with its version.
    Ours(String),
    /// None.
    Missing,
}

impl Docker {
    /// Asks the configured engine.
    pub(super) fn look(sh: &Shell, cache: &Cache) -> Self {
        match process::read(cmd!(sh, "docker version --format").arg("{{.Server.Version}}")) {
            Ok(version) if Engine::in_cache(Kind::Builder, cache).is_running() => Self::Ours(version),
            Ok(version) => Self::Own(version),
            Err(_) => Self::Missing,
        }
    }
}

/// What of client and plugins does not answer.
pub(super) fn missing_clients(sh: &Shell) -> Vec<&'static str> {
    let answers = |plugin: &str| process::read(cmd!(sh, "docker {plugin} version")).is_ok();
    if process::read(cmd!(sh, "docker --version")).is_err() {
        return vec!["docker", PLUGINS[0], PLUGINS[1]];
    }
    PLUGINS.into_iter().filter(|plugin| !answers(plugin)).collect()
}

/// Links what is missing to the packages of the builder: the client below `/usr/local/bin`, plugins below `~/.docker`.
///
/// # Errors
/// The packages cannot be had, or a link cannot be made.
pub(super) fn link_clients(sh: &Shell, cache: &Cache, missing: &[&str]) -> Result<()> {
    let packages = Kind::Builder.packages().unpack(sh, cache)?;
    for name in missing {
        if *name == "docker" {
            tools::link(&packages.join("usr/bin/docker"), Path::new("/usr/local/bin/docker"))?;
        } else {
            let file = format!("docker-{name}");
            let plugin = packages.join("usr/libexec/docker/cli-plugins").join(&file);
            tools::link(&plugin, &plugin_directory()?.join(file))?;
        }
    }
    Ok(())
}

fn plugin_directory() -> Result<PathBuf> {
    let config = match env::var_os("DOCKER_CONFIG") {
        Some(directory) => PathBuf::from(directory),
        None => PathBuf::from(env::var_os("HOME").context("no home directory for Docker's plugins\nhint: set HOME")?)
            .join(".docker"),
    };
    Ok(config.join("cli-plugins"))
}

/// Whether a registry answers for `reference`; a machine that cannot reach one says so at once.
pub(super) fn resolves(sh: &Shell, reference: &str) -> bool {
    let seconds = "30";
    process::read(cmd!(
        sh,
        "timeout {seconds} docker buildx imagetools inspect {reference}"
    ))
    .is_ok()
}
