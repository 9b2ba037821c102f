//! Intake of bundles from `updates/`: finds them, waits until they are complete, and applies them in version order.
//!
//! A file is taken when it has not changed for a moment, no process has it open for writing, and it is whole: a copy that
//! stalls looks finished, so a bundle that ends too early is waited for, and given up only when it has not grown for
//! [`GIVEN_UP`]. The same goes for the parts of a bundle: they are taken when their list is there, and all that it names.
//! A bundle that failed before is known by its manifest's digest and not tried again by itself.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bundle::read::{VerifyError, read_manifest};
use semver::Version;

use super::{
    drop_directory::{DropDirectory, GIVEN_UP},
    preflight::Permissions,
    updater::{Opened, Updater},
};
use crate::{
    Error, Result,
    containers::EngineFacts,
    stack::bundle_files::{self, Bundle},
    state::{Phase, State},
    store::{Fact, NewUpdate, Update},
};

impl Updater<'_> {
    /// Applies the bundles in `updates/`, the oldest version first, and returns how each ended. Skips incomplete copies.
    ///
    /// # Errors
    /// The record or the directory cannot be used; the engine does not answer, and then nothing is touched.
    pub fn take_in(&mut self, dropped: &mut DropDirectory) -> Result<Vec<(PathBuf, Result<State>)>> {
        let now = self.clock.elapsed();
        let mut bundles: Vec<_> = dropped
            .quiet_files(self.config, now)?
            .into_iter()
            .map(|path| (version_of(&path), path))
            .collect();
        if bundles.is_empty() {
            return Ok(Vec::new());
        }
        // Without an engine every bundle would fail.
        self.engine.facts()?;
        bundles.sort();
        let mut taken = Vec::new();
        for (_, path) in bundles {
            let unchanged = dropped.unchanged_for(&path, now);
            match self.take(&path, unchanged)? {
                Some(outcome) => taken.push((path, outcome)),
                None => dropped.cut_off(&path),
            }
        }
        Ok(taken)
    }

    /// Applies one dropped bundle; none if it is to be waited for.
    fn take(&mut self, path: &Path, unchanged: Duration) -> Result<Option<Result<State>>> {
        // A person uploaded it: it is whole, and wanted even if it failed before.
        if let Some(waiting) = self.store.waiting_with(path)? {
            return self.applied(waiting.id);
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
                self.archive_refused(path, &text)?;
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
            // Recorded all the same: the person who dropped it looks for why nothing happened.
            Err(_) => self.add(&NewUpdate {
                version: version_of(path).unwrap_or(Version::new(0, 0, 0)),
                changelog: String::new(),
                bundle: Some(path.to_owned()),
                manifest_digest: None,
                file_size: bundle_files::size(path),
            })?,
        };
        self.applied(update.id)
    }

    /// Applies an update, and gives how it ended, unless the record cannot be used.
    fn applied(&mut self, id: i64) -> Result<Option<Result<State>>> {
        match self.apply(id) {
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
        self.store.clear_rejection(&bundle.manifest_digest())?;
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
        self.store
            .add_facts(update.id, &[Fact::AllowDowngrade(permissions.downgrade)])?;
        self.keep_open(Opened {
            update: update.id,
            bundle,
            engine,
        });
        self.store.update(update.id)
    }

    /// Applies a downloaded update, unless no person asked for it and its bundle failed before.
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
}

/// The version that a bundle says to be, without any check: good enough for an order.
fn version_of(path: &Path) -> Option<Version> {
    let found = read_manifest(bundle_files::open(path).ok()?).ok()?;
    Some(found.manifest.version().clone())
}
