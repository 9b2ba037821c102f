//! Loading images from the bundle into the engine: one image at a time, and of it only missing layers.
//!
//! ```text
//! is it there? ── yes ──────────────────────────────────────────────────────────────┐
//!   │ no                                                                            │
//! intent → what is missing → archive on the fly → is it there and whole? → named → synced → recorded
//!                                  │ refused, or not whole
//!                                  └→ everything, once
//! ```
//!
//! "There" is never what a load call said: an engine loads the wrong platform without an error, and a refused load can
//! leave an image behind that looks right. It is the expected ID, the expected architecture, and that a container can be
//! made of it. "Whole" outlives a power cut only after `sync(2)`, because engines do not sync what they unpack; so an image
//! whose loading was begun before the machine was started last, and not recorded, is removed and loaded again.
//!
//! Every step may be repeated. The previous version runs meanwhile and is not touched.
//!
//! A bundle of the legacy release procedure has one archive, which is loaded as it is: [`load_legacy`].

mod archive;
mod intent;
mod legacy;
mod missing;
mod names;
#[cfg(test)]
mod tests;

use std::{
    cell::Cell,
    collections::BTreeSet,
    io::{self, Read, Seek},
};

use bundle::{
    Digest, Platform,
    manifest::{ImageRecord, Manifest, PlatformImage},
    names::ProductName,
    read::VerifiedBundle,
};

use self::{
    archive::Archive,
    missing::{Present, layers},
};
pub use self::{
    legacy::{LoadedArchive, load_legacy},
    names::{keeping, release_image},
};
use crate::{
    Error, Result,
    containers::{ContainerEngine, EngineFacts, ImageStore},
    store::Store,
    system::{crash, timing::timed},
};

/// The result of loading an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its ID in this engine.
    pub id: Digest,
    /// How many bytes the engine was sent.
    pub sent_bytes: u64,
    /// Whether it was there before.
    pub already_there: bool,
}

/// The content of the engine that new images can build upon.
pub(crate) fn present(engine: &dyn ContainerEngine, store: &Store) -> Result<Present> {
    Ok(Present::of(&engine.images()?, &store.loaded()?))
}

/// How many bytes the engine is sent for the images of a bundle: [`Present::bytes_to_send`].
pub(crate) fn missing_bytes(
    engine: &dyn ContainerEngine,
    store: &Store,
    facts: &EngineFacts,
    manifest: &Manifest,
) -> Result<u64> {
    if manifest.is_legacy() {
        return Ok(manifest.images_size);
    }
    Ok(present(engine, store)?.bytes_to_send(&images_for(manifest, facts), facts))
}

/// How many bytes of disk loading the images of a bundle takes in the engine's directory: [`Present::disk_needed`].
pub(crate) fn disk_needed(
    engine: &dyn ContainerEngine,
    store: &Store,
    facts: &EngineFacts,
    manifest: &Manifest,
) -> Result<u64> {
    if manifest.is_legacy() {
        // The unpacked size is unknown: `docker save` writes layers as they are, and the engine copies them.
        return Ok(manifest.images_size.saturating_mul(2));
    }
    Ok(present(engine, store)?.disk_needed(&images_for(manifest, facts), facts))
}

fn images_for<'a>(manifest: &'a Manifest, facts: &EngineFacts) -> Vec<&'a PlatformImage> {
    let images = manifest.image_details.iter();
    images.filter_map(|image| image.on(&facts.platform)).collect()
}

/// Loads `image` for `platform` out of a bundle, unless it is there. It then has the name [`keeping`] gives, and not
/// yet the compose file's. `progress` gets the number of bytes of each piece that is sent.
///
/// # Errors
/// The bundle has no such image for the platform, or cannot be read; the engine is for another platform, goes away,
/// refuses the image, or has something else afterwards.
pub fn load_image(
    engine: &dyn ContainerEngine,
    facts: &EngineFacts,
    store: &mut Store,
    bundle: &mut VerifiedBundle<impl Read + Seek>,
    image: &ImageRecord,
    platform: &Platform,
    progress: &dyn Fn(u64),
) -> Result<Loaded> {
    let product = bundle.manifest().product.clone();
    let on = image.on(platform).ok_or_else(|| {
        let have: Vec<_> = image.platforms.iter().map(|on| on.platform.to_string()).collect();
        Error::refused(
            format!(
                "the bundle has {} for {}, not for {platform}",
                image.reference,
                have.join(", ")
            ),
            "get the bundle for this device's platform, or the one for all",
        )
    })?;
    if *platform != facts.platform {
        return Err(Error::refused(
            format!(
                "{} for {platform} is not for this device, which is {}",
                image.reference, facts.platform
            ),
            "get the bundle for this device's platform, or the one for all",
        ));
    }
    let mut loading = Loading {
        engine,
        facts,
        store,
        product: &product,
        reference: &image.reference,
        image: on,
        id: facts.store.image_id(on),
        sent: Cell::new(0),
    };
    let span = tracing::debug_span!("load image", image = image.reference);
    let already_there = timed(span, ToString::to_string, || {
        let already_there = loading.is_there()?;
        if !already_there {
            loading.load(bundle, progress)?;
        }
        Ok::<_, Error>(already_there)
    })?;
    Ok(Loaded {
        id: loading.id,
        sent_bytes: loading.sent.into_inner(),
        already_there,
    })
}

/// One image that is being loaded.
struct Loading<'a> {
    engine: &'a dyn ContainerEngine,
    facts: &'a EngineFacts,
    store: &'a mut Store,
    product: &'a ProductName,
    reference: &'a str,
    image: &'a PlatformImage,
    id: Digest,
    sent: Cell<u64>,
}

impl Loading<'_> {
    /// Whether the image is there and complete, so that nothing is to be done.
    fn is_there(&mut self) -> Result<bool> {
        let recorded = self.store.loaded()?.contains_key(&self.id);
        if !recorded && intent::is_from_before_boot(self.store, &self.id)? {
            // Its files may be empty, which only a container that runs them notices. An image that a container uses stays:
            // it was there before.
            self.engine.remove_image(&self.id.to_string()).ok();
            return Ok(false);
        }
        // If anything is wrong with it, loading it again fixes it or reports it.
        if self.check().is_err() {
            return Ok(false);
        }
        if !recorded && intent::is_recorded(self.store, &self.id)? {
            // The updater was killed between the load and its record.
            self.finish()?;
        } else {
            self.name()?;
        }
        Ok(true)
    }

    fn load(&mut self, bundle: &mut VerifiedBundle<impl Read + Seek>, progress: &dyn Fn(u64)) -> Result<()> {
        intent::record(self.store, &self.id)?;
        crash::point("loading image");
        self.load_what_is_missing(bundle, progress)?;
        crash::point("image loaded");
        self.finish()
    }

    /// Makes sure that a loaded image lasts, and records it.
    fn finish(&mut self) -> Result<()> {
        self.name()?;
        self.engine.sync();
        crash::point("image synced");
        let blobs = self.image.blobs().map(|(digest, _)| digest).collect();
        self.store.remember_loaded(&self.id, &blobs)?;
        intent::clear(self.store, &self.id)?;
        crash::point("image remembered");
        Ok(())
    }

    fn load_what_is_missing(
        &mut self,
        bundle: &mut VerifiedBundle<impl Read + Seek>,
        progress: &dyn Fn(u64),
    ) -> Result<()> {
        let all = layers(self.image);
        let mut there = self.engine.images()?;
        // What is left of this image itself is not reliable.
        there.retain(|image| image.id != self.id);
        let missing = Present::of(&there, &self.store.loaded()?).missing(self.image, self.facts.store);
        let Err(error) = self.send(bundle, &missing, progress) else {
            return Ok(());
        };
        let refused = matches!(error, Attempt::Refused(_)) && missing != all && self.engine.facts().is_ok();
        if !refused {
            return Err(self.give_up(error));
        }
        tracing::warn!(
            image = self.reference,
            error = %error,
            "the engine does not take the image without the layers that it should have; all are sent"
        );
        self.forget_what_misled(&missing)?;
        self.send(bundle, &all, progress).map_err(|error| self.give_up(error))
    }

    /// Sends the image with the layers in `missing`, and checks the result.
    fn send(
        &self,
        bundle: &mut VerifiedBundle<impl Read + Seek>,
        missing: &BTreeSet<Digest>,
        progress: &dyn Fn(u64),
    ) -> Result<(), Attempt> {
        let mut failed: Option<io::Error> = None;
        let written = Archive::plan(bundle, self.image, self.facts, missing, &names::loading(&self.id));
        let archive = written.map_err(|error| Attempt::Failed(self.unreadable(error)))?;
        let (sent, unreadable) = (&self.sent, &mut failed);
        let loaded = self.engine.load(&mut |out| {
            let count = |bytes| {
                sent.set(sent.get() + bytes);
                progress(bytes);
            };
            archive.write(bundle, out, &count).map_err(|error| {
                // The engine itself reports why it takes no more.
                if error.kind() == io::ErrorKind::BrokenPipe {
                    return error;
                }
                let kind = error.kind();
                *unreadable = Some(error);
                kind.into()
            })
        });
        if let Some(error) = failed {
            return Err(Attempt::Failed(self.unreadable(error)));
        }
        loaded.map_err(Attempt::Refused)?;
        self.check().map_err(Attempt::Refused)
    }

    /// Whether the engine has the image, and whole.
    fn check(&self) -> Result<()> {
        let wrong = |message: String| Error::engine(format!("use the image {} as loaded", self.reference), message);
        let id = self.id.to_string();
        let Some(found) = self.engine.image(&id)? else {
            return Err(wrong(format!("the engine does not have {id}")));
        };
        let expected = self.image.platform.architecture();
        if found.architecture != expected {
            return Err(wrong(format!("it is for {}, not for {expected}", found.architecture)));
        }
        self.engine.try_create(&self.id)
    }

    /// Gives the image the name that keeps it, and removes the temporary one.
    fn name(&self) -> Result<()> {
        self.engine.tag(&self.id, &keeping(self.product, &self.id))?;
        match self.facts.store {
            ImageStore::Classic => Ok(()),
            ImageStore::Containerd => self.engine.remove_image(&names::loading(&self.id)),
        }
    }

    /// Forgets the records of all images that should have brought what the engine then lacked.
    fn forget_what_misled(&mut self, missing: &BTreeSet<Digest>) -> Result<()> {
        let relied: BTreeSet<Digest> = layers(self.image).difference(missing).copied().collect();
        for (image, blobs) in self.store.loaded()? {
            if !blobs.is_disjoint(&relied) {
                self.store.forget_loaded(&image)?;
            }
        }
        Ok(())
    }

    /// The error, after the incomplete image that a refused load can leave behind was removed.
    fn give_up(&self, attempt: Attempt) -> Error {
        if self.facts.store == ImageStore::Containerd {
            self.engine.remove_image(&names::loading(&self.id)).ok();
        }
        match attempt {
            Attempt::Failed(error) | Attempt::Refused(error) => error,
        }
    }

    fn unreadable(&self, error: io::Error) -> Error {
        Error::engine_because(format!("read {} from the bundle", self.reference), error)
    }
}

/// Why an attempt to load failed.
#[derive(Debug, thiserror::Error)]
enum Attempt {
    /// The bundle cannot be read: another attempt would fail too.
    #[error(transparent)]
    Failed(Error),
    /// The engine did not take it, or has something else.
    #[error(transparent)]
    Refused(Error),
}
