//! Docker engines of our own: the builder, and one of each kind of device to test against.
//!
//! Flow of [`Engine::start`]: unpack the engine's Debian packages into the cache → make its bridge → write its
//! `daemon.json` → start `dockerd` detached → wait until it answers. Each engine has its own data, sockets, bridge,
//! address pool and containerd namespace, so that they run side by side. They outlive this process and end with
//! [`Running::stop`]; data stays in the cache until [`Engine::wipe`].
//!
//! What stays shared is the kernel: an engine that starts sets up the firewall chains anew, so ports published
//! earlier by another one are then reached through its user-space proxy only.

mod daemon;
mod kind;
mod leftovers;
mod network;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use bundle::Digest;
use serde_json::json;
use xshell::{Cmd, Shell};

pub use kind::Kind;

use crate::setup::cache::Cache;

/// The socket that Docker's own tools use when nothing else is said.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// An engine of one kind, running or not.
#[derive(Clone, Debug)]
pub struct Engine {
    kind: Kind,
    cache: Cache,
    /// Data, configuration and log: kept.
    state: PathBuf,
    /// Socket, pid file and runtime state: gone after a reboot.
    runtime: PathBuf,
    socket: PathBuf,
    network: network::Bridge,
}

/// An engine that answers.
#[derive(Clone, Debug)]
pub struct Running {
    engine: Engine,
}

impl Engine {
    /// The engine of `kind` in this person's cache.
    ///
    /// # Errors
    /// There is no directory for the cache.
    pub fn of(kind: Kind) -> Result<Self> {
        Ok(Self::in_cache(kind, &Cache::of_user()?))
    }

    pub(crate) fn in_cache(kind: Kind, cache: &Cache) -> Self {
        // Another cache is another set of engines, which must not share sockets and bridges.
        let id = Digest::of(cache.root().as_os_str().as_encoded_bytes()).hex();
        let runtime = Path::new("/run").join(format!("xtask-{}", &id[..8])).join(kind.name());
        let socket = match (kind, configured_socket()) {
            (Kind::Builder, Some(socket)) => socket,
            _ => runtime.join("docker.sock"),
        };
        let state = cache.root().join("engines").join(kind.name());
        let network = network::Bridge::new(kind, &id);
        Self {
            kind,
            cache: cache.clone(),
            state,
            runtime,
            socket,
            network,
        }
    }

    /// Starts the engine of `kind` and waits until it answers; if it runs already, that is it.
    ///
    /// # Errors
    /// Its packages cannot be had, or it does not start: the error shows the end of its log.
    pub fn start(kind: Kind) -> Result<Running> {
        Self::of(kind)?.up(&Shell::new()?)
    }

    pub(crate) fn up(&self, sh: &Shell) -> Result<Running> {
        let running = Running { engine: self.clone() };
        if self.is_running() {
            self.daemon().wait(sh, &self.host())?;
            return Ok(running);
        }
        leftovers::forget_processes(&self.runtime);
        let packages = self.kind.packages().unpack(sh, &self.cache)?;
        for directory in [&self.state, &self.runtime] {
            fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
        }
        self.network.make(sh)?;
        let config = self.state.join("daemon.json");
        fs::write(&config, serde_json::to_vec_pretty(&self.configuration())?)
            .with_context(|| format!("cannot write {}", config.display()))?;
        self.daemon()
            .start(sh, &packages, &config, &self.host())
            .with_context(|| format!("engine `{}` did not start", self.kind.name()))?;
        Ok(running)
    }

    /// Stops the engine if it runs and deletes all its images, containers and volumes.
    ///
    /// # Errors
    /// It does not stop, or its data cannot be deleted.
    pub fn wipe(kind: Kind) -> Result<()> {
        let engine = Self::of(kind)?;
        let sh = Shell::new()?;
        engine.daemon().stop(&sh)?;
        leftovers::remove(&sh, &engine.namespace(), &engine.runtime, &engine.state)?;
        engine.network.remove_left(&sh)?;
        match fs::remove_dir_all(&engine.state) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot delete {}", engine.state.display()))
            }
            _ => Ok(()),
        }
    }

    /// Whether its process lives; it may not answer yet.
    pub fn is_running(&self) -> bool {
        self.daemon().pid().is_some()
    }

    /// Its address, as `DOCKER_HOST` takes it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    fn daemon(&self) -> daemon::Daemon<'_> {
        daemon::Daemon {
            runtime: &self.runtime,
            log: self.state.join("dockerd.log"),
        }
    }

    /// Keeps engines apart where the machine has a containerd of its own.
    fn namespace(&self) -> String {
        format!("{}-{}", self.kind.name(), self.network.name)
    }

    fn configuration(&self) -> serde_json::Value {
        let namespace = self.namespace();
        json!({
            "hosts": [self.host()],
            "data-root": self.state.join("data"),
            "exec-root": self.runtime.join("exec"),
            "pidfile": self.runtime.join("dockerd.pid"),
            "bridge": self.network.name,
            "default-address-pools": [{ "base": self.network.pool, "size": 24 }],
            // Where the machine has a containerd of its own, engines use that one: then names keep them apart.
            "containerd-namespace": namespace,
            "containerd-plugins-namespace": format!("{namespace}-plugins"),
            "features": { "containerd-snapshotter": self.kind.has_containerd_store() },
        })
    }
}

impl Running {
    /// Its address, as `DOCKER_HOST` takes it.
    pub fn host(&self) -> String {
        self.engine.host()
    }

    /// Docker's client, talking to this engine independent of what else is configured.
    pub fn docker<'sh>(&self, sh: &'sh Shell) -> Cmd<'sh> {
        daemon::docker(sh, &self.host())
    }

    /// Its log file.
    pub fn log(&self) -> PathBuf {
        self.engine.daemon().log
    }

    /// Stops it and its containers; its data stays.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn stop(self) -> Result<()> {
        self.engine.daemon().stop(&Shell::new()?)
    }
}

/// The socket that `DOCKER_HOST` names, or Docker's default; none if it names something else than a socket.
pub(crate) fn configured_socket() -> Option<PathBuf> {
    match env::var("DOCKER_HOST") {
        Ok(host) => host.strip_prefix("unix://").map(PathBuf::from),
        Err(_) => Some(PathBuf::from(DEFAULT_SOCKET)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn engines_share_nothing() {
        let caches = ["/a", "/b"].map(|root| Cache::in_directory(Path::new(root)));
        let engines: Vec<_> = caches
            .iter()
            .flat_map(|cache| Kind::DEVICES.map(|kind| Engine::in_cache(kind, cache)))
            .collect();
        for key in [
            "hosts",
            "data-root",
            "exec-root",
            "pidfile",
            "bridge",
            "default-address-pools",
            "containerd-namespace",
        ] {
            let values: HashSet<_> = engines
                .iter()
                .map(|engine| engine.configuration()[key].to_string())
                .collect();
            assert_eq!(values.len(), engines.len(), "{key}");
        }
    }
}
