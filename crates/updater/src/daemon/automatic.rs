//! What may be done unasked: downloading what is newer, and applying what is here while a window is open.
//!
//! A bundle that was tried before, whatever came of it, is never tried again unasked: a person has to want it.

use bundle::Digest;
use jiff::{civil::DateTime, tz::TimeZone};
use semver::Version;

use crate::{
    Error, Result,
    config::Config,
    containers::Clock,
    engine::{Opened, Updater},
    state::{Phase, State},
    store::{Store, Update},
};
use crate::{
    config::window::is_open,
    github::releases::{Found, RemoteFile},
};

/// A bundle from GitHub that is on record.
#[derive(Clone, Debug)]
struct Known {
    id: u64,
    digest: Option<Digest>,
    phase: Phase,
    /// Whether it was here as a whole.
    arrived: bool,
}

/// Whether a release is to be downloaded unasked.
///
/// # Errors
/// The record cannot be read.
pub(crate) fn wants(found: &Found, store: &Store) -> Result<bool> {
    let current = store.current()?.map(|current| current.version);
    let mut known = Vec::new();
    for update in store.updates()? {
        if let Some(first) = store.download(update.id)?.into_iter().next() {
            known.push(Known {
                id: first.file.id,
                digest: first.file.digest,
                phase: update.state.phase,
                arrived: update.bundle.is_some(),
            });
        }
    }
    Ok(is_wanted(found, current.as_ref(), &known))
}

fn is_wanted(found: &Found, current: Option<&Version>, known: &[Known]) -> bool {
    let file = found.bundle.as_ref().and_then(|bundle| bundle.files.first());
    // Installing something in the first place is for a person.
    let (Some(file), Some(current)) = (file, current) else {
        return false;
    };
    found.version > *current && !known.iter().any(|known| known.is(file) && known.was_tried())
}

impl Known {
    /// The same bundle: by its content, or by its number where the content is not known.
    fn is(&self, file: &RemoteFile) -> bool {
        match (self.digest, file.digest) {
            (Some(known), Some(digest)) => known == digest,
            _ => self.id == file.id,
        }
    }

    fn was_tried(&self) -> bool {
        match self.phase {
            // It never came here as a whole, and perhaps now does.
            Phase::Failed | Phase::Pending => self.arrived,
            _ => true,
        }
    }
}

/// The update that is to be applied now because its bundle has come from GitHub.
///
/// # Errors
/// The record cannot be read.
pub fn due(config: &Config, store: &Store, clock: &dyn Clock) -> Result<Option<Update>> {
    due_at(config, store, clock.now().to_zoned(TimeZone::system()).datetime())
}

fn due_at(config: &Config, store: &Store, time: DateTime) -> Result<Option<Update>> {
    if config.github.is_none() {
        return Ok(None);
    }
    let is_here = |update: &Update| update.bundle.as_ref().is_some_and(|bundle| bundle.exists());
    let updates = store.updates()?.into_iter().filter(is_here);
    let mut waiting = Vec::new();
    for update in updates {
        match update.state.phase {
            // Whoever wanted it downloaded wanted it applied.
            Phase::Downloading => return Ok(Some(update)),
            Phase::Pending if !store.download(update.id)?.is_empty() => waiting.push(update),
            _ => {}
        }
    }
    if !config.automatic.apply || !is_open(&config.automatic.windows, time) {
        return Ok(None);
    }
    let Some(current) = store.current()? else {
        return Ok(None);
    };
    waiting.retain(|update| update.version > current.version);
    Ok(waiting.into_iter().max_by(|a, b| a.version.cmp(&b.version)))
}

impl Updater<'_> {
    /// Applies the update whose bundle has come from GitHub, if it is time for one.
    ///
    /// # Errors
    /// The record cannot be used. How the update ended is in the record, and noted.
    pub fn apply_what_is_due(&mut self) -> Result<()> {
        let Some(update) = due(self.config, &self.store, self.clock)? else {
            return Ok(());
        };
        // Without an engine it would fail, whatever it is.
        self.engine.facts()?;
        match self.apply_downloaded(&update) {
            Err(error @ Error::Store(_)) => return Err(error),
            Err(error) => self.progress.note(&format!("{}: {error}", update.version)),
            Ok(state) => self.progress.note(&format!("{}: {}", update.version, state.phase)),
        }
        Ok(())
    }

    /// Applies an update, unless nobody asked for it and its bundle failed before.
    fn apply_downloaded(&mut self, update: &Update) -> Result<State> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::github::RemoteBundle;

    fn found(version: &str, id: u64, digest: Option<&str>) -> Found {
        let file = RemoteFile {
            id,
            name: "a.tar.gz".to_owned(),
            url: String::new(),
            download_url: String::new(),
            size: 1,
            digest: digest.map(|text| Digest::of(text.as_bytes())),
        };
        Found {
            version: version.parse().unwrap(),
            page: String::new(),
            notes: String::new(),
            prerelease: false,
            published_at: None,
            bundle: Some(RemoteBundle {
                name: file.name.clone(),
                download_url: String::new(),
                size: 1,
                files: vec![file],
                sums: None,
            }),
        }
    }

    fn known(id: u64, digest: Option<&str>, phase: Phase, arrived: bool) -> Known {
        Known {
            id,
            digest: digest.map(|text| Digest::of(text.as_bytes())),
            phase,
            arrived,
        }
    }

    #[test]
    fn only_what_is_newer_and_new() {
        let current = Version::new(2, 0, 0);
        for (version, known, expected) in [
            ("2.1.0", vec![], true),
            ("2.0.0", vec![], false),
            ("1.9.9", vec![], false),
            ("2.0.0-rc.1", vec![], false),
            ("2.1.0", vec![known(9, Some("other"), Phase::Failed, true)], true),
            ("2.1.0", vec![known(1, Some("a"), Phase::Failed, true)], false),
            // The same bundle under another number.
            ("2.1.0", vec![known(2, Some("a"), Phase::Failed, true)], false),
            // Another bundle in its place is a new chance.
            ("2.1.0", vec![known(1, Some("b"), Phase::Failed, true)], true),
            ("2.1.0", vec![known(1, None, Phase::Failed, true)], false),
            ("2.1.0", vec![known(1, Some("a"), Phase::Failed, false)], true),
            ("2.1.0", vec![known(1, Some("a"), Phase::Pending, false)], true),
            ("2.1.0", vec![known(1, Some("a"), Phase::Pending, true)], false),
            ("2.1.0", vec![known(1, Some("a"), Phase::Downloading, false)], false),
            ("2.1.0", vec![known(1, Some("a"), Phase::RolledBack, true)], false),
            ("2.1.0", vec![known(1, Some("a"), Phase::Stuck, true)], false),
        ] {
            let wanted = is_wanted(&found(version, 1, Some("a")), Some(&current), &known);
            assert_eq!(wanted, expected, "{version} {known:?}");
        }
    }

    #[test]
    fn nothing_is_installed_in_the_first_place() {
        assert!(!is_wanted(&found("2.1.0", 1, None), None, &[]));
        let nothing = Found {
            bundle: None,
            ..found("2.1.0", 1, None)
        };
        assert!(!is_wanted(&nothing, Some(&Version::new(2, 0, 0)), &[]));
    }
}
