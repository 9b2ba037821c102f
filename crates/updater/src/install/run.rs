//! An installation from the first look to the last step.

use std::path::PathBuf;

use bundle::{manifest::AnyManifest, names::ProductName, parts::Source, read::read_manifest, signature::PublicKey};
use semver::Version;
use serde::Serialize;

use super::{
    apply, docker, keys, native, options::Options, places, prepare, program, report::Report, units, units::System,
};
use crate::web::access::password::{self, AdminPassword};
use device::{
    Error, Result,
    config::{self, Config},
    containers::{ContainerEngine, docker::Docker},
    control::progress::Progress,
    engine::{Means, lock::Lock, preflight::Permissions},
    stack::{
        bundle_files::{self, Bundle},
        trust,
    },
    system::clock::Clock,
};

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
    /// The product's directory.
    pub folder: PathBuf,
    /// Where the configuration is.
    pub configuration: PathBuf,
    /// Where the updates page is, once the updater's service runs; none if it is not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updates_page: Option<String>,
    /// The IDs of the keys whose bundles are accepted from now on.
    pub trusted_keys: Vec<String>,
    /// What was made or repaired.
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

/// Installs a bundle, or repairs or updates what is installed.
///
/// # Errors
/// Not root; the bundle is refused, or no trusted key has signed it; a native installation is in the way; Docker
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
    prepare::make(&config.state, 0o700, &mut report)?;
    let lock = Lock::take(&config.lock(), "updater install")?;
    docker::provide(&config, &mut prepared.bundle, system.as_ref(), &mut report)?;
    let engine = Docker::new(config.docker_host.as_deref())?;
    let mut installed = install(prepared, options, system.as_ref(), &engine, clock, lock, report)?;
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
    prepare::make(&prepared.config.state, 0o700, &mut report)?;
    let lock = Lock::take(&prepared.config.lock(), "updater install")?;
    install(prepared, options, system, engine, clock, lock, report)
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
        // The manifest that was looked at is not the one that was verified: the file changes.
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
    lock: Lock,
    mut report: Report<'_>,
) -> Result<Installed> {
    let Prepared {
        config,
        bundle,
        path,
        keys,
    } = prepared;
    prepare::make_directories(&config, &mut report)?;
    prepare::configure(&config, bundle.manifest().github.as_ref(), &keys, &mut report)?;
    program::install(&config, system, &mut report)?;
    let permissions = Permissions {
        downgrade: options.allow_downgrade,
    };
    // Before secrets are added to it.
    prepare::protect_environment(&config, &mut report)?;
    let means = Means {
        config: &config,
        engine,
        clock,
        progress: report.progress,
    };
    let (outcome, _lock) = apply::apply(means, lock, bundle, &path, permissions, &mut report)?;
    match system {
        Some(system) => units::install(&config, system, &mut report)?,
        None => report.note(format!(
            "no units were written; at boot, run `updater --config {0} start`, then `updater --config {0} daemon`",
            config.etc.join(config::FILE).display()
        )),
    }
    // Last: an error after it would hide a password that is shown only once.
    let admin_password = password::make_if_missing(&config)?;
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
