//! Starting what should run: at boot, and after a person changed the version by hand.
//!
//! A person may always load images, set the version in `.env` and run Compose themselves. [`Updater::start`] notices a version
//! that the record does not know, and adopts it: what runs by hand is what is current from then on.

use std::collections::BTreeMap;

use bundle::manifest::{DataRule, Manifest};
use semver::Version;

use crate::{
    Error, Result,
    containers::{Services, Stack},
    engine::Updater,
    stack::release,
    state::State,
    store::{Pin, Release, Update},
    system::files,
};

/// The manifest that lies in the product's folder when a person unpacked a bundle there.
const MANIFEST: &str = "manifest.json";

/// What [`Updater::start`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The version that runs; none if nothing is installed.
    pub version: Option<Version>,
    /// Whether it was set by hand and is known from now on.
    pub adopted: bool,
    /// How the update that was under way ended, if one was.
    pub recovered: Option<State>,
}

impl Updater<'_> {
    /// Finishes or undoes what was interrupted, adopts what was set by hand, and starts the services that do not run.
    ///
    /// # Errors
    /// The version that is set cannot run; Compose fails; [`Error::Stuck`].
    pub fn start(&mut self) -> Result<Started> {
        let recovered = self.recover()?;
        let adopted = self.adopt()?;
        let current = self.store.current()?;
        let stuck = self.store.stuck()?;
        // What would be written to a database that is still to be put back would be lost with it.
        let must_rest = stuck.as_ref().is_some_and(Update::owes_data);
        if let Some(current) = current.as_ref().filter(|_| !must_rest) {
            self.engine.up(&release::stack(self.config, current), Services::All)?;
            self.expect_images(current, None)?;
        }
        if let Some(stuck) = stuck {
            return Err(Error::Stuck(stuck.error.unwrap_or_default()));
        }
        Ok(Started {
            version: current.map(|release| release.version),
            adopted,
            recovered,
        })
    }

    /// Stops all services, and leaves their data.
    ///
    /// # Errors
    /// Compose fails.
    pub fn stop(&mut self) -> Result<()> {
        match self.store.current()? {
            Some(current) => self.engine.stop(&release::stack(self.config, &current)),
            None => Ok(()),
        }
    }

    /// Makes the version that a person set in `.env` the current one; whether there was one.
    ///
    /// # Errors
    /// Its images are not loaded, or its files make no sense.
    pub fn adopt(&mut self) -> Result<bool> {
        let current = self.store.current()?;
        let Some(text) = release::version_in_env(self.config, current.as_ref())? else {
            return Ok(false);
        };
        if current
            .as_ref()
            .is_some_and(|current| current.version.to_string() == text)
            || !self.config.compose().is_file()
        {
            return Ok(false);
        }
        // What a failed first installation has left was set by nobody.
        let never_installed = current.is_none() && !self.store.updates()?.is_empty();
        if never_installed || self.store.stuck()?.is_some() {
            return Ok(false);
        }
        let version: Version = text.parse().map_err(|error| Error::Content {
            path: self.config.env(),
            message: format!("`{text}` is not a semantic version: {error}"),
        })?;
        let (project, pins) = self.pins_by_hand(&version)?;
        let stamp = crate::engine::apply::compact(&self.clock.stamp());
        let folder = self.config.releases().join(format!("{version}-by-hand-{stamp}"));
        files::make_folder(&folder)?;
        files::copy(&self.config.compose(), &folder.join(&self.config.compose_file))?;
        let manifest = self.manifest_by_hand(&version)?;
        if let Some((_, bytes)) = &manifest {
            files::write(&folder.join(MANIFEST), bytes, 0o644)?;
        }
        release::write_pins(&folder, &project, &pins)?;
        let data = manifest.map_or_else(DataRule::default, |(manifest, _)| manifest.data);
        let id = self.store.add_release(&Release {
            id: 0,
            version: version.clone(),
            manifest_digest: None,
            folder: Some(folder),
            bundle: None,
            pins,
            data: data.clone(),
            made_on: self.clock.stamp(),
        })?;
        self.store.adopt(id)?;
        // Whoever set it knows what data it has.
        self.store.set_data(&data)?;
        self.progress
            .note(&format!("{version} was set by hand and is the current version now"));
        Ok(true)
    }

    /// The project's name, and the images that the compose file's names mean now.
    fn pins_by_hand(&self, version: &Version) -> Result<(String, BTreeMap<String, Pin>)> {
        let stack = Stack {
            folder: self.config.folder.clone(),
            file: self.config.compose(),
            pins: None,
            env_file: None,
        };
        let mut pins = BTreeMap::new();
        let project = self.engine.project(&stack)?;
        for service in project.services {
            let reference = service.image.unwrap_or_default();
            let image = self.engine.image(&reference)?.ok_or_else(|| {
                Error::refused(
                    format!(".env names version {version}, and {reference} is not loaded"),
                    "docker load -i images.tar, or set the version before back in .env",
                )
            })?;
            pins.insert(
                service.name,
                Pin {
                    reference,
                    id: image.id,
                },
            );
        }
        Ok((project.name, pins))
    }

    /// The manifest of the bundle that was unpacked in the product's folder, if it is this version's.
    fn manifest_by_hand(&self, version: &Version) -> Result<Option<(Manifest, Vec<u8>)>> {
        let Some(bytes) = files::read_if_there(&self.config.folder.join(MANIFEST))? else {
            return Ok(None);
        };
        // One of another version, or of the old form, says nothing about this one.
        Ok(Manifest::from_json(&bytes)
            .ok()
            .filter(|manifest| manifest.version == *version && manifest.product == self.config.product)
            .map(|manifest| (manifest, bytes)))
    }
}
