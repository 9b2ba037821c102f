//! Adopting a version that a person set by hand.
//!
//! A person may always load images, set the version in `.env` and run Compose themselves. The version that runs then is
//! the current one from then on.

use std::collections::BTreeMap;

use bundle::manifest::{DataRule, Manifest};
use semver::Version;

use super::updater::{Updater, compact};
use crate::{
    Error, Result,
    containers::Stack,
    stack::release,
    store::{Pin, Release},
    system::files,
};

/// The manifest in the product's directory, where a person unpacked a bundle.
const MANIFEST: &str = "manifest.json";

impl Updater<'_> {
    /// Makes the version that a person set in `.env` the current one. Returns whether there was one.
    ///
    /// # Errors
    /// Its images are not loaded, or its files are invalid.
    pub(crate) fn adopt(&mut self) -> Result<bool> {
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
        // What a failed first installation has left was not set by hand.
        let never_installed = current.is_none() && !self.store.updates()?.is_empty();
        if never_installed || self.store.stuck()?.is_some() {
            return Ok(false);
        }
        let version: Version = text.parse().map_err(|error| Error::Content {
            path: self.config.env(),
            message: format!("`{text}` is not a semantic version: {error}"),
        })?;
        let (project, pins) = self.pins_by_hand(&version)?;
        let stamp = compact(&self.clock.stamp());
        let directory = self.config.releases().join(format!("{version}-by-hand-{stamp}"));
        files::make_directory(&directory)?;
        files::copy(&self.config.compose(), &directory.join(&self.config.compose_file))?;
        let manifest = self.manifest_by_hand(&version)?;
        if let Some((_, bytes)) = &manifest {
            files::write(&directory.join(MANIFEST), bytes, 0o644)?;
        }
        release::write_pins(&directory, &project, &pins)?;
        let data = manifest.map_or_else(DataRule::default, |(manifest, _)| manifest.data);
        let id = self.store.add_release(&Release {
            id: 0,
            version: version.clone(),
            manifest_digest: None,
            directory: Some(directory),
            bundle: None,
            pins,
            data: data.clone(),
            made_on: self.clock.stamp(),
        })?;
        self.store.adopt(id)?;
        // The person who set it knows what data it has.
        self.store.set_data(&data)?;
        self.progress
            .note(&format!("{version} was set by hand and is the current version now"));
        Ok(true)
    }

    /// The project's name, and the images that the compose file's names mean now.
    fn pins_by_hand(&self, version: &Version) -> Result<(String, BTreeMap<String, Pin>)> {
        let stack = Stack {
            directory: self.config.folder.clone(),
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

    /// The manifest of the bundle that was unpacked in the product's directory, if it is this version's.
    fn manifest_by_hand(&self, version: &Version) -> Result<Option<(Manifest, Vec<u8>)>> {
        let Some(bytes) = files::read_if_there(&self.config.folder.join(MANIFEST))? else {
            return Ok(None);
        };
        // A manifest of another version, or of the legacy form, does not describe this version.
        Ok(Manifest::from_json(&bytes)
            .ok()
            .filter(|manifest| manifest.version == *version && manifest.product == self.config.product)
            .map(|manifest| (manifest, bytes)))
    }
}
