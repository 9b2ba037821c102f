//! After the commit: what remains to be done, and what is no longer needed.
//!
//! The new version is the current one already. Nothing here may undo that: what does not work is noted.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    Error, Result,
    containers::Services,
    engine::{Updater, apply::milliseconds_between, intake::is_bundle_name, self_update},
    stack::{
        bundle_files,
        health::{self, Question},
        load, release,
    },
    state::Phase,
    store::{Release, Update},
    system::{crash, files},
};

/// How many digits of its manifest's digest the folder of a bundle in `applied/` is called, if it needs one.
const OWN_FOLDER: usize = 12;

/// How often the services that had to wait for a gated update are started before that is given up.
const START_TRIES: u32 = 3;

/// The file of the work folder that holds what was known when an update failed.
const DIAGNOSIS: &str = "diagnosis.txt";

impl Updater<'_> {
    /// The phase "committing".
    pub(crate) fn commit(&mut self, update: &Update) -> Result<()> {
        let to = self.release_after(update)?;
        let started = match update.state.gated {
            true => self.start_the_rest(update, &to),
            false => Ok(()),
        };
        match self.tidy_up(update) {
            Err(error @ Error::Store(_)) => return Err(error),
            Err(error) => self.warn(update.id, error.with_hint())?,
            Ok(()) => {}
        }
        started
    }

    fn tidy_up(&mut self, update: &Update) -> Result<()> {
        self_update::after_commit(self, update)?;
        self.move_to_applied(update)?;
        crash::point("bundle applied");
        self.prune()?;
        files::remove(&self.work_folder(update))
    }

    /// The services of a gated update that had to wait.
    fn start_the_rest(&mut self, update: &Update, to: &Release) -> Result<()> {
        let stack = release::stack(self.config, to);
        // Nobody else starts them, so an engine that is being restarted, or a service that was slow once, is no reason to stop.
        for tries_left in (0..START_TRIES).rev() {
            self.wait_for_engine()?;
            match self.engine.up(&stack, Services::All) {
                Ok(()) => break,
                Err(error) if tries_left == 0 => return Err(error),
                Err(error) => self
                    .progress
                    .note(&format!("not all services start: {error}; once more")),
            }
        }
        crash::point("rest started");
        let mut facts = self.store.update(update.id)?.facts;
        if let (Some(stopped_at), None) = (&facts.stopped_at, facts.downtime_ms) {
            facts.downtime_ms = milliseconds_between(stopped_at, &self.clock.stamp());
            self.store.set_facts(update.id, &facts)?;
        }
        let question = Question::about(self.config, to)?;
        if let Err(error) = health::wait(self.engine, self.clock, &question, &mut |_| {}) {
            self.warn(
                update.id,
                format!("{error}; the update stays, because the version before cannot read the data any more"),
            )?;
        }
        Ok(())
    }

    /// Moves the bundle to `applied/`; one that lies elsewhere is copied there, because a rollback may need it.
    fn move_to_applied(&mut self, update: &Update) -> Result<()> {
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
    pub(crate) fn keep_current(&mut self, path: &Path, current: &Release) -> Result<()> {
        let kept = current.bundle.as_deref().filter(|kept| *kept != path);
        if kept.is_some_and(Path::exists) {
            return bundle_files::remove(path);
        }
        let place = self.place_in_applied(current, path.file_name().unwrap_or_default())?;
        bundle_files::rename(path, &place)?;
        self.store.set_bundle_of_release(current.id, &place)
    }

    /// Where in `applied/` a release's bundle called `name` lies: under that name, or, if another version's that may be
    /// needed again has it, in a folder of its own. Always the same for a release.
    fn place_in_applied(&self, release: &Release, name: &OsStr) -> Result<PathBuf> {
        let applied = self.config.applied();
        let place = applied.join(name);
        let mut others = [self.store.current()?, self.store.previous()?].into_iter().flatten();
        let is_taken = others.any(|other| other.id != release.id && other.bundle.as_ref() == Some(&place));
        match &release.manifest_digest {
            Some(digest) if is_taken => {
                let folder = applied.join(&digest.hex()[..OWN_FOLDER]);
                files::make_folder(&folder)?;
                Ok(folder.join(name))
            }
            _ => Ok(place),
        }
    }

    /// Moves the bundle to `failed/`, with what is known of why. One that was not dropped is left where it is: a rollback may
    /// need it.
    pub(crate) fn reject(&mut self, id: i64, why: &str) -> Result<()> {
        let update = self.store.update(id)?;
        let Some(bundle) = &update.bundle else { return Ok(()) };
        let Some(name) = bundle.file_name() else { return Ok(()) };
        let place = self.config.failed().join(name);
        let kept = files::read_if_there(&self.work_folder(&update).join(DIAGNOSIS))?;
        let text = kept.map_or_else(
            || self.diagnosis(&update, why),
            |text| String::from_utf8_lossy(&text).into_owned(),
        );
        // On a full disk, say: bringing the old version back must not fail for what is only said about it.
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

    /// Writes down what is known of a failure at the moment of it, if that is possible.
    pub(crate) fn keep_diagnosis(&self, update: &Update, why: &str) {
        let folder = self.work_folder(update);
        let text = self.diagnosis(update, why);
        let kept =
            files::make_folder(&folder).and_then(|()| files::write(&folder.join(DIAGNOSIS), text.as_bytes(), 0o600));
        if let Err(error) = kept {
            self.progress
                .note(&format!("warning: the diagnosis is not kept: {error}"));
        }
    }

    /// Whether a bundle lies where we may move it.
    pub(crate) fn is_ours(&self, bundle: &Path) -> bool {
        bundle.starts_with(self.config.updates())
    }

    /// Removes what the declared rule does not keep, and never what a rollback needs.
    fn prune(&mut self) -> Result<()> {
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
                if let Err(error) = load::let_go(self.engine, &mut self.store, product, &pin.id, &pin.reference) {
                    // A person's container uses it: that is theirs to say.
                    self.progress.note(&format!("{} stays: {error}", pin.reference));
                }
            }
            if let Some(folder) = &release.folder {
                files::remove(folder)?;
            }
            if let Some(bundle) = release
                .bundle
                .as_ref()
                .filter(|bundle| bundle.starts_with(self.config.applied()))
                // Another one may have taken its place.
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
            if !needed && (is_bundle_name(bundle) || is_own_folder(bundle)) {
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
        // The newest first. The record knows their order; the stamps in their names are of clocks that may have been wrong.
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

    /// Keeps the newest failed bundles, `latest` among them, and whatever else a person put there.
    fn prune_failed(&self, latest: &Path) -> Result<()> {
        let folder = self.config.failed();
        let mut bundles: Vec<_> = entries(&folder)?
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
}

/// Whether it is a folder that [`Updater::place_in_applied`] has made.
fn is_own_folder(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    path.is_dir() && name.len() == OWN_FOLDER && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)
        .map_err(Error::io("read", folder))?
        .map(|entry| entry.map(|entry| entry.path()).map_err(Error::io("read", folder)))
        .collect()
}
