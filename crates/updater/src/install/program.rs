//! The updater's own program: the running one, copied to `<folder>/bin/updater`.
//!
//! `install.sh` runs the program that the bundle brings, after checking it, so the running one is the right one; it is
//! also what a person chose to run. One that is installed and newer stays: an updater never moves backwards.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{report::Report, units::System};
use device::{
    Error, Result,
    config::Config,
    engine::self_update,
    system::{crash, files},
};

/// The program's directory in the product's.
pub(super) const DIRECTORY: &str = "bin";

/// The running program, even if its file was replaced.
const RUNNING: &str = "/proc/self/exe";

/// Where people's shells look first for what an administrator installed.
const NAME: &str = "updater";

/// Installs the running program, and a link to it where shells look.
///
/// # Errors
/// It cannot be read or written.
pub(super) fn install(config: &Config, system: Option<&System>, report: &mut Report<'_>) -> Result<()> {
    let place = self_update::program(config);
    if !is_same(Path::new(RUNNING), &place)? {
        let newer = self_update::version_of(&place).filter(|version| *version > device::version());
        match newer {
            Some(version) => report.note(format!(
                "{} is version {version} and stays: this one is older",
                place.display()
            )),
            None => {
                copy_running(&place)?;
                report.made(format!("{}", place.display()));
            }
        }
    }
    crash::point("program installed");
    match system {
        Some(system) => link(system, &place, report),
        None => Ok(()),
    }
}

fn copy_running(place: &Path) -> Result<()> {
    let mut source = File::open(RUNNING).map_err(Error::io("read", RUNNING))?;
    files::write_with(place, 0o755, |out| io::copy(&mut source, out).map(drop))
}

/// Whether two files have the same content.
fn is_same(one: &Path, other: &Path) -> Result<bool> {
    let Ok(there) = fs::metadata(other) else {
        return Ok(false);
    };
    let running = fs::metadata(one).map_err(Error::io("read", one))?;
    if (running.dev(), running.ino()) == (there.dev(), there.ino()) {
        return Ok(true);
    }
    Ok(running.len() == there.len() && self_update::digest_of(one)? == self_update::digest_of(other)?)
}

/// `updater` as a command. Another product's, or a foreign program, is left alone.
fn link(system: &System, place: &Path, report: &mut Report<'_>) -> Result<()> {
    let link = system.programs().join(NAME);
    match fs::symlink_metadata(&link) {
        Ok(_) if fs::read_link(&link).is_ok_and(|target| target == place) => Ok(()),
        Ok(_) => {
            report.note(format!(
                "{} is something else; the command is {}",
                link.display(),
                place.display()
            ));
            Ok(())
        }
        Err(_) => {
            files::make_directory(&system.programs())?;
            std::os::unix::fs::symlink(place, &link).map_err(Error::io("make", &link))?;
            files::sync_directory_of(&link)?;
            report.made(format!("{}", link.display()));
            Ok(())
        }
    }
}

/// The link, if it is ours.
pub(super) fn link_of(system: &System, place: &Path) -> Option<PathBuf> {
    let link = system.programs().join(NAME);
    fs::read_link(&link).is_ok_and(|target| target == place).then_some(link)
}
