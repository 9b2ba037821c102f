//! Verifying: is the bundle whole and trusted, and can this device take it? Nothing is changed.
//!
//! The file is opened once; what is used later is read from this very file, and hashed again then. All problems are
//! reported at once ([`crate::engine::preflight`]).

use std::{fs, io::Read as _, path::Path};

use bundle::{
    Platform,
    manifest::{Manifest, PlatformImage},
    parts::find_damage,
    read::{Layers, Trust, VerifyError, verify_with_legacy},
};
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Problem, Result,
    containers::{EngineFacts, Project, Service, Stack, env_file::EnvFile, pins},
    engine::{
        Opened, Updater, legacy, milliseconds,
        preflight::{self, Disk, Gate, Inputs, Permissions},
    },
    stack::{
        bundle_files::{self, Bundle},
        health::{self, Question},
        load,
        postgres::DatabaseFacts,
        release, trust,
    },
    state::{Event, Phase},
    store::{Change, Release, Update},
    system::files,
};

/// The environment that goes with the new compose file.
const NEW_ENV: &str = "new-env";

/// No image configuration is larger, in bytes.
const MAX_CONFIG: u64 = 4 << 20;

/// What an update would do, and what stands against it.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The version that runs; none if nothing is installed.
    pub current: Option<Version>,
    /// The version that the bundle brings.
    pub version: Version,
    /// The trusted key that signed it.
    pub signed_by: Option<String>,
    /// What changed.
    pub changelog: String,
    /// Bytes of layers that the engine lacks and is sent.
    pub bytes_to_send: u64,
    /// The services whose containers are made anew; all others run on.
    pub restarts: Vec<String>,
    /// About how long they will not answer, in seconds: by the last update of the kind, or else at least that long; none if
    /// nothing tells.
    pub expected_downtime_seconds: Option<u64>,
    /// Whether services stop for the migration.
    pub gated: bool,
    /// What rolling back will mean afterwards.
    pub rollback: String,
    /// Free and needed disk.
    pub disk: Vec<String>,
    /// What stands against it.
    pub problems: Vec<Problem>,
}

/// What was found out about a bundle and this device.
struct Findings {
    engine: EngineFacts,
    project: Result<Project, String>,
    current: Option<Release>,
    disk: Vec<Disk>,
    problems: Vec<Problem>,
    gate: Gate,
}

impl Updater<'_> {
    /// Opens and verifies the bundle of an update.
    pub(crate) fn open(&mut self, update: &Update) -> Result<Opened> {
        let path = update.bundle.clone().ok_or_else(|| {
            Error::refused(
                "the update has no bundle",
                "drop its bundle into updates/, or upload it",
            )
        })?;
        let bundle = self.open_path(&path)?;
        Ok(Opened {
            update: update.id,
            bundle,
            engine: self.engine.facts()?,
        })
    }

    /// Opens and verifies a bundle by the keys that this device trusts.
    ///
    /// # Errors
    /// It cannot be read or is refused.
    pub fn open_path(&mut self, path: &Path) -> Result<Bundle> {
        let keys = trust::read(&self.config.trusted_keys())?;
        let source = bundle_files::open(path)?;
        let size = source.size().map_err(Error::io("read", path))?;
        self.progress.begin("verifying", Some(size));
        let trust = match keys.keys() {
            [] => Trust::Unsigned,
            _ => Trust::Keys(&keys),
        };
        let progress = |bytes| self.progress.advance(bytes);
        let assumed = self.assumed()?;
        let began = self.clock.elapsed();
        let verified = verify_with_legacy(source, &trust, &assumed, Layers::WhenRead, &progress);
        self.verify_ms = milliseconds(self.clock.elapsed().saturating_sub(began));
        match verified {
            Err(error @ VerifyError::Io(_)) => Err(error.into()),
            // Whatever a damaged part did to the whole, which part it is says more.
            Err(error) => {
                find_damage(path)?;
                Err(error.into())
            }
            Ok(bundle) => Ok(bundle),
        }
    }

    /// The phase "verifying".
    pub(crate) fn admit(&mut self, update: &Update) -> Result<(Event, Change)> {
        let mut opened = match self.take_open(update) {
            Some(opened) => opened,
            None => self.open(update)?,
        };
        let manifest = opened.bundle.manifest().clone().into_inner();
        let digest = opened.bundle.manifest_digest();
        self.store
            .set_identity(update.id, &manifest.version, &manifest.changelog, digest)?;
        let mut facts = update.facts.clone();
        facts.verify_ms = self.verify_ms;
        if opened.bundle.signed_by().is_none() {
            let text = "nobody vouches for this bundle: no key is trusted on this device";
            self.progress
                .note(&format!("warning: {text}; hint: updater trust add KEY"));
            facts.warnings.push(text.to_owned());
        }
        if opened.bundle.is_legacy() {
            facts.legacy = true;
            for text in legacy::warnings(&manifest, self.store.current()?.as_ref()) {
                self.progress.note(&format!("warning: {text}"));
                facts.warnings.push(text);
            }
        }
        for image in manifest.image_details.iter().filter(|image| image.substitute) {
            facts.warnings.push(format!(
                "{} is made from a stand-in: not for production",
                image.reference
            ));
        }
        let permissions = Permissions {
            downgrade: facts.allow_downgrade,
        };
        let work = self.work_folder(update);
        let findings = self.examine(&mut opened.bundle, &manifest, &work, permissions, &opened.engine)?;
        if !findings.problems.is_empty() {
            return Err(Error::Problems(findings.problems));
        }
        if let Some(current) = &findings.current {
            let old = release::manifest(current)?.and_then(|manifest| manifest.backup);
            facts.database = old.or_else(|| manifest.backup.clone());
            facts.was_healthy = Some(self.is_healthy(current)?);
            self.store.set_releases(update.id, Some(current.id), None)?;
            if self.keep_changes(current)? {
                facts.warnings.push(format!(
                    "{} was changed by hand: the change stays with {} and is not in {}",
                    self.config.compose_file, current.version, manifest.version
                ));
            }
        }
        self.save_for_undo(&work)?;
        self.keep_open(opened);
        let event = if findings.gate == Gate::Gated {
            Event::VerifiedGated
        } else {
            Event::Verified
        };
        Ok((
            event,
            Change {
                facts: Some(facts),
                ..Change::default()
            },
        ))
    }

    /// What applying a bundle would do. Changes nothing that matters, and leaves nothing behind.
    ///
    /// # Errors
    /// The bundle is refused, or the device cannot be asked.
    pub fn plan(&mut self, path: &Path, permissions: Permissions) -> Result<Plan> {
        let mut bundle = self.open_path(path)?;
        let manifest = bundle.manifest().clone().into_inner();
        let engine = self.engine.facts()?;
        let work = self.config.work().join(format!("plan-{}", std::process::id()));
        let found = self.examine(&mut bundle, &manifest, &work, permissions, &engine);
        let found = found.and_then(|findings| Ok((self.restarts(&findings, &manifest, &work)?, findings)));
        files::remove(&work)?;
        let (restarts, findings) = found?;
        let gated = findings.gate == Gate::Gated;
        let rollback = match &findings.current {
            None => "nothing was installed before, so there is nothing to go back to".to_owned(),
            Some(current) if gated => format!(
                "{} cannot read the data afterwards: once the update is complete, going back discards what was written since",
                current.version
            ),
            Some(current) => format!(
                "{} can be brought back at any time, no data is touched",
                current.version
            ),
        };
        Ok(Plan {
            current: findings.current.as_ref().map(|release| release.version.clone()),
            version: manifest.version.clone(),
            signed_by: bundle.signed_by().map(|key| key.id().to_string()),
            changelog: manifest.changelog.clone(),
            bytes_to_send: load::missing_bytes(self.engine, &self.store, &findings.engine, &manifest)?,
            expected_downtime_seconds: self.expected_downtime(&manifest, &restarts, gated)?,
            restarts,
            gated,
            rollback,
            disk: findings
                .disk
                .iter()
                .map(|disk| {
                    format!(
                        "{}: {} of {} free bytes in {}",
                        disk.what, disk.needed, disk.free, disk.folder
                    )
                })
                .collect(),
            problems: findings.problems,
        })
    }

    fn examine(
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
        let project_before = stack.and_then(|stack| pins::project_of(stack.pins.as_deref()?));
        let version_in_env = release::version_in_env(self.config, current.as_ref())?;
        let mut problems = Vec::new();
        let database = match self.database(manifest, current.as_ref()) {
            Ok(database) => database,
            Err(error) => {
                problems.push(
                    Problem::new(
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

    /// What the new compose file makes of the new environment, both written to the side.
    fn new_project(&self, bundle: &mut Bundle, manifest: &Manifest, work: &Path) -> Result<Result<Project, String>> {
        files::make_folder(work)?;
        let stack = self.write_new_files(bundle, manifest, work)?;
        Ok(self.engine.project(&stack).map_err(|error| error.to_string()))
    }

    /// Writes the new compose file and the environment that goes with it into `work`.
    pub(crate) fn write_new_files(&self, bundle: &mut Bundle, manifest: &Manifest, work: &Path) -> Result<Stack> {
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

    /// The project as the new files in `work` make it.
    fn new_stack(&self, work: &Path) -> Stack {
        Stack {
            folder: self.config.folder.clone(),
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
        for (what, folder, needed) in [
            ("loading images", &engine.root, images.saturating_add(restored)),
            ("saving the database", &self.config.backups(), dumps),
        ] {
            disks.push(Disk {
                what,
                folder: folder.display().to_string(),
                free: files::free_bytes(folder).map_err(Error::io("measure", folder))?,
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

    /// The services that are made anew, by the new files in `work`.
    fn restarts(&self, findings: &Findings, manifest: &Manifest, work: &Path) -> Result<Vec<String>> {
        // What stands against the update is said already.
        let Ok(project) = &findings.project else {
            return Ok(Vec::new());
        };
        if findings.current.is_none() || manifest.is_legacy() {
            // Nothing was installed, or nothing tells what the images will be.
            return Ok(project.services.iter().map(|service| service.name.clone()).collect());
        }
        let Ok(pins) = release::pins(&project.services, manifest, &findings.engine) else {
            return Ok(Vec::new());
        };
        self.engine.changed(&Stack {
            pins: Some(release::write_pins(work, &project.name, &pins)?),
            ..self.new_stack(work)
        })
    }

    /// See [`Plan::expected_downtime_seconds`].
    fn expected_downtime(&self, manifest: &Manifest, restarts: &[String], gated: bool) -> Result<Option<u64>> {
        if restarts.is_empty() {
            return Ok(Some(0));
        }
        let updates = self.store.updates()?;
        let mut before = updates
            .iter()
            .filter(|update| {
                update.from.is_some() && update.state.phase == Phase::Completed && update.state.gated == gated
            })
            .map(|update| match gated {
                true => update.facts.downtime_ms,
                false => Some(update.facts.compose_ms),
            });
        Ok(match before.next().flatten() {
            Some(milliseconds) => Some(milliseconds.div_ceil(1000)),
            // Writing starts only when the new version has stayed healthy.
            None if gated => manifest.health.as_ref().map(|health| health.soak_seconds.into()),
            None => None,
        })
    }

    fn is_healthy(&self, current: &Release) -> Result<bool> {
        Ok(health::is_healthy(self.engine, &Question::about(self.config, current)?))
    }

    /// A compose file that a person changed is what the running version runs by, so that is what comes back. Whether it was.
    fn keep_changes(&self, current: &Release) -> Result<bool> {
        let Some(folder) = &current.folder else {
            return Ok(false);
        };
        let (own, there) = (folder.join(&self.config.compose_file), self.config.compose());
        let text = files::read_if_there(&there)?;
        if text.is_none() || text == files::read_if_there(&own)? {
            return Ok(false);
        }
        self.engine.project(&release::stack(self.config, current))?;
        files::copy(&there, &own)?;
        Ok(true)
    }

    /// Copies what the switch replaces and what no release folder holds.
    fn save_for_undo(&self, work: &Path) -> Result<()> {
        let env = self.config.env();
        if env.is_file() {
            files::copy(&env, &work.join("env"))?;
        }
        Ok(())
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
