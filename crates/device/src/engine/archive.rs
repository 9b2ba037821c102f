//! Archiving bundles: in `applied/` when their version runs, in `failed/` when the update failed.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use super::{
    diagnose::{DIAGNOSIS, diagnosis},
    updater::Updater,
};
use crate::{
    Result,
    stack::bundle_files,
    store::{Release, Update},
    system::{crash, files},
};

impl Updater<'_> {
    /// Moves the bundle to `applied/`; copies one from elsewhere, because a rollback may need it.
    pub(super) fn move_to_applied(&mut self, update: &Update) -> Result<()> {
        let Some(bundle) = &update.bundle else { return Ok(()) };
        let Some(name) = bundle.file_name() else { return Ok(()) };
        let place = self.place_in_applied(&self.release_after(update)?, name)?;
        if bundle.exists() && *bundle != place {
            if self.is_ours(bundle) {
                bundle_files::rename(bundle, &place)?;
            } else {
                bundle_files::copy(bundle, &place)?;
            }
        }
        crash::point("bundle moved");
        if place.exists() {
            self.store.set_bundle(update.id, Some(&place))?;
        }
        Ok(())
    }

    /// Keeps a dropped bundle of the version that runs, if a rollback to it could not find another.
    pub(super) fn keep_current(&mut self, path: &Path, current: &Release) -> Result<()> {
        let kept = current.bundle.as_deref().filter(|kept| *kept != path);
        if kept.is_some_and(Path::exists) {
            return bundle_files::remove(path);
        }
        let place = self.place_in_applied(current, path.file_name().unwrap_or_default())?;
        bundle_files::rename(path, &place)?;
        self.store.set_bundle_of_release(current.id, &place)
    }

    /// The path in `applied/` of a release's bundle called `name`: under that name, or, if another version's that may be
    /// needed again has it, in a directory of its own. Always the same for a release.
    fn place_in_applied(&self, release: &Release, name: &OsStr) -> Result<PathBuf> {
        let applied = self.config.applied();
        let place = applied.join(name);
        let mut others = [self.store.current()?, self.store.previous()?].into_iter().flatten();
        let is_taken = others.any(|other| other.id != release.id && other.bundle.as_ref() == Some(&place));
        match &release.manifest_digest {
            Some(digest) if is_taken => {
                let directory = applied.join(&digest.hex()[..OWN_DIRECTORY]);
                files::make_directory(&directory)?;
                Ok(directory.join(name))
            }
            _ => Ok(place),
        }
    }

    /// Moves the bundle to `failed/`, with its diagnosis. One that was not dropped stays where it is: a rollback may
    /// need it.
    pub(super) fn reject(&mut self, id: i64, why: &str) -> Result<()> {
        let update = self.store.update(id)?;
        let Some(bundle) = &update.bundle else { return Ok(()) };
        let Some(name) = bundle.file_name() else { return Ok(()) };
        let place = self.config.failed().join(name);
        let kept = files::read_if_there(&self.work_directory(&update).join(DIAGNOSIS))?;
        let text = kept.map_or_else(
            || diagnosis(self.means(), &self.store, &update, why),
            |text| String::from_utf8_lossy(&text).into_owned(),
        );
        // On a full disk, for example: bringing the previous version back must not fail for its diagnosis.
        if let Err(error) = files::write(&bundle_files::diagnosis(&place), text.as_bytes(), 0o600) {
            self.progress
                .note(&format!("warning: the diagnosis is not kept: {error}"));
        }
        let was_dropped = bundle.parent() == Some(&self.config.updates());
        if bundle.exists() && was_dropped {
            bundle_files::rename(bundle, &place)?;
        }
        crash::point("bundle moved to failed");
        if was_dropped && place.exists() {
            self.store.set_bundle(id, Some(&place))?;
        }
        self.prune_failed(&place)
    }

    /// Moves a bundle that is not tried again to `failed/`.
    pub(super) fn archive_refused(&self, path: &Path, why: &str) -> Result<()> {
        let Some(name) = path.file_name() else { return Ok(()) };
        let place = self.config.failed().join(name);
        let note = bundle_files::diagnosis(&place);
        if !note.exists() {
            files::write(&note, format!("{why}\n").as_bytes(), 0o600)?;
        }
        bundle_files::rename(path, &place)
    }

    /// Whether a bundle is where the updater may move it.
    pub(super) fn is_ours(&self, bundle: &Path) -> bool {
        bundle.starts_with(self.config.updates())
    }
}

/// Digits of the manifest's digest in the name of a bundle's own directory in `applied/`.
pub(super) const OWN_DIRECTORY: usize = 12;
