//! Retention: removes what the declared rule does not keep, and never what a rollback needs.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use super::{archive::OWN_DIRECTORY, updater::Updater};
use crate::{
    Error, Result,
    stack::{
        bundle_files::{self, is_bundle_name},
        load,
    },
    state::Phase,
    store::{Release, Update},
    system::files,
};

impl Updater<'_> {
    /// Removes what the declared rule does not keep, and never what a rollback needs.
    pub(super) fn prune(&mut self) -> Result<()> {
        let kept: Vec<Release> = [self.store.current()?, self.store.previous()?]
            .into_iter()
            .flatten()
            .collect();
        let images: BTreeSet<_> = kept
            .iter()
            .flat_map(|release| release.pins.values().map(|pin| pin.id))
            .collect();
        for release in self.store.releases()? {
            if kept.iter().any(|kept| kept.id == release.id) {
                continue;
            }
            for pin in release.pins.values().filter(|pin| !images.contains(&pin.id)) {
                let product = &self.config.product;
                if let Err(error) = load::release_image(self.engine, &mut self.store, product, &pin.id, &pin.reference)
                {
                    // A person's container uses it, so the person decides.
                    self.progress.note(&format!("{} stays: {error}", pin.reference));
                }
            }
            if let Some(directory) = &release.directory {
                files::remove(directory)?;
            }
            if let Some(bundle) = release
                .bundle
                .as_ref()
                .filter(|bundle| bundle.starts_with(self.config.applied()))
                // Another bundle may have replaced it.
                .filter(|bundle| !kept.iter().any(|kept| kept.bundle.as_ref() == Some(bundle)))
            {
                bundle_files::remove(bundle)?;
            }
        }
        // A copy that was dropped twice, or the bundle of a version that was rolled back.
        for path in entries(&self.config.applied())? {
            // Parts belong to their list, even where that is gone already.
            let list = bundle_files::list_of_part(&path);
            let bundle = list.as_ref().unwrap_or(&path);
            let mut needed = kept.iter().filter_map(|release| release.bundle.as_ref());
            let needed = needed.any(|needed| needed.starts_with(bundle));
            if !needed && (is_bundle_name(bundle) || is_own_directory(bundle)) {
                files::remove(&path)?;
            }
        }
        self.prune_backups()
    }

    fn prune_backups(&self) -> Result<()> {
        let updates = self.store.updates()?;
        let of = |update: &Update| {
            let facts = update.facts.clone();
            [facts.gated_backup, facts.backup].into_iter().flatten()
        };
        let under_way = |update: &&Update| update.state.phase.is_active() || update.state.phase == Phase::Stuck;
        let is_complete = |update: &&Update| update.state.phase == Phase::Completed;
        let needed = updates
            .iter()
            .find(under_way)
            .or_else(|| updates.iter().find(is_complete));
        let needed: Vec<PathBuf> = needed.into_iter().flat_map(of).collect();
        // The newest first. The order comes from the record, as the clock of the stamps in the names may have been wrong.
        let recorded: Vec<PathBuf> = updates.iter().flat_map(of).collect();
        let mut backups: Vec<_> = entries(&self.config.backups())?
            .into_iter()
            .filter(|path| path.extension() == Some(OsStr::new("sql")))
            .collect();
        let age = |path: &PathBuf| {
            recorded
                .iter()
                .position(|recorded| recorded == path)
                .unwrap_or(usize::MAX)
        };
        backups.sort_by(|a, b| age(a).cmp(&age(b)).then(b.cmp(a)));
        let old = backups.iter().skip(self.config.keep.backups);
        for path in old.filter(|path| !needed.contains(path)) {
            files::remove(path)?;
        }
        Ok(())
    }

    /// Keeps the newest failed bundles, `latest` among them, and everything else that a person put there.
    pub(super) fn prune_failed(&self, latest: &Path) -> Result<()> {
        let directory = self.config.failed();
        let mut bundles: Vec<_> = entries(&directory)?
            .into_iter()
            .filter(|path| is_bundle_name(path) && path.is_file() && !path.is_symlink())
            .collect();
        bundles.sort_by_key(|path| fs::metadata(path).and_then(|file| file.modified()).ok());
        let old = bundles.len().saturating_sub(self.config.keep.failed);
        for path in bundles.iter().filter(|path| *path != latest).take(old) {
            bundle_files::remove(path)?;
            files::remove(&bundle_files::diagnosis(path))?;
        }
        Ok(())
    }

    /// Removes what was put aside for updates that have ended. A stuck one's may be needed.
    pub(super) fn tidy(&self) -> Result<()> {
        let directory = self.config.work();
        if self.store.stuck()?.is_some() || !directory.exists() {
            return Ok(());
        }
        for entry in fs::read_dir(&directory).map_err(Error::io("read", &directory))? {
            files::remove(&entry.map_err(Error::io("read", &directory))?.path())?;
        }
        Ok(())
    }
}

/// Whether it is a directory that [`Updater::place_in_applied`] has made.
fn is_own_directory(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    path.is_dir() && name.len() == OWN_DIRECTORY && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(directory)
        .map_err(Error::io("read", directory))?
        .map(|entry| entry.map(|entry| entry.path()).map_err(Error::io("read", directory)))
        .collect()
}
