//! The product's directories, configuration and keys. What exists stays as an administrator may have changed it.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use bundle::{manifest, signature::PublicKey};

use super::{program, report::Report};
use device::{
    Error, Result,
    config::{self, Config, github::Settings},
    stack::trust,
    system::files,
};

/// Of a directory: only their owner, and root, may rename or remove the files in it (inode(7), `S_ISVTX`).
const STICKY: u32 = 0o1000;

/// The directories, each with the permissions of what is in it. What is there is left as a person may have changed it, but
/// that `updates/` is sticky.
pub(super) fn make_directories(config: &Config, report: &mut Report<'_>) -> Result<()> {
    config.refuse_links()?;
    for (directory, mode) in [
        (config.folder.clone(), 0o755),
        (config.folder.join(program::DIRECTORY), 0o755),
        // A group may be given the right to drop bundles: `chgrp`. Sticky: but not to put others in these directories' place.
        (config.updates(), 0o775 | STICKY),
        (config.applied(), 0o755),
        (config.failed(), 0o755),
        (config.downloads(), 0o755),
        // Dumps hold all of the product's data.
        (config.backups(), 0o700),
        (config.state.clone(), 0o700),
        (config.etc.clone(), 0o755),
    ] {
        make(&directory, mode, report)?;
    }
    // One that was made before it was so.
    let updates = config.updates();
    let metadata = fs::metadata(&updates).map_err(Error::io("read", &updates))?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & STICKY == 0 {
        set_mode(&updates, mode | STICKY)?;
        report.made(format!(
            "{} is sticky: users remove only their own files",
            updates.display()
        ));
    }
    config.make_directories()
}

pub(super) fn make(directory: &Path, mode: u32, report: &mut Report<'_>) -> Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    files::make_directory(directory)?;
    set_mode(directory, mode)?;
    report.made(format!("{}", directory.display()));
    Ok(())
}

/// Configuration and keys. What is there stays.
pub(super) fn configure(
    config: &Config,
    source: Option<&manifest::GitHub>,
    keys: &[PublicKey],
    report: &mut Report<'_>,
) -> Result<()> {
    let place = config.etc.join(config::FILE);
    if !place.is_file() {
        let mut config = config.clone();
        match source.map(Settings::try_from).transpose() {
            Ok(settings) => config.github = settings,
            Err(error) => report.note(format!("newer versions are not looked for: {error}")),
        }
        config.write()?;
        report.made(format!("{}", place.display()));
    }
    let directory = config.trusted_keys();
    let pinned = trust::read(&directory)?;
    for key in keys.iter().filter(|key| !pinned.keys().contains(key)) {
        trust::add(&directory, key)?;
        report.made(format!("bundles signed by {} are accepted", key.id()));
    }
    Ok(())
}

/// `.env` holds secrets; one that a person wrote may be open to all.
pub(super) fn protect_environment(config: &Config, report: &mut Report<'_>) -> Result<()> {
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
