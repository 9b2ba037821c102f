//! What the updater asks of the machine it runs on: the one seam that tests replace.
//!
//! [`ContainerEngine`] is Docker with its Compose plugin, implemented in [`crate::containers::docker`]; [`Clock`] is time. Everything
//! above decides, everything below does. Each effect may be repeated after a crash, and none is trusted: what should be
//! true afterwards is asked again.

pub mod docker;
pub mod env_file;

use std::{
    fmt,
    io::{self, Read, Write},
    path::PathBuf,
};

use bundle::{Digest, Platform, manifest::Health};
use serde::Serialize;

use crate::Result;

/// How an engine keeps images, which decides what an image's ID is and what can be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageStore {
    /// Layers as diffs in a graph driver; an image's ID is the digest of its configuration.
    Classic,
    /// Content in containerd; an image's ID is the digest of its manifest.
    Containerd,
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
    /// The engine's major version; 0 if its version makes no sense.
    pub fn major(&self) -> u32 {
        major(&self.version)
    }
}

/// The major version that a text begins with; 0 if it makes no sense.
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
    /// Whether it does something once and ends: the engine does not start it again.
    pub once: bool,
}

/// A service of a compose file, with the environment filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The image that it names, whatever it is pinned to.
    pub image: Option<String>,
    /// Whether it is built on the spot, which a device cannot.
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
    /// The project's folder, which relative paths start from and whose `.env` is read.
    pub folder: PathBuf,
    /// The compose file.
    pub file: PathBuf,
    /// The file that pins each service's image, read over the compose file; none if tags decide
    /// ([`crate::stack::release::write_pins`]).
    pub pins: Option<PathBuf>,
    /// The environment file, if it is not the folder's own.
    pub env_file: Option<PathBuf>,
}

/// Which services a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Services<'a> {
    /// All of them.
    All,
    /// These, and what they depend on.
    Only(&'a [String]),
}

/// What a program in a container is fed.
pub type Input<'a> = Option<&'a mut (dyn Read + Send)>;

/// Writes an archive for [`ContainerEngine::load`], in the thread that calls it.
pub type WriteArchive<'a> = dyn FnMut(&mut dyn Write) -> io::Result<()> + 'a;

/// Docker with its Compose plugin.
pub trait ContainerEngine {
    /// What the engine is.
    ///
    /// # Errors
    /// It does not answer.
    fn facts(&self) -> Result<EngineFacts>;

    /// The Compose plugin's version, `2.26.1`; none if there is no plugin.
    ///
    /// # Errors
    /// It does not answer.
    fn compose(&self) -> Result<Option<String>>;

    /// The image called `name` (a reference or an ID), if it is there.
    ///
    /// # Errors
    /// The engine does not answer.
    fn image(&self, name: &str) -> Result<Option<ImageFacts>>;

    /// All images.
    ///
    /// # Errors
    /// The engine does not answer.
    fn images(&self) -> Result<Vec<ImageFacts>>;

    /// Loads the archive that `write` writes: a Docker archive or an OCI layout, as tar.
    ///
    /// # Errors
    /// The engine refuses it, goes away, or takes nothing for too long; `write` fails.
    fn load(&self, write: &mut WriteArchive<'_>) -> Result<()>;

    /// Whether a container can be made of an image: the only proof that all its layers are there. Leaves none behind.
    ///
    /// # Errors
    /// It cannot.
    fn try_create(&self, image: &Digest) -> Result<()>;

    /// Gives an image a name and tag, which it is taken from whichever image has it.
    ///
    /// # Errors
    /// The image is not there.
    fn tag(&self, image: &Digest, reference: &str) -> Result<()>;

    /// Takes a name from an image, or removes the image of an ID with all its names, unless a container uses it. Nothing
    /// if it is not there.
    ///
    /// # Errors
    /// It is in use, or the engine does not answer.
    fn remove_image(&self, name: &str) -> Result<()>;

    /// What the compose file makes with its environment filled in: also the proof that it makes sense.
    ///
    /// # Errors
    /// Compose refuses it.
    fn project(&self, stack: &Stack) -> Result<Project>;

    /// The containers of a project, running or not.
    ///
    /// # Errors
    /// The engine does not answer.
    fn containers(&self, stack: &Stack) -> Result<Vec<ContainerFacts>>;

    /// The services whose containers [`ContainerEngine::up`] makes, makes anew or restarts; all others keep running.
    ///
    /// # Errors
    /// Compose refuses the files, or the engine does not answer.
    fn changed(&self, stack: &Stack) -> Result<Vec<String>>;

    /// Makes the services what the files say: recreates what changed, starts what is missing, removes what is no longer
    /// there unless only some services are meant. What did not change runs on. Builds and pulls nothing.
    ///
    /// # Errors
    /// Compose fails.
    fn up(&self, stack: &Stack, services: Services<'_>) -> Result<()>;

    /// Stops all services, and leaves their containers.
    ///
    /// # Errors
    /// Compose fails.
    fn stop(&self, stack: &Stack) -> Result<()>;

    /// Stops containers, and leaves them. Compose would know only those of the services in its files.
    ///
    /// # Errors
    /// The engine does not answer, or does not stop one.
    fn stop_containers(&self, containers: &[ContainerFacts]) -> Result<()>;

    /// Stops and removes all containers and networks of a project. Volumes stay.
    ///
    /// # Errors
    /// Compose fails.
    fn down(&self, stack: &Stack) -> Result<()>;

    /// As [`ContainerEngine::down`], and deletes the volumes: all of the product's data. Only for a person who
    /// uninstalls and says so.
    ///
    /// # Errors
    /// Compose fails.
    fn down_with_volumes(&self, stack: &Stack) -> Result<()>;

    /// Runs a program in a service's container, feeds it, and gives its standard output to `output`. Nothing secret may
    /// be among its arguments.
    ///
    /// # Errors
    /// The service does not run, or the program fails.
    fn exec(
        &self,
        stack: &Stack,
        service: &str,
        command: &[&str],
        input: Input<'_>,
        output: &mut (dyn Write + Send),
    ) -> Result<()>;

    /// Asks the product once whether it is healthy.
    ///
    /// # Errors
    /// There is no answer, or it is none of success: the text says what it was.
    fn ask_health(&self, stack: &Stack, health: &Health) -> Result<(), String>;

    /// The end of what the services said.
    ///
    /// # Errors
    /// Compose fails.
    fn logs(&self, stack: &Stack, lines: u32) -> Result<String>;

    /// Brings everything that was written to the disk, whoever wrote it.
    fn sync(&self);
}

impl fmt::Display for ImageStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Classic => "classic",
            Self::Containerd => "containerd",
        })
    }
}
