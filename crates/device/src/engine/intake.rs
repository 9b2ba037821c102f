//! Bundles that are dropped into `updates/`: found, waited for until they are whole, and applied in version order.
//!
//! A file is taken when it has not changed for a moment, nobody has it open for writing, and it is whole: a copy that
//! stalls looks finished, so a bundle that ends too early is waited for, and given up only when it has not grown for
//! [`GIVEN_UP`]. The same goes for the parts of a bundle: they are taken when their list is there, and all that it names.
//! A bundle that failed before is known by its manifest's digest and not tried again by itself.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use bundle::parts::LIST_ENDING;
use bundle::read::{VerifyError, read_manifest};
use semver::Version;

use crate::{
    Error, Result,
    config::Config,
    containers::EngineFacts,
    engine::{Opened, Updater, preflight::Permissions},
    stack::bundle_files::{self, Bundle},
    state::{Phase, State},
    store::{Facts, NewUpdate, Update},
    system::files,
};

/// How long a file must not have changed.
pub const QUIET: Duration = Duration::from_secs(3);

/// How long a file that is not whole may stay as it is before it is given up.
pub const GIVEN_UP: Duration = Duration::from_secs(15 * 60);

/// What bundles are called at their end.
const ENDINGS: [&str; 3] = [".tar.gz", ".zip", LIST_ENDING];

/// What is known about the files in `updates/`.
#[derive(Debug, Default)]
pub struct Intake {
    seen: BTreeMap<PathBuf, Seen>,
}

#[derive(Clone, Debug)]
struct Seen {
    files: Vec<Looks>,
    /// Since when it has looked so, on a clock that never jumps.
    since: Duration,
    /// Whether it was found to be not whole while it looked so.
    cut_off: bool,
}

/// Name, size and time of a file.
type Looks = (PathBuf, u64, (i64, i64));

impl Intake {
    /// The bundles that have not changed for a moment and that nobody writes. `now` is of a clock that never jumps.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn quiet_files(&mut self, config: &Config, now: Duration) -> Result<Vec<PathBuf>> {
        let folder = config.updates();
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
            let path = entry.map_err(Error::io("read", &folder))?.path();
            let Ok(metadata) = fs::symlink_metadata(&path) else {
                // Gone again.
                continue;
            };
            if !metadata.is_file() || !is_bundle_name(&path) {
                continue;
            }
            let files = looks_of(&path)?;
            let seen = match self.seen.get(&path) {
                Some(seen) if seen.files == files => seen.clone(),
                _ => Seen {
                    files,
                    since: now,
                    cut_off: false,
                },
            };
            found.insert(path, seen);
        }
        self.seen = found;
        let quiet = |(path, seen): (&PathBuf, &Seen)| {
            // One that was not whole is so until it changes; reading it again and again would only wear the disk.
            let patience = if seen.cut_off { GIVEN_UP } else { QUIET };
            let is_quiet = now.saturating_sub(seen.since) >= patience
                && !seen.files.iter().any(|(file, ..)| is_open_for_writing(file));
            is_quiet.then(|| path.clone())
        };
        Ok(self.seen.iter().filter_map(quiet).collect())
    }

    /// Remembers that a file, as it looks now, is not whole.
    fn cut_off(&mut self, path: &Path) {
        if let Some(seen) = self.seen.get_mut(path) {
            seen.cut_off = true;
        }
    }

    /// For how long a file has looked as it does.
    pub fn unchanged_for(&self, path: &Path, now: Duration) -> Duration {
        self.seen
            .get(path)
            .map_or(Duration::ZERO, |seen| now.saturating_sub(seen.since))
    }

    /// Whether something is there whose turn may come soon.
    pub fn is_waiting(&self) -> bool {
        !self.seen.is_empty()
    }
}

impl Updater<'_> {
    /// Applies what lies in `updates/`, the oldest version first; how each ended. What is still being copied is left.
    ///
    /// # Errors
    /// The record or the folder cannot be used; the engine does not answer, and then nothing is touched.
    pub fn take_in(&mut self, intake: &mut Intake) -> Result<Vec<(PathBuf, Result<State>)>> {
        let now = self.clock.elapsed();
        let mut bundles: Vec<_> = intake
            .quiet_files(self.config, now)?
            .into_iter()
            .map(|path| (version_of(&path), path))
            .collect();
        if bundles.is_empty() {
            return Ok(Vec::new());
        }
        // Without an engine every bundle would fail, whatever it is.
        self.engine.facts()?;
        bundles.sort();
        let mut taken = Vec::new();
        for (_, path) in bundles {
            let unchanged = intake.unchanged_for(&path, now);
            match self.take(&path, unchanged)? {
                Some(outcome) => taken.push((path, outcome)),
                None => intake.cut_off(&path),
            }
        }
        Ok(taken)
    }

    /// Applies one dropped bundle; none if it is to be waited for.
    fn take(&mut self, path: &Path, unchanged: Duration) -> Result<Option<Result<State>>> {
        // Somebody uploaded it: it is whole, and wanted, whatever became of it before.
        if let Some(waiting) = self.store.waiting_with(path)? {
            let begun = self.begin_asked(waiting.id);
            return self.ended(waiting.id, begun);
        }
        let opened = match self.open_path(path) {
            Err(Error::Verify(VerifyError::Truncated)) if unchanged < GIVEN_UP => return Ok(None),
            Err(Error::Parts(error)) if error.may_still_come() && unchanged < GIVEN_UP => {
                self.progress.note(&format!("waiting: {error}"));
                return Ok(None);
            }
            opened => opened,
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.progress.note(&format!("found {name}"));
        if let Ok(bundle) = &opened {
            let digest = bundle.manifest_digest();
            if let Some(why) = self.store.refusal(&digest)? {
                let text = format!("this bundle failed before and is not tried again by itself: {why}");
                self.file_away(path, &text)?;
                return Ok(Some(Err(Error::refused(
                    text,
                    format!("updater apply {name} tries it again"),
                ))));
            }
            let current = self.store.current()?;
            if let Some(current) = current.filter(|current| current.manifest_digest == Some(digest)) {
                self.keep_current(path, &current)?;
                let text = format!("{} is installed already", bundle.manifest().version);
                return Ok(Some(Err(Error::refused(text, "updater status"))));
            }
        }
        let update = match opened {
            Ok(bundle) => {
                let engine = self.engine.facts()?;
                self.enter(path, bundle, engine, Permissions::default())?
            }
            // Recorded all the same: whoever dropped it looks for why nothing happened.
            Err(_) => self.add(&NewUpdate {
                version: version_of(path).unwrap_or(Version::new(0, 0, 0)),
                changelog: String::new(),
                bundle: Some(path.to_owned()),
                manifest_digest: None,
                file_size: bundle_files::size(path),
            })?,
        };
        let begun = self.begin(update.id);
        self.ended(update.id, begun)
    }

    /// Applies what was begun, and gives how it ended, unless the record cannot be used.
    fn ended(&mut self, id: i64, begun: Result<()>) -> Result<Option<Result<State>>> {
        match begun.and_then(|()| self.go_on(id)) {
            Err(error @ Error::Store(_)) => Err(error),
            outcome => Ok(Some(outcome)),
        }
    }

    /// Records a bundle that a person wants to be applied, even if it failed before.
    ///
    /// # Errors
    /// It is refused, or the record cannot be written.
    pub fn take_by_hand(&mut self, path: &Path, permissions: Permissions) -> Result<Update> {
        let bundle = self.open_path(path)?;
        let engine = self.engine.facts()?;
        self.enter_by_hand(path, bundle, engine, permissions)
    }

    /// As [`Updater::take_by_hand`], for a bundle that was verified already.
    pub fn enter_by_hand(
        &mut self,
        path: &Path,
        bundle: Bundle,
        engine: EngineFacts,
        permissions: Permissions,
    ) -> Result<Update> {
        self.store.forgive(&bundle.manifest_digest())?;
        self.enter(path, bundle, engine, permissions)
    }

    /// Records a verified bundle as an update that waits, and keeps it open for it.
    fn enter(&mut self, path: &Path, bundle: Bundle, engine: EngineFacts, permissions: Permissions) -> Result<Update> {
        let update = match self.store.waiting_with(path)? {
            // It came from GitHub.
            Some(update) => update,
            None => self.add(&NewUpdate {
                version: bundle.manifest().version.clone(),
                changelog: bundle.manifest().changelog.clone(),
                bundle: Some(path.to_owned()),
                manifest_digest: Some(bundle.manifest_digest()),
                file_size: bundle_files::size(path),
            })?,
        };
        let facts = Facts {
            allow_downgrade: permissions.downgrade,
            ..update.facts
        };
        self.store.set_facts(update.id, &facts)?;
        self.keep_open(Opened {
            update: update.id,
            bundle,
            engine,
        });
        self.store.update(update.id)
    }

    /// Applies a downloaded update, unless nobody asked for it and its bundle failed before.
    ///
    /// # Errors
    /// As [`Updater::apply`]; the bundle failed before.
    pub fn apply_unasked(&mut self, update: &Update) -> Result<State> {
        if update.state.phase == Phase::Pending
            && let Some(path) = &update.bundle
            && let Ok(bundle) = self.open_path(path)
        {
            if let Some(why) = self.store.refusal(&bundle.manifest_digest())? {
                let text = format!("this bundle failed before and is not tried again by itself: {why}");
                self.store.forget_download(update.id, &text)?;
                return Err(Error::refused(text, format!("updater download {}", update.version)));
            }
            let engine = self.engine.facts()?;
            self.keep_open(Opened {
                update: update.id,
                bundle,
                engine,
            });
        }
        self.apply(update.id)
    }

    /// Moves a bundle that is not tried again to `failed/`.
    fn file_away(&self, path: &Path, why: &str) -> Result<()> {
        let Some(name) = path.file_name() else { return Ok(()) };
        let place = self.config.failed().join(name);
        let note = bundle_files::diagnosis(&place);
        if !note.exists() {
            files::write(&note, format!("{why}\n").as_bytes(), 0o600)?;
        }
        bundle_files::rename(path, &place)
    }
}

/// The version that a bundle says to be, without any check: good enough for an order.
fn version_of(path: &Path) -> Option<Version> {
    let found = read_manifest(bundle_files::open(path).ok()?).ok()?;
    Some(found.manifest.version().clone())
}

/// What the files of a bundle look like, so that any change of any of them is seen.
fn looks_of(path: &Path) -> Result<Vec<Looks>> {
    let looks = |path: PathBuf| {
        // Gone again.
        let metadata = fs::symlink_metadata(&path).ok()?;
        Some((path, metadata.size(), (metadata.mtime(), metadata.mtime_nsec())))
    };
    Ok(bundle_files::all(path)?.into_iter().filter_map(looks).collect())
}

/// Hidden names are files in the making, ours and those of `rsync`.
pub(crate) fn is_bundle_name(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    !name.starts_with('.') && ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Whether any process has the file open for writing (`proc(5)`, `/proc/PID/fd` and `fdinfo`): a copy that stalls.
/// A process that may not be looked at is passed over.
fn is_open_for_writing(path: &Path) -> bool {
    let Ok(wanted) = fs::metadata(path) else { return false };
    let Ok(processes) = fs::read_dir("/proc") else {
        return false;
    };
    processes.flatten().any(|process| {
        let folder = process.path().join("fd");
        let Ok(descriptors) = fs::read_dir(&folder) else {
            return false;
        };
        descriptors.flatten().any(|descriptor| {
            // Names are compared first: most descriptors are sockets and pipes.
            fs::read_link(descriptor.path()).is_ok_and(|target| target.is_absolute())
                && fs::metadata(descriptor.path())
                    .is_ok_and(|file| (file.dev(), file.ino()) == (wanted.dev(), wanted.ino()))
                && is_writing(&process.path().join("fdinfo").join(descriptor.file_name()))
        })
    })
}

/// Whether a descriptor's `flags` (octal; the lowest two bits are the access mode) let its owner write.
fn is_writing(fdinfo: &Path) -> bool {
    let text = fs::read_to_string(fdinfo).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    flags
        .and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok())
        .is_some_and(|flags| flags & 0b11 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_whole_is_looked_at_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::for_product(&"app".parse().unwrap());
        config.folder = folder.path().to_owned();
        fs::create_dir(config.updates()).unwrap();
        let path = config.updates().join("a.tar.gz");
        fs::write(&path, "half").unwrap();
        let mut intake = Intake::default();
        assert_eq!(quiet_at(&mut intake, &config, 0), 0);
        assert_eq!(quiet_at(&mut intake, &config, 4), 1);
        intake.cut_off(&path);
        assert_eq!(quiet_at(&mut intake, &config, 60), 0);
        fs::write(&path, "whole now").unwrap();
        assert_eq!(quiet_at(&mut intake, &config, 61), 0);
        assert_eq!(quiet_at(&mut intake, &config, 65), 1);
        intake.cut_off(&path);
        assert_eq!(quiet_at(&mut intake, &config, 66), 0);
        assert_eq!(quiet_at(&mut intake, &config, 61 + GIVEN_UP.as_secs()), 1);
    }

    fn quiet_at(intake: &mut Intake, config: &Config, seconds: u64) -> usize {
        intake.quiet_files(config, Duration::from_secs(seconds)).unwrap().len()
    }

    #[test]
    fn a_file_that_is_being_written_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar.gz");
        let file = fs::File::create(&path).unwrap();
        assert!(is_open_for_writing(&path));
        drop(file);
        let _reading = fs::File::open(&path).unwrap();
        assert!(!is_open_for_writing(&path));
    }

    #[test]
    fn only_bundles_are_looked_at() {
        for (name, expected) in [
            ("webmacs-update-2.1.0.tar.gz", true),
            ("webmacs-update-2.1.0.zip", true),
            (".webmacs-update-2.1.0.tar.gz.Xy3a", false),
            (".partial-a.tar.gz", false),
            ("notes.txt", false),
        ] {
            assert_eq!(is_bundle_name(Path::new(name)), expected, "{name}");
        }
    }
}
