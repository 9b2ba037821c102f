//! The phase "loading": brings a release's missing images and its files to this device.
//!
//! An image that is there is not loaded again. Images that a person removed come from the bundle in `applied/`.

use super::{run::Ended, updater::Updater};
use crate::{
    Error, Result,
    stack::{bundle_files::Bundle, load, release},
    state::Event,
    store::{Change, Fact, Release, Update},
};

impl Updater<'_> {
    /// The phase "loading". Afterwards every image can run, and the release's files are on this device.
    pub(super) fn load(&mut self, update: &Update) -> Result<Ended> {
        let mut opened = self.opened(update)?;
        let manifest = opened.bundle.manifest().clone().into_inner();
        let mut sent_bytes = 0;
        let mut ids = None;
        if opened.bundle.is_legacy() {
            self.progress.begin("loading images", Some(manifest.images_size));
            let progress = |bytes| self.progress.advance(bytes);
            let loaded = load::load_legacy(
                self.engine,
                &opened.engine,
                &mut self.store,
                &mut opened.bundle,
                &progress,
            )?;
            sent_bytes = loaded.sent_bytes;
            ids = Some(loaded.ids);
        }
        for image in &manifest.image_details {
            let total = image
                .on(&opened.engine.platform)
                .map(|image| image.layers.iter().map(|layer| layer.size).sum());
            self.progress.begin(&format!("loading {}", image.reference), total);
            let loaded = load::load_image(
                self.engine,
                &opened.engine,
                &mut self.store,
                &mut opened.bundle,
                image,
                &opened.engine.platform.clone(),
                &|bytes| self.progress.advance(bytes),
            )?;
            sent_bytes += loaded.sent_bytes;
        }
        let stack = self.write_new_files(&mut opened.bundle, &manifest, &self.work_directory(update))?;
        let project = self.engine.project(&stack)?;
        let pins = match &ids {
            Some(ids) => release::pins_of(&project.services, |reference| ids.get(reference).copied())?,
            None => release::pins(&project.services, &manifest, &opened.engine)?,
        };
        let digest = opened.bundle.manifest_digest();
        let directory = release::directory_of(self.config, &manifest, &digest.hex());
        release::prepare(self.config, &mut opened.bundle, &directory, &project.name, &pins)?;
        let to = self.store.add_release(&Release {
            id: 0,
            version: manifest.version.clone(),
            manifest_digest: Some(digest),
            directory: Some(directory),
            bundle: update.bundle.clone(),
            pins,
            data: manifest.data.clone(),
            made_on: self.clock.stamp(),
        })?;
        self.store.set_releases(update.id, update.from, Some(to))?;
        self.keep_open(opened);
        Ok((Event::Loaded, Change::found([Fact::Sent(sent_bytes)])))
    }

    /// Loads the images of a release that a person removed from its bundle in `applied/`.
    pub(super) fn make_images_available(&mut self, update: &Update, release: &Release) -> Result<()> {
        let missing = self.missing_images(release)?;
        if missing.is_empty() {
            return Ok(());
        }
        let gone = || {
            Error::refused(
                format!(
                    "{} is no longer on this device, and neither is the bundle of {}",
                    missing.join(", "),
                    release.version
                ),
                format!(
                    "copy {}'s bundle here and apply it with --allow-downgrade",
                    release.version
                ),
            )
        };
        let path = release.bundle.as_ref().filter(|path| path.exists()).ok_or_else(gone)?;
        let mut bundle = self.open_path(path)?;
        self.load_again(release, &missing, &mut bundle)?;
        self.progress.note(&format!(
            "{}: images were loaded again for {}",
            release.version, update.version
        ));
        Ok(())
    }

    /// The references of a release's images that no container can be created from.
    ///
    /// # Errors
    /// The engine does not answer.
    pub fn missing_images(&self, release: &Release) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        for pin in release.pins.values() {
            let there = self.engine.image(&pin.id.to_string())?.is_some() && self.engine.try_create(&pin.id).is_ok();
            if !there && !missing.contains(&pin.reference) {
                missing.push(pin.reference.clone());
            }
        }
        Ok(missing)
    }

    /// Loads images of a release again, by their references, from its bundle.
    ///
    /// # Errors
    /// The bundle cannot be read, or the engine refuses an image.
    pub fn load_again(&mut self, release: &Release, missing: &[String], bundle: &mut Bundle) -> Result<()> {
        let manifest = bundle.manifest().clone().into_inner();
        let engine = self.engine.facts()?;
        let progress = |bytes| self.progress.advance(bytes);
        if bundle.is_legacy() {
            self.progress.begin("loading images again", Some(manifest.images_size));
            load::load_legacy(self.engine, &engine, &mut self.store, bundle, &progress)?;
            for pin in release.pins.values() {
                self.engine.try_create(&pin.id)?;
            }
        }
        let images = manifest.image_details.iter();
        for image in images.filter(|image| missing.contains(&image.reference)) {
            self.progress.begin(&format!("loading {} again", image.reference), None);
            load::load_image(
                self.engine,
                &engine,
                &mut self.store,
                bundle,
                image,
                &engine.platform,
                &progress,
            )?;
        }
        Ok(())
    }
}
