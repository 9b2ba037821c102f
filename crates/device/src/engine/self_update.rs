//! The updater's own updates: after a committed update, the program of its bundle replaces the installed one.
//!
//! ```text
//! prepare   the bundle's program, verified, to bin/updater.new; it must run, know its version and open this device's
//!           record; one that does not, or is older, is dropped
//! switch    a trial is noted → bin/updater becomes bin/updater.previous → bin/updater.new becomes bin/updater
//! (restart) the daemon sees that its file was replaced, ends, and the service manager starts the new program [`Watch`]
//! settle    the new program is ready: the trial is over
//! fall back the new program ends or hangs at five starts: the service manager calls `bin/updater.previous fall-back`
//! ```
//!
//! A trial names the new program by its digest, so the next start after a crash knows whether the switch was made.
//! The program never moves backwards: rolling the product back leaves it, and a bundle with an older one does too. A
//! program that failed its trial is remembered and not tried again. Nothing of this happens in a process that is not the
//! installed program.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::Duration,
};

use bundle::{
    Digest, Platform,
    manifest::{FileRecord, FileRole, Manifest},
};
use semver::Version;

use crate::{
    Error, Result,
    config::{self, Config},
    containers::ContainerEngine,
    control::progress::Progress,
    engine::Updater,
    error::ProcessError,
    stack::bundle_files::Bundle,
    store::{Store, Update},
    system::{crash, files, process},
};

/// How long a new program may take to show that it works: opening the record on a slow card.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a program that is busy is tried again, and after which time.
const BUSY_TRIES: u32 = 20;
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// The running program, even if its file was replaced or removed.
const RUNNING: &str = "/proc/self/exe";

/// The digest of a program that is on trial.
const TRIAL: &str = "updater.trial";

/// The digest of a program that failed its trial.
const FAILED: &str = "updater.failed";

/// The installed program.
pub fn program(config: &Config) -> PathBuf {
    config.folder.join("bin/updater")
}

/// The program that was installed before.
pub fn previous(config: &Config) -> PathBuf {
    config.folder.join("bin/updater.previous")
}

fn new(config: &Config) -> PathBuf {
    config.folder.join("bin/updater.new")
}

fn trial(config: &Config) -> PathBuf {
    config.state.join(TRIAL)
}

fn failed(config: &Config) -> PathBuf {
    config.state.join(FAILED)
}

/// The role of the running process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Running {
    /// The installed program.
    Installed,
    /// The previous program: another one replaced it while it ran.
    Previous,
    /// Something else, such as a test.
    Other,
}

fn running(config: &Config) -> Running {
    let Some(own) = own_identity() else {
        return Running::Other;
    };
    if identity(&program(config)) == Some(own) {
        Running::Installed
    } else if identity(&previous(config)) == Some(own) {
        Running::Previous
    } else {
        Running::Other
    }
}

fn own_identity() -> Option<(u64, u64)> {
    #[cfg(any(test, feature = "testing"))]
    if let Some(own) = pretended::OWN.get() {
        return Some(own);
    }
    identity(Path::new(RUNNING))
}

/// Tests are the installed program by saying so.
#[cfg(any(test, feature = "testing"))]
pub mod pretended {
    use std::{cell::Cell, path::Path};

    thread_local! {
        pub(super) static OWN: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
    }

    /// This thread is a process that runs `program`, as the file is now.
    pub fn run(program: &Path) {
        OWN.set(super::identity(program));
    }
}

/// Device and inode of a file.
fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

/// Notices that another program replaced the running one.
#[derive(Debug)]
pub struct Watch {
    installed: bool,
}

impl Watch {
    /// Watches from now on.
    pub fn start(config: &Config) -> Self {
        Self {
            installed: running(config) == Running::Installed,
        }
    }

    /// Whether the process should end, so that the service manager starts the program that is installed now.
    pub fn is_replaced(&self, config: &Config) -> bool {
        self.installed && running(config) != Running::Installed
    }
}

/// Moves to the program that a bundle brought, in the phase "committing" of its update. What does not work is a warning
/// of the update, which stays. May be repeated.
///
/// # Errors
/// The record cannot be written.
pub(crate) fn after_commit(updater: &mut Updater<'_>, update: &Update) -> Result<()> {
    let config = updater.config;
    if running(config) == Running::Other {
        return Ok(());
    }
    match prepare_from(updater, update) {
        Ok(true) => match switch(config) {
            Ok(()) => {
                updater.progress.note("the updater was updated");
                Ok(())
            }
            Err(error) => updater.warn(update.id, format!("the updater stays as it is: {error}")),
        },
        Ok(false) => Ok(()),
        Err(error @ Error::Store(_)) => Err(error),
        Err(error) => updater.warn(update.id, format!("the updater stays as it is: {error}")),
    }
}

fn prepare_from(updater: &mut Updater<'_>, update: &Update) -> Result<bool> {
    let mut opened = updater.opened(update)?;
    let manifest = opened.bundle.manifest().clone().into_inner();
    let (config, progress) = (updater.config, updater.progress);
    let prepared = prepare(config, &mut opened.bundle, &manifest, &Platform::host(), progress);
    updater.keep_open(opened);
    Ok(prepared?.is_some())
}

/// Puts the bundle's program for `platform` beside the installed one, and makes sure that it works on this device. None if
/// there is no other one to move to.
///
/// # Errors
/// It does not work, or a file cannot be read or written. Nothing is left of it then.
pub fn prepare(
    config: &Config,
    bundle: &mut Bundle,
    manifest: &Manifest,
    platform: &Platform,
    progress: &dyn Progress,
) -> Result<Option<PathBuf>> {
    let place = new(config);
    // A file of an interrupted update.
    files::remove(&place)?;
    let Some(record) = record_of(manifest, platform) else {
        return Ok(None);
    };
    let digest = record.sha256.0;
    if digest_of(&program(config)).ok() == Some(digest) {
        return Ok(None);
    }
    if read_digest(&failed(config))? == Some(digest) {
        progress.note("the bundle's updater failed on this device before and is not tried again");
        return Ok(None);
    }
    let mut content = bundle.open_file(&record.name).map_err(Error::io("read", &place))?;
    files::write_with(&place, 0o755, |out| io::copy(&mut content, out).map(drop))?;
    crash::point("new updater written");
    match expect_works(config, &place) {
        Ok(version) if version < crate::version() => {
            progress.note(&format!(
                "the bundle's updater {version} is older than this one and is not taken"
            ));
            files::remove(&place)?;
            Ok(None)
        }
        Ok(_) => Ok(Some(place)),
        Err(error) => {
            files::remove(&place)?;
            Err(error)
        }
    }
}

fn record_of<'a>(manifest: &'a Manifest, platform: &Platform) -> Option<&'a FileRecord> {
    let is_it = |role: &FileRole| matches!(role, FileRole::Updater { platform: on } if on == platform);
    manifest.files.iter().find(|file| is_it(&file.role))
}

/// `updater self-check`: whether this program can work on this device. Opening the record may add what is new in it,
/// which an older program passes over.
///
/// # Errors
/// The record or the engine cannot be used.
pub fn check(config: &Config, engine: &dyn ContainerEngine) -> Result<()> {
    let store = Store::open(&config.database())?;
    store.updates()?;
    store.current()?;
    engine.facts().map(drop)
}

/// The new program's version, once it has shown that it runs and can work with this device's record and engine.
fn expect_works(config: &Config, program: &Path) -> Result<Version> {
    let text = say_version(program)?;
    let version = parse_version(&text).ok_or_else(|| {
        Error::engine(
            "try the bundle's updater",
            format!("it says to be `{}`", text.chars().take(60).collect::<String>()),
        )
    })?;
    if version >= crate::version() {
        let mut command = Command::new(program);
        command
            .arg("--config")
            .arg(config.etc.join(config::FILE))
            .arg("self-check");
        process::execute(command, PATIENCE)?;
    }
    Ok(version)
}

/// `updater 2.1.0`.
fn parse_version(text: &str) -> Option<Version> {
    text.trim().strip_prefix("updater ")?.parse().ok()
}

/// The version that a program says to be; none if it cannot be run.
pub fn version_of(program: &Path) -> Option<Version> {
    parse_version(&say_version(program).ok()?)
}

/// A file that was just written is busy as long as a child, of another thread, still has it open: until its `exec`.
fn say_version(program: &Path) -> Result<String, ProcessError> {
    let mut tries = 0;
    loop {
        let mut command = Command::new(program);
        command.arg("--version");
        match process::read(command, PATIENCE) {
            Err(ProcessError::Run { source, .. })
                if source.kind() == io::ErrorKind::ExecutableFileBusy && tries < BUSY_TRIES =>
            {
                tries += 1;
                thread::sleep(BUSY_PAUSE);
            }
            said => return said,
        }
    }
}

/// Makes the prepared program the installed one, on trial. May be repeated; nothing if none is prepared.
///
/// # Errors
/// A file cannot be written.
pub fn switch(config: &Config) -> Result<()> {
    let (new, place) = (new(config), program(config));
    if !new.is_file() {
        return Ok(());
    }
    files::write(&trial(config), digest_of(&new)?.to_string().as_bytes(), 0o644)?;
    crash::point("trial noted");
    // If two bundles were applied before a restart, the previous program is the one that runs.
    if running(config) != Running::Previous {
        replace_by_link(&place, &previous(config))?;
    }
    crash::point("old updater kept");
    files::rename(&new, &place)?;
    crash::point("updater switched");
    Ok(())
}

/// Makes `to` another name of the file `from`, and replaces what was there.
fn replace_by_link(from: &Path, to: &Path) -> Result<()> {
    let name = to.file_name().unwrap_or_default().to_string_lossy();
    let temporary = to.with_file_name(format!("{}{name}", files::TEMPORARY));
    files::remove(&temporary)?;
    fs::hard_link(from, &temporary).map_err(Error::io("link", &temporary))?;
    // A rename between two names of one file does nothing (POSIX rename); then the temporary one is left.
    files::rename(&temporary, to)?;
    files::remove(&temporary)
}

/// Ends the trial: the new program has shown that it works. Does nothing if no trial is under way.
///
/// # Errors
/// The note of it cannot be removed.
pub fn settle(config: &Config) -> Result<()> {
    match running(config) {
        Running::Installed => files::remove(&trial(config)),
        Running::Previous | Running::Other => Ok(()),
    }
}

/// Puts the previous program back if the installed one is on trial. Returns whether it was. May be repeated.
///
/// # Errors
/// A file cannot be read or written.
pub fn fall_back(config: &Config) -> Result<bool> {
    let (trial, place, previous) = (trial(config), program(config), previous(config));
    let Some(digest) = read_digest(&trial)? else {
        return Ok(false);
    };
    let on_trial = digest_of(&place).ok() == Some(digest);
    if on_trial && previous.is_file() {
        files::write(&failed(config), digest.to_string().as_bytes(), 0o644)?;
        crash::point("failed updater noted");
        replace_by_link(&previous, &place)?;
        crash::point("updater put back");
    }
    files::remove(&trial)?;
    Ok(on_trial)
}

fn read_digest(path: &Path) -> Result<Option<Digest>> {
    let bytes = files::read_if_there(path)?;
    // An invalid file says nothing.
    Ok(bytes.and_then(|bytes| String::from_utf8_lossy(&bytes).trim().parse().ok()))
}

/// The digest of a file's content.
pub fn digest_of(path: &Path) -> Result<Digest> {
    let hashed = File::open(path).and_then(bundle::hash_all);
    hashed.map(|(digest, _)| digest).map_err(Error::io("read", path))
}
