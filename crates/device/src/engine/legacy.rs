//! Bundles of the legacy release procedure, on a device that trusts no key.
//!
//! They declare only a version and their images. What they do not declare about health, backup and data
//! is taken to be as the running version declares it, and kept with the release, so that it holds for the next one, too.

use bundle::{manifest::Manifest, read::Assumed};

use crate::{
    Result,
    engine::updater::Updater,
    stack::release,
    store::{Release, Update},
};

impl Updater<'_> {
    /// What is assumed of a bundle that does not declare it.
    pub(crate) fn assumed(&self) -> Result<Assumed> {
        let current = self.store.current()?;
        let declared = current.as_ref().map(release::manifest).transpose()?.flatten();
        let version_key = release::version_key(self.config, declared.as_ref());
        let (health, backup) = declared.map_or((None, None), |manifest| (manifest.health, manifest.backup));
        Ok(Assumed {
            product: self.config.product.clone(),
            platform: self.engine.facts()?.platform,
            environment: vec![version_key],
            health,
            backup,
            data: current.map(|current| current.data).unwrap_or_default(),
        })
    }

    /// Gives the images of `release` the names that loading a legacy bundle has taken from them.
    pub(crate) fn give_names_back(&self, update: &Update, release: &Release) -> Result<()> {
        if !update.facts.legacy {
            return Ok(());
        }
        for pin in release.pins.values() {
            let named = self.engine.image(&pin.reference)?.map(|image| image.id);
            // A removed image cannot be named, and it is not the updater that removed it.
            if named != Some(pin.id) && self.engine.image(&pin.id.to_string())?.is_some() {
                self.engine.tag(&pin.id, &pin.reference)?;
            }
        }
        Ok(())
    }
}

/// The warnings before a legacy bundle is applied over `current`.
pub(crate) fn warnings(manifest: &Manifest, current: Option<&Release>) -> Vec<String> {
    let mut warnings = vec![
        "this bundle was made by the old release procedure: only the images in it are protected against damage"
            .to_owned(),
    ];
    if let Some(current) = current.filter(|_| manifest.backup.is_none()) {
        warnings.push(format!(
            "neither this bundle nor {} declares a database: none is saved before the update",
            current.version
        ));
    }
    if manifest.health.is_none() {
        warnings.push("nothing declares how to ask for health: only the containers are looked at".to_owned());
    }
    warnings
}
