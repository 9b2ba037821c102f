//! A bundle from GitHub: wanted, fetched file by file, and put where the updater finds it.
//!
//! Its files are in `updates/downloads/` under hidden names until all of them are whole; then they are renamed, the list of
//! parts last, and only then is the bundle recorded. Fetching has a lock of its own: everything else on the device
//! goes on meanwhile.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use bundle::parts::PartsList;
use semver::Version;
use tracing::{info, info_span};

use super::{
    client::Client,
    fault::Fault,
    file::Fetch,
    releases::{self, Found},
    repository::GitHub,
    schedule::doubled,
};
use device::store::RemoteBundle;
use device::{
    Error, Result,
    config::Config,
    control::progress::Progress,
    engine::{lock::Lock, preflight::WATERMARK},
    stack::bundle_files,
    state::{Event, Phase},
    store::{Change, Download, Fact, NewUpdate, Store, Update},
    system::{crash, files},
};

/// The wait after a first failure at a terminal; it doubles with each that follows.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// How often in a row it may fail without a byte having come.
const TRIES: u32 = 6;

/// The longest of these waits.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// What is to happen with a bundle once it is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It waits for a person.
    Wait,
    /// The daemon applies it.
    Apply,
}

impl GitHub<'_> {
    /// Records that the bundle of a version is wanted. It is fetched from now on: by the daemon, or by
    /// [`GitHub::fetch`].
    ///
    /// The update is `downloading` afterwards, or `pending` with a bundle that is here already.
    ///
    /// # Errors
    /// The version runs already; the record cannot be used.
    pub fn request(&self, store: &mut Store, version: &Version, then: Then) -> Result<Update> {
        if store.current()?.is_some_and(|current| current.version == *version) {
            return Err(Error::refused(
                format!("{version} is installed already"),
                "updater status",
            ));
        }
        let now = self.clock.stamp();
        let known = store.updates()?.into_iter().filter(|update| update.version == *version);
        let known = known.into_iter().find(|update| match update.state.phase {
            Phase::Downloading | Phase::Pending => true,
            // It never was here; what is here of it counts.
            Phase::Failed => update.bundle.is_none(),
            _ => false,
        });
        let update = match known {
            Some(update) => update,
            None => store.add(
                &NewUpdate {
                    version: version.clone(),
                    changelog: String::new(),
                    bundle: None,
                    manifest_digest: None,
                    file_size: None,
                },
                &now,
            )?,
        };
        if then == Then::Apply {
            store.add_facts(update.id, &[Fact::ApplyWhenDownloaded])?;
        }
        let phase = update.state.phase;
        if phase == Phase::Failed {
            store.record(update.id, Event::Retry, &Change::default(), &now)?;
        }
        let is_here = update.bundle.as_ref().is_some_and(|bundle| bundle.exists());
        if phase == Phase::Failed || (phase == Phase::Pending && !is_here) {
            store.record(update.id, Event::Download, &Change::default(), &now)?;
        }
        store.update(update.id)
    }

    /// The right to download, until it is dropped.
    ///
    /// # Errors
    /// [`Error::Busy`]: another process downloads.
    pub fn lock(&self, who: &str) -> Result<Lock> {
        Lock::take(&self.config.download_lock(), who)
    }

    /// Fetches the bundle of an update that is `downloading`, in one try. The caller holds [`GitHub::lock`].
    ///
    /// A failure that may pass leaves the update as it is, with what is here; after any other it is `failed`.
    ///
    /// # Errors
    /// What went wrong.
    pub fn fetch(&self, store: &mut Store, id: i64, progress: &dyn Progress) -> Result<Update> {
        let _span = info_span!("download", version = %store.update(id)?.version).entered();
        store.set_interruption(id, None)?;
        let fetched = self.try_to_fetch(store, id, progress);
        let Err(error) = fetched else {
            return store.update(id);
        };
        // Without a record, there is nothing to say it in.
        if matches!(error, Error::Store(_)) {
            return Err(error);
        }
        if goes_on(&error) {
            store.set_interruption(id, Some(&error.to_string()))?;
        } else if store
            .updates()?
            .iter()
            .any(|update| update.id == id && update.state.phase == Phase::Downloading)
        {
            let change = Change {
                error: Some(error.with_hint()),
                ..Change::default()
            };
            store.record(id, Event::Failed, &change, &self.clock.stamp())?;
            self.release(store, id)?;
        }
        Err(error)
    }

    /// Gives back the disk space that was reserved for what has not come. What has come stays, for another try.
    fn release(&self, store: &Store, id: i64) -> Result<()> {
        for download in store.download(id)? {
            let path = bundle_files::hidden(self.config, &download);
            let cut = fs::OpenOptions::new().write(true).open(&path).and_then(|file| {
                let length = file.metadata()?.len();
                file.set_len(length)
            });
            match cut {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::io("write", &path)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// As [`GitHub::fetch`], again and again at a terminal, until it fails several times without getting on.
    ///
    /// # Errors
    /// What went wrong last.
    pub fn fetch_patiently(&self, store: &mut Store, id: i64, progress: &dyn Progress) -> Result<Update> {
        let mut failures = 0;
        let mut bytes = store.fetched(id)?;
        loop {
            let error = match self.fetch(store, id, progress) {
                Err(error) if goes_on(&error) => error,
                ended => return ended,
            };
            let now = store.fetched(id)?;
            failures = if now == bytes { failures + 1 } else { 1 };
            bytes = now;
            let pause = match Fault::of(&error) {
                // Too long to wait at a terminal.
                Some(Fault::Limited(wait)) if *wait > LONGEST_RETRY => return Err(error),
                Some(Fault::Limited(wait)) => *wait,
                _ => doubled(FIRST_RETRY, failures - 1, LONGEST_RETRY),
            };
            if failures >= TRIES {
                return Err(error);
            }
            progress.note(&format!("{error}; going on in {} s", pause.as_secs()));
            self.clock.sleep(pause);
        }
    }

    fn try_to_fetch(&self, store: &mut Store, id: i64, progress: &dyn Progress) -> Result<()> {
        let update = store.update(id)?;
        if update.state.phase != Phase::Downloading {
            return Err(Error::refused(
                format!("{} is {}, not to be downloaded", update.version, update.state.phase),
                "updater history",
            ));
        }
        files::make_directory(&self.config.downloads())?;
        if store.download(id)?.is_empty() {
            self.resolve(store, &update, false)?;
        }
        self.expect_space(store, id)?;
        let mut fetched = Ok(());
        for (position, download) in store.download(id)?.iter().enumerate() {
            let path = self.place(download);
            let mut fetch = Fetch {
                github: *self,
                store,
                progress,
                update: id,
                position,
            };
            fetched = fetch.run(download, &path);
            if fetched.is_err() {
                break;
            }
            if position == 0 {
                self.expect_parts(store, id, &path)?;
            }
        }
        if let Err(error) = &fetched
            && Fault::of(error).is_some_and(Fault::is_stale)
        {
            // What is asked for the next time is what is there now.
            let before = store.download(id)?;
            self.resolve(store, &update, true)?;
            let name = before
                .first()
                .map(|download| download.file.name.clone())
                .unwrap_or_default();
            if store.download(id)? != before {
                return Err(Fault::Changed { name }.into());
            }
        }
        fetched?;
        self.put_in_place(store, &update)
    }

    /// Finds out of which files the bundle of an update consists.
    fn resolve(&self, store: &mut Store, update: &Update, again: bool) -> Result<()> {
        let Found {
            bundle, notes, page, ..
        } = self.find(store, &update.version, again)?;
        let bundle = bundle.ok_or_else(|| {
            Error::refused(
                format!("the release of {} has no bundle for {}", update.version, self.platform),
                format!("see {page}"),
            )
        })?;
        let bundle = self.with_digests(bundle)?;
        info!(
            bundle = bundle.name,
            bytes = bundle.size,
            "the release has a bundle for this device"
        );
        if update.changelog.is_empty() {
            store.set_changelog(update.id, &notes)?;
        }
        store.set_download(update.id, &bundle)
    }

    /// The bundle with digests from the file of checksums where GitHub knows none.
    fn with_digests(&self, mut bundle: RemoteBundle) -> Result<RemoteBundle> {
        let known = bundle.files.iter().all(|file| file.digest.is_some());
        if let Some(sums) = bundle.sums.as_ref().filter(|_| !known) {
            let text = Client::new(self.settings, self.patience)?.small(sums)?;
            let text = String::from_utf8_lossy(&text);
            for file in &mut bundle.files {
                file.digest = file.digest.or_else(|| releases::digest_in_sums(&text, &file.name));
            }
        }
        Ok(bundle)
    }

    /// Whether the rest of the files fits on the disk.
    fn expect_space(&self, store: &Store, id: i64) -> Result<()> {
        let directory = self.config.downloads();
        let free = files::free_bytes(&directory).map_err(Error::io("measure", &directory))?;
        let mut needed: u64 = 0;
        for download in store.download(id)? {
            // With what was reserved when it was begun before ([`Fetch::run`]), which is not free any more.
            let taken = fs::metadata(self.place(&download)).map_or(0, |file| file.blocks().saturating_mul(512));
            needed = needed.saturating_add(download.file.size.saturating_sub(taken));
        }
        if needed > 0 && needed.saturating_add(WATERMARK) > free {
            return Err(Error::refused(
                format!(
                    "the download needs {needed} more bytes, and {} has {free}, of which {WATERMARK} must stay free",
                    directory.display()
                ),
                format!("make room there, then: updater download {}", store.update(id)?.version),
            ));
        }
        Ok(())
    }

    /// Whether the files of a release are the parts that the list at `path` names; a bundle of one file has no list.
    fn expect_parts(&self, store: &Store, id: i64, path: &Path) -> Result<()> {
        let downloads = store.download(id)?;
        let [_, parts @ ..] = downloads.as_slice() else {
            return Ok(());
        };
        if parts.is_empty() {
            return Ok(());
        }
        let json = fs::read(path).map_err(Error::io("read", path))?;
        let list = PartsList::from_json(&json)?;
        let named = list.parts.iter().map(|part| (&part.name, part.size));
        if named.ne(parts.iter().map(|part| (&part.file.name, part.file.size))) {
            return Err(Error::refused(
                format!(
                    "the release does not have the parts that {} names",
                    downloads[0].file.name
                ),
                format!("the release is not complete: see {}", self.releases_page()),
            ));
        }
        Ok(())
    }

    /// Gives the files their names, and the update its bundle.
    fn put_in_place(&self, store: &mut Store, update: &Update) -> Result<()> {
        let downloads = store.download(update.id)?;
        let [first, parts @ ..] = downloads.as_slice() else {
            return Err(Error::refused("there is nothing to download", "updater check"));
        };
        for download in parts.iter().chain([first]) {
            let hidden = bundle_files::hidden(self.config, download);
            // After an interruption some have theirs already.
            if hidden.exists() {
                files::rename(&hidden, &self.shown(download))?;
                crash::point("download named");
            }
        }
        let change = Change {
            bundle: Some(self.shown(first)),
            ..Change::default()
        };
        if update.facts.apply_when_downloaded {
            return store.set_bundle(update.id, change.bundle.as_deref());
        }
        store.record(update.id, Event::Downloaded, &change, &self.clock.stamp())?;
        Ok(())
    }

    /// Where a file is: under its own name only after an interruption while files were given theirs.
    fn place(&self, download: &Download) -> PathBuf {
        let (hidden, shown) = (bundle_files::hidden(self.config, download), self.shown(download));
        let is_whole = download.at == download.file.size;
        if is_whole && !hidden.exists() && shown.exists() {
            shown
        } else {
            hidden
        }
    }

    fn shown(&self, download: &Download) -> PathBuf {
        self.config.downloads().join(&download.file.name)
    }
}

/// Whether a download goes on by itself after this.
pub(crate) fn goes_on(error: &Error) -> bool {
    Fault::of(error).is_some_and(|fault| fault.passes() || matches!(fault, Fault::Changed { .. }))
}

/// Removes what no update waits for any more. The caller holds the download lock.
///
/// # Errors
/// The directory or the record cannot be used.
pub(crate) fn clean(config: &Config, store: &Store) -> Result<()> {
    let directory = config.downloads();
    let mut needed = BTreeSet::new();
    for update in store.updates()? {
        if update.state.phase.is_over() && update.bundle.is_some() {
            continue;
        }
        needed.extend(
            store
                .download(update.id)?
                .into_iter()
                .map(|download| download.file.name),
        );
        if let Some(bundle) = update.bundle.filter(|bundle| bundle.starts_with(&directory)) {
            let names = bundle_files::all(&bundle)?.into_iter();
            needed.extend(names.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())));
        }
    }
    for entry in fs::read_dir(&directory).map_err(Error::io("read", &directory))? {
        let path = entry.map_err(Error::io("read", &directory))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !needed.contains(name.trim_start_matches(files::TEMPORARY)) {
            files::remove(&path)?;
        }
    }
    Ok(())
}
