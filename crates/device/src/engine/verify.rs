//! Verifying: checks that the bundle is complete and trusted, and that this device can take it. Changes nothing.
//!
//! The file is opened once; what is used later is read from this very file, and hashed again then. All problems are
//! reported at once ([`crate::engine::preflight`]).

use std::path::Path;

use bundle::{
    parts::find_damage,
    read::{Layers, Trust, VerifyError, verify_with_legacy},
};

use super::{
    legacy,
    preflight::{Gate, Permissions},
    run::Ended,
    updater::{Opened, Updater, milliseconds},
};
use crate::{
    Error, Result,
    stack::{
        bundle_files::{self, Bundle},
        release, trust,
    },
    state::Event,
    store::{Change, Fact, Release, Update},
    system::files,
};

impl Updater<'_> {
    /// The phase "verifying".
    pub(super) fn verify(&mut self, update: &Update) -> Result<Ended> {
        let mut opened = match self.take_open(update) {
            Some(opened) => opened,
            None => self.open(update)?,
        };
        let manifest = opened.bundle.manifest().clone().into_inner();
        let digest = opened.bundle.manifest_digest();
        self.store
            .set_identity(update.id, &manifest.version, &manifest.changelog, digest)?;
        let mut facts = vec![Fact::Verified(self.verify_ms)];
        if opened.bundle.signed_by().is_none() {
            let text = "no trusted key verifies this bundle: this device trusts no key";
            self.progress
                .note(&format!("warning: {text}; hint: updater trust add KEY"));
            facts.push(Fact::Warning(text.to_owned()));
        }
        if opened.bundle.is_legacy() {
            facts.push(Fact::Legacy);
            for text in legacy::warnings(&manifest, self.store.current()?.as_ref()) {
                self.progress.note(&format!("warning: {text}"));
                facts.push(Fact::Warning(text));
            }
        }
        let substitutes = manifest.image_details.iter().filter(|image| image.substitute);
        facts.extend(substitutes.map(|image| {
            Fact::Warning(format!(
                "{} is made from a substitute: not for production",
                image.reference
            ))
        }));
        let permissions = Permissions {
            downgrade: update.facts.allow_downgrade,
        };
        let work = self.work_directory(update);
        let findings = self.examine(&mut opened.bundle, &manifest, &work, permissions, &opened.engine)?;
        if !findings.problems.is_empty() {
            return Err(Error::Problems(findings.problems));
        }
        if let Some(current) = &findings.current {
            let declared = release::manifest(current)?.and_then(|manifest| manifest.backup);
            facts.extend(declared.or_else(|| manifest.backup.clone()).map(Fact::Database));
            facts.push(Fact::WasHealthy(self.is_healthy(current)?));
            self.store.set_releases(update.id, Some(current.id), None)?;
            if self.keep_changes(current)? {
                facts.push(Fact::Warning(format!(
                    "{} was changed by hand: the change stays with {} and is not in {}",
                    self.config.compose_file, current.version, manifest.version
                )));
            }
        }
        self.save_for_undo(&work)?;
        self.keep_open(opened);
        let event = match findings.gate {
            Gate::Gated => Event::VerifiedGated,
            Gate::Open | Gate::Unreadable => Event::Verified,
        };
        Ok((event, Change::found(facts)))
    }

    /// Opens and verifies the bundle of an update.
    pub(super) fn open(&mut self, update: &Update) -> Result<Opened> {
        let path = update.bundle.clone().ok_or_else(|| {
            Error::refused(
                "the update has no bundle",
                "drop its bundle into updates/, or upload it",
            )
        })?;
        let bundle = self.open_path(&path)?;
        Ok(Opened {
            update: update.id,
            bundle,
            engine: self.engine.facts()?,
        })
    }

    /// Opens and verifies a bundle by the keys that this device trusts.
    ///
    /// # Errors
    /// It cannot be read or is refused.
    pub fn open_path(&mut self, path: &Path) -> Result<Bundle> {
        let keys = trust::read(&self.config.trusted_keys())?;
        let source = bundle_files::open(path)?;
        let size = source.size().map_err(Error::io("read", path))?;
        self.progress.begin("verifying", Some(size));
        let trust = match keys.keys() {
            [] => Trust::Unsigned,
            _ => Trust::Keys(&keys),
        };
        let progress = |bytes| self.progress.advance(bytes);
        let assumed = self.assumed()?;
        let began = self.clock.elapsed();
        let verified = verify_with_legacy(source, &trust, &assumed, Layers::WhenRead, &progress);
        self.verify_ms = milliseconds(self.clock.elapsed().saturating_sub(began));
        match verified {
            Err(error @ VerifyError::Io(_)) => Err(error.into()),
            // Which part is damaged says more than what the damage did to the whole.
            Err(error) => {
                find_damage(path)?;
                Err(error.into())
            }
            Ok(bundle) => Ok(bundle),
        }
    }

    /// The bundle of the update, verified: the one that this process verified before, or, after a crash, again.
    pub(super) fn opened(&mut self, update: &Update) -> Result<Opened> {
        if let Some(opened) = self.take_open(update) {
            return Ok(opened);
        }
        let opened = self.open(update)?;
        if Some(opened.bundle.manifest_digest()) != update.manifest_digest {
            return Err(Error::refused(
                "the bundle is another one than when the update began",
                "apply it as a new update",
            ));
        }
        Ok(opened)
    }

    /// Keeps a verified bundle for the update that comes next, so that it is not verified again.
    pub(super) fn keep_open(&mut self, opened: Opened) {
        self.opened = Some(opened);
    }

    /// The bundle of the update, if this process has verified it.
    pub(super) fn take_open(&mut self, update: &Update) -> Option<Opened> {
        self.opened.take_if(|opened| opened.update == update.id)
    }

    /// A compose file that a person changed is what the running version runs by, so that is what comes back. Whether it was.
    fn keep_changes(&self, current: &Release) -> Result<bool> {
        let Some(directory) = &current.directory else {
            return Ok(false);
        };
        let (own, there) = (directory.join(&self.config.compose_file), self.config.compose());
        let text = files::read_if_there(&there)?;
        if text.is_none() || text == files::read_if_there(&own)? {
            return Ok(false);
        }
        self.engine.project(&release::stack(self.config, current))?;
        files::copy(&there, &own)?;
        Ok(true)
    }

    /// Copies what the switch replaces and what no release directory holds.
    fn save_for_undo(&self, work: &Path) -> Result<()> {
        let env = self.config.env();
        if env.is_file() {
            files::copy(&env, &work.join("env"))?;
        }
        Ok(())
    }
}
