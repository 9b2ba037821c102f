//! The first installation, and running it again.
//!
//! ```text
//! look       root? whose product? a native installation?      nothing is changed
//! trust      the bundle, by keys that came from outside of it          (keys)
//! prepare    Docker and Compose, folders, configuration, keys, program (docker)
//! apply      the bundle, as any update: load, start, wait until healthy (device::engine)
//! boot       units for the service manager                             (units)
//! password   the administrator's, last of all, so that it is shown if it was made (admin)
//! ```
//!
//! Every step finds out what is there and adds what is missing, so running it twice keeps credentials and data, and a
//! second run mends what was damaged. Another version that is installed already is updated through the engine, with
//! backup and undoing. [`mod@uninstall`] takes everything away again, and leaves the data.
//!
//! What it deliberately does not do: install anything that is there in another version, configure Docker, open ports.

mod apply;
mod docker;
mod keys;
mod native;
mod places;
mod program;
pub mod uninstall;
mod units;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use bundle::{
    manifest::{self, AnyManifest},
    names::ProductName,
    parts::Source,
    read::read_manifest,
    signature::PublicKey,
};
use semver::Version;
use serde::Serialize;

use crate::github;
use device::{
    Error, Result,
    config::{self, Config},
    containers::{ContainerEngine, docker::Docker},
    control::progress::Progress,
    engine::{lock::Lock, preflight::Permissions},
    stack::{
        bundle_files::{self, Bundle},
        trust,
    },
    system::{clock::Clock, files},
};

pub(crate) use self::units::System;
use crate::web::access::password::AdminPassword;

/// Of a folder: only their owner, and root, may rename or remove the files in it (inode(7), `S_ISVTX`).
const STICKY: u32 = 0o1000;

/// What is to be installed, and where.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The bundle.
    pub bundle: PathBuf,
    /// Keys that came from outside of the bundle: `install.sh` hands over its own.
    pub trust: Vec<PublicKey>,
    /// Whether the key that the bundle itself brings is good enough, if no other is known.
    pub trust_on_first_use: bool,
    /// Whether a bundle that nobody vouches for is good enough, if no key is known.
    pub allow_unsigned: bool,
    /// Whether a version older than the installed one is accepted.
    pub allow_downgrade: bool,
    /// The product's folder; `/opt/<product>` if none.
    pub folder: Option<PathBuf>,
    /// The configuration's folder; `/etc/<product>` if none.
    pub etc: Option<PathBuf>,
    /// The folder of the updater's own records; `/var/lib/<product>-updater` if none.
    pub state: Option<PathBuf>,
    /// The Docker engine's address; `$DOCKER_HOST` or the default socket if none. One that is named is never installed.
    pub docker_host: Option<String>,
    /// Whether the machine is set up: units for systemd and a link in `/usr/local/bin`. Without it, another init
    /// system, or a test, starts `updater start` and `updater daemon`.
    pub units: bool,
}

/// What an installation came to.
#[derive(Debug, Serialize)]
pub struct Installed {
    /// The product.
    pub product: ProductName,
    /// The version that runs.
    pub version: Version,
    /// The version that ran before, if another one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Version>,
    /// Whether this very bundle was installed already.
    pub already_installed: bool,
    /// The product's folder.
    pub folder: PathBuf,
    /// Where the configuration is.
    pub configuration: PathBuf,
    /// Where the updates page is, once the updater's service runs; none if it is not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updates_page: Option<String>,
    /// The IDs of the keys whose bundles are accepted from now on.
    pub trusted_keys: Vec<String>,
    /// What was made or mended.
    pub made: Vec<String>,
    /// What a person should know or do.
    pub notes: Vec<String>,
    /// The administrator's password, if it was made now. It is kept nowhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) admin_password: Option<AdminPassword>,
}

/// What was found out before anything is changed.
struct Prepared {
    config: Config,
    bundle: Bundle,
    path: PathBuf,
    /// The keys to trust from now on.
    keys: Vec<PublicKey>,
}

/// Collects what was done for whoever asked for it, and says it as it happens.
struct Report<'a> {
    made: Vec<String>,
    notes: Vec<String>,
    progress: &'a dyn Progress,
}

impl Report<'_> {
    fn made(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.progress.note(&text);
        self.made.push(text);
    }

    fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.progress.note(&text);
        self.notes.push(text);
    }
}

/// Installs a bundle, or mends or updates what is installed.
///
/// # Errors
/// Not root; the bundle is refused, or nobody that is trusted vouches for it; a native installation is in the way; Docker
/// is missing and cannot be had; a file cannot be written; what applying a bundle gives.
pub fn run(options: &Options, progress: &dyn Progress, clock: &dyn Clock) -> Result<Installed> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::refused(
            "installing changes the system, and only root may do that",
            "run it with sudo",
        ));
    }
    let system = options.units.then(System::of_this_machine);
    let mut prepared = prepare(options, system.as_ref(), progress)?;
    let mut report = Report {
        made: Vec::new(),
        notes: Vec::new(),
        progress,
    };
    let config = prepared.config.clone();
    make(&config.state, 0o700, &mut report)?;
    let lock = Lock::take(&config.lock(), "updater install")?;
    docker::provide(&config, &mut prepared.bundle, system.as_ref(), &mut report)?;
    let engine = Docker::new(config.docker_host.as_deref())?;
    let mut installed = install(prepared, options, system.as_ref(), &engine, clock, report)?;
    // The units take the lock.
    drop(lock);
    if let Some(system) = &system
        && let Err(error) = units::start(&config, system)
    {
        // The product runs; an error here would hide the password.
        installed.notes.push(format!("the units could not be started: {error}"));
    }
    Ok(installed)
}

/// As [`run`], for a device that tests make up.
#[cfg(test)]
pub(crate) fn run_on(
    options: &Options,
    system: Option<&System>,
    engine: &dyn ContainerEngine,
    clock: &dyn Clock,
    progress: &dyn Progress,
) -> Result<Installed> {
    let prepared = prepare(options, system, progress)?;
    let mut report = Report {
        made: Vec::new(),
        notes: Vec::new(),
        progress,
    };
    make(&prepared.config.state, 0o700, &mut report)?;
    let _lock = Lock::take(&prepared.config.lock(), "updater install")?;
    install(prepared, options, system, engine, clock, report)
}

/// Everything that is decided before anything is changed.
fn prepare(options: &Options, system: Option<&System>, progress: &dyn Progress) -> Result<Prepared> {
    let path = std::path::absolute(&options.bundle).map_err(Error::io("find", &options.bundle))?;
    let mut source = bundle_files::open(&path)?;
    let config = places::configuration(options, &product_of(&mut source)?)?;
    if let Some(system) = system {
        native::refuse(&config, system)?;
    }
    let pinned = trust::read(&config.trusted_keys())?;
    let choice = keys::choose(pinned.keys(), options)?;
    let (bundle, keys) = keys::open(source, &choice, &options.trust, progress)?;
    if bundle.manifest().product != config.product {
        // The manifest that was looked at is not the one that was verified: somebody writes to the file.
        return Err(Error::refused("the bundle changed while it was read", "copy it again"));
    }
    Ok(Prepared {
        config,
        bundle,
        path,
        keys,
    })
}

/// The product that a bundle says to be for. Nothing vouches for it yet.
fn product_of(source: &mut Source) -> Result<ProductName> {
    match read_manifest(source)?.manifest {
        AnyManifest::V1(manifest) => Ok(manifest.product),
        AnyManifest::Legacy(manifest) => Err(Error::refused(
            format!(
                "the bundle of {} is of the old form, which an updater cannot install",
                manifest.version
            ),
            "take a bundle made by `cargo xtask release`",
        )),
    }
}

/// Everything that is done once Docker is there.
fn install(
    prepared: Prepared,
    options: &Options,
    system: Option<&System>,
    engine: &dyn ContainerEngine,
    clock: &dyn Clock,
    mut report: Report<'_>,
) -> Result<Installed> {
    let Prepared {
        config,
        bundle,
        path,
        keys,
    } = prepared;
    make_folders(&config, &mut report)?;
    configure(&config, bundle.manifest().github.as_ref(), &keys, &mut report)?;
    program::install(&config, system, &mut report)?;
    let permissions = Permissions {
        downgrade: options.allow_downgrade,
    };
    // Before secrets are added to it.
    protect_environment(&config, &mut report)?;
    let outcome = apply::apply(&config, engine, clock, bundle, &path, permissions, &mut report)?;
    match system {
        Some(system) => units::install(&config, system, &mut report)?,
        None => report.note(format!(
            "no units were written; at boot, run `updater --config {0} start`, then `updater --config {0} daemon`",
            config.etc.join(config::FILE).display()
        )),
    }
    // Last: whatever failed before would have been the end, and a password that was never shown.
    let admin_password = crate::web::access::password::make_if_missing(&config)?;
    if admin_password.is_some() {
        report
            .made
            .push("the administrator's password, of which only a hash is kept".to_owned());
    }
    Ok(Installed {
        product: config.product.clone(),
        version: outcome.version,
        from: outcome.from,
        already_installed: outcome.already_installed,
        folder: config.folder.clone(),
        configuration: config.etc.join(config::FILE),
        updates_page: config.web.address(),
        trusted_keys: trust::read(&config.trusted_keys())?
            .keys()
            .iter()
            .map(|key| key.id().to_string())
            .collect(),
        made: report.made,
        notes: report.notes,
        admin_password,
    })
}

/// The folders, each with the permissions of what is in it. What is there is left as a person may have changed it, but
/// that `updates/` is sticky.
fn make_folders(config: &Config, report: &mut Report<'_>) -> Result<()> {
    config.refuse_links()?;
    for (folder, mode) in [
        (config.folder.clone(), 0o755),
        (config.folder.join(program::FOLDER), 0o755),
        // A group may be given the right to drop bundles: `chgrp`. Sticky: but not to put others in these folders' place.
        (config.updates(), 0o775 | STICKY),
        (config.applied(), 0o755),
        (config.failed(), 0o755),
        (config.downloads(), 0o755),
        // Dumps hold all of the product's data.
        (config.backups(), 0o700),
        (config.state.clone(), 0o700),
        (config.etc.clone(), 0o755),
    ] {
        make(&folder, mode, report)?;
    }
    // One that was made before it was so.
    let updates = config.updates();
    let metadata = fs::metadata(&updates).map_err(Error::io("read", &updates))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & STICKY == 0 {
        set_mode(&updates, mode | STICKY)?;
        report.made(format!(
            "{} is sticky: nobody removes what is another's",
            updates.display()
        ));
    }
    config.make_folders()
}

fn make(folder: &Path, mode: u32, report: &mut Report<'_>) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    files::make_folder(folder)?;
    set_mode(folder, mode)?;
    report.made(format!("{}", folder.display()));
    Ok(())
}

/// Configuration and keys. What is there stays.
fn configure(
    config: &Config,
    source: Option<&manifest::GitHub>,
    keys: &[PublicKey],
    report: &mut Report<'_>,
) -> Result<()> {
    let place = config.etc.join(config::FILE);
    if !place.is_file() {
        let mut config = config.clone();
        match source.map(github::Settings::try_from).transpose() {
            Ok(settings) => config.github = settings,
            Err(error) => report.note(format!("newer versions are not looked for: {error}")),
        }
        config.write()?;
        report.made(format!("{}", place.display()));
    }
    let folder = config.trusted_keys();
    let pinned = trust::read(&folder)?;
    for key in keys.iter().filter(|key| !pinned.keys().contains(key)) {
        trust::add(&folder, key)?;
        report.made(format!("bundles signed by {} are accepted", key.id()));
    }
    Ok(())
}

/// `.env` holds secrets; one that a person wrote may be open to all.
fn protect_environment(config: &Config, report: &mut Report<'_>) -> Result<()> {
    let path = config.env();
    let Ok(metadata) = fs::metadata(&path) else {
        return Ok(());
    };
    if metadata.permissions().mode() & 0o077 != 0 {
        set_mode(&path, 0o600)?;
        report.made(format!("{} can be read by root only", path.display()));
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Error::io("change", path))
}
