//! What an engine, its images and containers, and a Compose project are, as data.

use std::{fmt, path::PathBuf};

use bundle::{Digest, Platform, manifest::PlatformImage};
use serde::Serialize;

/// How an engine keeps images, which decides what an image's ID is and what can be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageStore {
    /// Layers as diffs in a graph driver; an image's ID is the digest of its configuration.
    Classic,
    /// Content in containerd; an image's ID is the digest of its manifest.
    Containerd,
}

impl ImageStore {
    /// The ID that an image has in this kind of store.
    pub fn image_id(self, image: &PlatformImage) -> Digest {
        match self {
            Self::Classic => image.config,
            Self::Containerd => image.manifest,
        }
    }
}

impl fmt::Display for ImageStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classic => "classic",
            Self::Containerd => "containerd",
        })
    }
}

/// What an engine is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EngineFacts {
    /// The engine's version as it gives it: `26.1.5+dfsg1`.
    pub version: String,
    /// How it keeps images.
    pub store: ImageStore,
    /// What its containers run on.
    pub platform: Platform,
    /// Where it keeps its data.
    pub root: PathBuf,
}

impl EngineFacts {
    /// The engine's major version; 0 if its version is invalid.
    pub fn major(&self) -> u32 {
        major(&self.version)
    }
}

/// The major version that a text begins with; 0 if there is none.
pub(crate) fn major(version: &str) -> u32 {
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

/// An image that an engine has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageFacts {
    /// Its ID.
    pub id: Digest,
    /// Its names with tags.
    pub references: Vec<String>,
    /// The diff IDs of its layers, lowest first.
    pub diff_ids: Vec<Digest>,
    /// Its architecture as OCI names it: `amd64`.
    pub architecture: String,
}

/// What a container does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerHealth {
    /// It has no health check.
    None,
    /// Its health check has not passed yet.
    Starting,
    /// Its health check passes.
    Healthy,
    /// Its health check fails.
    Unhealthy,
}

/// A container of the product.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContainerFacts {
    /// Its ID.
    pub id: String,
    /// The service that it runs for.
    pub service: String,
    /// The ID of its image.
    pub image: Digest,
    /// Whether it runs.
    pub running: bool,
    /// Its state in the engine's words: `running`, `restarting`, `exited`.
    pub state: String,
    /// What its health check says.
    pub health: ContainerHealth,
    /// How often the engine has restarted it.
    pub restarts: u64,
    /// When it was started last, as the engine writes it.
    pub started_at: String,
    /// How it ended, if it does not run.
    pub exit_code: i64,
    /// Whether it runs once: the engine does not restart it.
    pub once: bool,
}

/// A service of a compose file, with the environment filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The image that the compose file names, before pinning.
    pub image: Option<String>,
    /// Whether it is built from source, which a device cannot do.
    pub builds: bool,
    /// The services whose restart restarts it (Compose file reference, `depends_on`, `restart: true`).
    pub restarted_with: Vec<String>,
}

/// What Compose makes of a project's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its name, which its containers carry as a label.
    pub name: String,
    /// Its services.
    pub services: Vec<Service>,
}

/// The files that make a compose project what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The project's directory: relative paths start there, and its `.env` is read.
    pub directory: PathBuf,
    /// The compose file.
    pub file: PathBuf,
    /// The file that pins each service's image, read over the compose file; none if tags decide.
    pub pins: Option<PathBuf>,
    /// The environment file, if it is not the directory's own.
    pub env_file: Option<PathBuf>,
}
