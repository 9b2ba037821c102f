//! What the updater asks of Docker with its Compose plugin: the one seam that tests replace.
//!
//! Each effect may be repeated after a crash, and none is trusted: what must be true afterwards is checked again.

use std::io::{self, Read, Write};

use bundle::{Digest, manifest::Health};

use super::facts::{ContainerFacts, EngineFacts, ImageFacts, Project, Stack};
use crate::Result;

/// Which services a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Services<'a> {
    /// All of them.
    All,
    /// These, and what they depend on.
    Only(&'a [String]),
}

/// The standard input of a program in a container.
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

    /// The image called `name` (a reference or an ID); none if there is none.
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

    /// Creates a container of an image and removes it: the only proof that all layers of the image are there.
    ///
    /// # Errors
    /// It cannot.
    fn try_create(&self, image: &Digest) -> Result<()>;

    /// Gives an image a name and tag, taking it from the image that has it now.
    ///
    /// # Errors
    /// The image is not there.
    fn tag(&self, image: &Digest, reference: &str) -> Result<()>;

    /// Removes a name of an image, or, given an ID, the image with all its names unless a container uses it. Does nothing
    /// if there is none.
    ///
    /// # Errors
    /// It is in use, or the engine does not answer.
    fn remove_image(&self, name: &str) -> Result<()>;

    /// The compose file with its environment filled in; also the proof that it is valid.
    ///
    /// # Errors
    /// Compose refuses it.
    fn project(&self, stack: &Stack) -> Result<Project>;

    /// The containers of a project, running or not.
    ///
    /// # Errors
    /// The engine does not answer.
    fn containers(&self, stack: &Stack) -> Result<Vec<ContainerFacts>>;

    /// The services whose containers [`ContainerEngine::up`] creates, recreates or restarts; all others keep running.
    ///
    /// # Errors
    /// Compose refuses the files, or the engine does not answer.
    fn changed(&self, stack: &Stack) -> Result<Vec<String>>;

    /// Brings the services to what the files say: recreates changed ones, starts missing ones, and, for all services, removes
    /// those that the files no longer name. Unchanged ones keep running. Builds and pulls nothing.
    ///
    /// # Errors
    /// Compose fails.
    fn up(&self, stack: &Stack, services: Services<'_>) -> Result<()>;

    /// Stops all services, and keeps their containers.
    ///
    /// # Errors
    /// Compose fails.
    fn stop(&self, stack: &Stack) -> Result<()>;

    /// Stops containers, and keeps them. Compose would stop only those of the services in its files.
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

    /// Runs a program in a service's container with `input`, and copies its standard output to `output`. Its arguments
    /// must hold no secret.
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
    /// There is no answer, or its status is not 200 to 299: the text says what it was.
    fn ask_health(&self, stack: &Stack, health: &Health) -> Result<(), String>;

    /// The last lines that the services wrote.
    ///
    /// # Errors
    /// Compose fails.
    fn logs(&self, stack: &Stack, lines: u32) -> Result<String>;

    /// Flushes everything that any process wrote to the disk, `sync(2)`.
    fn sync(&self);
}
