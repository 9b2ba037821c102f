//! Taking an installation away again: its containers, images, units, program and configuration. The data stays.
//!
//! Kept without `--purge-data`: the volumes, `.env` with the database's password, the backups, the bundles of the running
//! version and the one before, and the record of updates. Installing again finds them and goes on from there. With it,
//! nothing of the product is left but foreign files in its directory.
//!
//! May be repeated: what is gone already is passed over.

use std::{fs, path::PathBuf};

use serde::Serialize;

use super::{
    program,
    units::{self, System},
};
use crate::web::access::password;
use device::{
    Error, Result,
    config::{self, Config},
    containers::{ContainerEngine, Stack, docker::Docker},
    control::progress::Progress,
    engine::lock::Lock,
    stack::{load, release},
    store::Store,
    system::{crash, files},
};

/// What is taken away.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether the product's data goes too: volumes, `.env`, backups, bundles and the record of updates.
    pub purge_data: bool,
    /// Whether units and the link in `/usr/local/bin` are looked for.
    pub units: bool,
}

/// What was taken away, and what was not.
#[derive(Debug, Serialize)]
pub struct Uninstalled {
    /// What is gone.
    pub removed: Vec<String>,
    /// What stays, because it is data, or because it is in use elsewhere.
    pub kept: Vec<String>,
}

/// Takes an installation away.
///
/// # Errors
/// Not root; an update is under way; the engine does not answer; something cannot be removed.
pub fn uninstall(config: &Config, options: Options, progress: &dyn Progress) -> Result<Uninstalled> {
    if !rustix::process::geteuid().is_root() {
        return Err(Error::refused(
            "uninstalling changes the system, and only root may do that",
            "run it with sudo",
        ));
    }
    let system = options.units.then(System::of_this_machine);
    let engine = Docker::new(config.docker_host.as_deref())?;
    uninstall_with(config, options, system.as_ref(), &engine, progress)
}

pub(crate) fn uninstall_with(
    config: &Config,
    options: Options,
    system: Option<&System>,
    engine: &dyn ContainerEngine,
    progress: &dyn Progress,
) -> Result<Uninstalled> {
    let lock = Lock::take(&config.lock(), "updater uninstall")?;
    let mut store = Store::open(&config.database())?;
    if let Some(active) = store.active()? {
        return Err(Error::Busy {
            holder: format!("the update to {} ({})", active.version, active.state.phase),
        });
    }
    // Before anything is taken away.
    engine.facts()?;
    let mut done = Uninstalled {
        removed: Vec::new(),
        kept: Vec::new(),
    };
    if let Some(system) = system {
        units::stop(config, system)?;
    }
    remove_containers(config, &store, engine, options, &mut done)?;
    crash::point("containers removed");
    remove_images(config, &mut store, engine, progress, &mut done)?;
    crash::point("images removed");
    if let Some(system) = system {
        if let Some(link) = program::link_of(system, &device::engine::self_update::program(config)) {
            remove(link, &mut done)?;
        }
        let units = units::remove(config, system)?;
        done.removed.extend(units.iter().map(|path| path.display().to_string()));
    }
    remove(config.folder.join(program::DIRECTORY), &mut done)?;
    remove_files_of_record(config, &store, &mut done)?;
    crash::point("files removed");
    if options.purge_data {
        drop(store);
        for path in [config.env(), config.updates(), config.state.clone()] {
            remove(path, &mut done)?;
        }
    } else {
        done.kept
            .extend([config.env(), config.updates(), config.state.clone()].map(|path| path.display().to_string()));
        done.kept.push("the volumes".to_owned());
    }
    // The configuration is what says that something is installed, so it goes last.
    for path in [
        password::hash_file(config),
        config.trusted_keys(),
        config.etc.join(config::FILE),
    ] {
        remove(path, &mut done)?;
    }
    for directory in [&config.etc, &config.folder] {
        remove_if_empty(directory, &mut done)?;
    }
    drop(lock);
    Ok(done)
}

fn remove_containers(
    config: &Config,
    store: &Store,
    engine: &dyn ContainerEngine,
    options: Options,
    done: &mut Uninstalled,
) -> Result<()> {
    let current = store.current()?;
    if !config.compose().is_file() {
        // An uninstallation that was interrupted, or data that is to go now: the release has its own copy.
        match &current {
            Some(current) if current.directory.as_ref().is_some_and(|directory| directory.is_dir()) => {
                release::put_in_place(config, current)?;
            }
            _ => return Ok(()),
        }
    }
    let stack = match &current {
        Some(current) => release::stack(config, current),
        None => Stack {
            directory: config.folder.clone(),
            file: config.compose(),
            pins: None,
            env_file: None,
        },
    };
    if options.purge_data {
        engine.down_with_volumes(&stack)?;
        done.removed.push("containers and volumes".to_owned());
    } else {
        engine.down(&stack)?;
        done.removed.push("containers".to_owned());
    }
    Ok(())
}

/// Images that releases on this device brought, unless a foreign container uses them.
fn remove_images(
    config: &Config,
    store: &mut Store,
    engine: &dyn ContainerEngine,
    progress: &dyn Progress,
    done: &mut Uninstalled,
) -> Result<()> {
    for release in store.releases()? {
        for pin in release.pins.values() {
            match load::release_image(engine, store, &config.product, &pin.id, &pin.reference) {
                Ok(()) if !done.removed.contains(&pin.reference) => done.removed.push(pin.reference.clone()),
                Ok(()) => {}
                Err(error) => {
                    progress.note(&format!("{} stays: {error}", pin.reference));
                    done.kept.push(pin.reference.clone());
                }
            }
        }
    }
    Ok(())
}

/// The compose file, what it was before, and the files that the current release brought along.
fn remove_files_of_record(config: &Config, store: &Store, done: &mut Uninstalled) -> Result<()> {
    if let Some(current) = store.current()? {
        for name in release::extra_files_of(&current)? {
            let path = config.folder.join(&name);
            remove(path.clone(), done)?;
            // Its directories too, as far as nothing else is in them.
            let mut above = path.parent().map(PathBuf::from);
            while let Some(directory) = above.filter(|directory| *directory != config.folder) {
                if !remove_if_empty(&directory, done)? {
                    break;
                }
                above = directory.parent().map(PathBuf::from);
            }
        }
    }
    let mut backup = config.compose().into_os_string();
    backup.push(".bak");
    remove(config.compose(), done)?;
    remove(PathBuf::from(backup), done)
}

fn remove(path: PathBuf, done: &mut Uninstalled) -> Result<()> {
    if fs::symlink_metadata(&path).is_err() {
        return Ok(());
    }
    files::remove(&path)?;
    done.removed.push(path.display().to_string());
    Ok(())
}

/// Removes a directory with nothing in it; whether it is gone.
fn remove_if_empty(directory: &std::path::Path, done: &mut Uninstalled) -> Result<bool> {
    match fs::read_dir(directory) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return Ok(false);
            }
        }
        Err(_) => return Ok(true),
    }
    remove(directory.to_owned(), done)?;
    Ok(true)
}
