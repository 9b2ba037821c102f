//! Examining a bundle and this device before an update: the inputs of [`preflight`].

use std::{fs, io::Read as _, path::Path};

use bundle::{
    Platform,
    manifest::{Manifest, PlatformImage},
};
use serde::Deserialize;

use super::{
    preflight::{self, Disk, Gate, Inputs, Permissions},
    updater::Updater,
};
use crate::{
    Error, Problem, Result,
    containers::{EngineFacts, Project, Service, Stack, env_file::EnvFile, pins::project_of},
    stack::{bundle_files::Bundle, load, postgres::DatabaseFacts, release},
    store::Release,
    system::files,
};

/// The environment for the target version's compose file.
const NEW_ENV: &str = "new-env";

/// No image configuration is larger, in bytes.
const MAX_CONFIG: u64 = 4 << 20;

/// The findings about a bundle and this device.
pub(super) struct Findings {
    pub(super) engine: EngineFacts,
    pub(super) project: Result<Project, String>,
    pub(super) current: Option<Release>,
    pub(super) disk: Vec<Disk>,
    pub(super) problems: Vec<Problem>,
    pub(super) gate: Gate,
}

impl Updater<'_> {
    pub(super) fn examine(
        &self,
        bundle: &mut Bundle,
        manifest: &Manifest,
        work: &Path,
        permissions: Permissions,
        engine: &EngineFacts,
    ) -> Result<Findings> {
        let engine = engine.clone();
        let current = self.store.current()?;
        let project = self.new_project(bundle, manifest, work)?;
        let stack = current.as_ref().map(|current| release::stack(self.config, current));
        let project_before = stack.and_then(|stack| project_of(stack.pins.as_deref()?));
        let version_in_env = release::version_in_env(self.config, current.as_ref())?;
        let mut problems = Vec::new();
        let database = match self.database(manifest, current.as_ref()) {
            Ok(database) => database,
            Err(error) => {
                problems.push(
                    Problem::error(
                        "database",
                        format!("cannot be asked, so it could not be saved: {error}"),
                    )
                    .hint("start it, or look at its log: docker compose logs"),
                );
                None
            }
        };
        let data = self.store.data()?;
        let gate = current.as_ref().map_or(Gate::Open, |current| {
            preflight::gate(current, data.as_ref(), &manifest.version, &manifest.data)
        });
        let disk = self.disk(&engine, manifest, gate, database.map_or(0, |database| database.size))?;
        let known = project.as_ref().map_or(&[][..], |project| &project.services);
        let database = database.map(|database| (database.major, new_major(bundle, manifest, known, &engine.platform)));
        // A Compose that read the file is there and new enough.
        let compose = match &project {
            Ok(_) => None,
            Err(_) => Some(self.engine.compose()?),
        };
        problems.extend(preflight::problems(&Inputs {
            manifest,
            current: current.as_ref(),
            data: data.as_ref(),
            version_in_env: version_in_env.as_deref().filter(|_| current.is_some()),
            engine: &engine,
            compose: compose.as_ref(),
            project: &project,
            project_before: project_before.as_deref(),
            disk: &disk,
            security_epoch: self.store.security_epoch()?,
            product: self.config.product.as_str(),
            updater: &crate::version(),
            database,
            permissions,
        }));
        Ok(Findings {
            engine,
            project,
            current,
            disk,
            problems,
            gate,
        })
    }

    /// The project by the target version's compose file and environment, both written to the side.
    fn new_project(&self, bundle: &mut Bundle, manifest: &Manifest, work: &Path) -> Result<Result<Project, String>> {
        files::make_directory(work)?;
        let stack = self.write_new_files(bundle, manifest, work)?;
        Ok(self.engine.project(&stack).map_err(|error| error.to_string()))
    }

    /// Writes the target version's compose file and its environment into `work`.
    pub(super) fn write_new_files(&self, bundle: &mut Bundle, manifest: &Manifest, work: &Path) -> Result<Stack> {
        use bundle::manifest::FileRole;
        let stack = self.new_stack(work);
        let file = manifest.files.iter().find(|file| file.role == FileRole::Compose);
        let file = file.ok_or_else(|| Error::refused("the bundle has no compose file", "make it again"))?;
        let mut content = bundle.open_file(&file.name).map_err(Error::io("read", &stack.file))?;
        files::write_with(&stack.file, 0o644, |out| std::io::copy(&mut content, out).map(drop))?;
        let env_path = self.config.env();
        let old = match fs::read_to_string(&env_path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::io("read", &env_path)(error)),
        };
        let mut env = EnvFile::parse(&old);
        release::complete(&mut env, &manifest.environment, &manifest.version.to_string())?;
        files::write(&work.join(NEW_ENV), env.text().as_bytes(), 0o600)?;
        Ok(stack)
    }

    /// The compose project by the target version's files in `work`.
    pub(super) fn new_stack(&self, work: &Path) -> Stack {
        Stack {
            directory: self.config.folder.clone(),
            file: work.join("new-compose.yml"),
            pins: None,
            env_file: Some(work.join(NEW_ENV)),
        }
    }

    /// What is needed and free where images go, and where a dump of a database of `database` bytes goes. A gated update dumps
    /// it twice, and undoing one restores it beside the one that is there, in a volume of the engine's.
    fn disk(&self, engine: &EngineFacts, manifest: &Manifest, gate: Gate, database: u64) -> Result<Vec<Disk>> {
        let images = load::disk_needed(self.engine, &self.store, engine, manifest)?;
        let (dumps, restored) = match gate {
            Gate::Gated => (database.saturating_mul(2), database),
            Gate::Open | Gate::Unreadable => (database, 0),
        };
        let mut disks = Vec::new();
        for (what, directory, needed) in [
            ("loading images", &engine.root, images.saturating_add(restored)),
            ("saving the database", &self.config.backups(), dumps),
        ] {
            disks.push(Disk {
                what,
                directory: directory.display().to_string(),
                free: files::free_bytes(directory).map_err(Error::io("measure", directory))?,
                needed,
            });
        }
        // On one file system, both come together.
        if let [images, dump] = disks.as_mut_slice()
            && images.free == dump.free
        {
            dump.needed = dump.needed.saturating_add(images.needed);
        }
        Ok(disks)
    }

    /// The database that is saved; none if there is none.
    fn database(&self, manifest: &Manifest, current: Option<&Release>) -> Result<Option<DatabaseFacts>> {
        let (Some(current), Some(backup)) = (current, &manifest.backup) else {
            return Ok(None);
        };
        self.postgres(current, backup).facts().map(Some)
    }
}

/// The major version of PostgreSQL that a bundle brings, where its image says so.
fn new_major(bundle: &mut Bundle, manifest: &Manifest, services: &[Service], platform: &Platform) -> Option<u32> {
    let backup = manifest.backup.as_ref()?;
    let service = services.iter().find(|service| service.name == backup.service)?;
    let reference = service.image.as_ref()?;
    let image = manifest
        .image_details
        .iter()
        .find(|image| image.reference == *reference)?;
    postgres_major(bundle, image.on(platform)?)
}

/// The major version that an image of PostgreSQL says to bring, in `PG_MAJOR`, as the official ones do.
fn postgres_major(bundle: &mut Bundle, image: &PlatformImage) -> Option<u32> {
    #[derive(Deserialize)]
    struct Image {
        config: Option<Settings>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Settings {
        #[serde(default)]
        env: Option<Vec<String>>,
    }
    let mut json = Vec::new();
    let blob = bundle.open_blob(&image.config).ok()?;
    blob.take(MAX_CONFIG).read_to_end(&mut json).ok()?;
    let image: Image = serde_json::from_slice(&json).ok()?;
    let variables = image.config?.env?;
    variables
        .iter()
        .find_map(|line| line.strip_prefix("PG_MAJOR=")?.parse().ok())
}
