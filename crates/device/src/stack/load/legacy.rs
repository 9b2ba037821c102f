//! A bundle of the legacy release procedure: its `images.tar`, as `docker save` wrote it, straight into the engine.
//!
//! ```text
//! intent → names for what runs → the whole archive → is every image there, and for this device? → named → synced
//! ```
//!
//! Such a load names images by itself, and so may take a name from an image that runs: only the release's pins say which
//! image a service had, and undoing the update gives the names back. Nothing says beforehand what IDs the
//! images will have, nor for which platform they are. May be repeated.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    io::{self, Read, Seek},
};

use bundle::{Digest, read::VerifiedBundle};

use super::{archive, intent, names::keeping};
use crate::{
    Error, Result,
    containers::{ContainerEngine, EngineFacts},
    store::{Pin, Store},
    system::{crash, timing::timed},
};

/// Bytes that are read at once.
const CHUNK: usize = 128 * 1024;

/// The result of loading the images of a legacy bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedArchive {
    /// Each image's ID in this engine, by the name that the bundle gives it.
    pub ids: BTreeMap<String, Digest>,
    /// How many bytes the engine was sent.
    pub sent_bytes: u64,
}

/// Loads all images of a legacy bundle. `progress` gets the number of bytes of each piece that is sent.
///
/// # Errors
/// The bundle cannot be read; the engine refuses it, or afterwards lacks an image or has it for another platform. What was
/// loaded is then removed again, as far as nothing else needs it.
pub fn load_legacy(
    engine: &dyn ContainerEngine,
    facts: &EngineFacts,
    store: &mut Store,
    bundle: &mut VerifiedBundle<impl Read + Seek>,
    progress: &dyn Fn(u64),
) -> Result<LoadedArchive> {
    let manifest = bundle.manifest().clone().into_inner();
    let digest = bundle.manifest_digest();
    let needed: Vec<Pin> = [store.current()?, store.previous()?]
        .into_iter()
        .flatten()
        .flat_map(|release| release.pins.into_values())
        .collect();
    let remove = || {
        let needed: BTreeSet<_> = needed.iter().map(|pin| pin.id).collect();
        for reference in &manifest.images {
            if let Ok(Some(image)) = engine.image(reference)
                && !needed.contains(&image.id)
            {
                // An image that a container uses stays.
                engine.remove_image(&image.id.to_string()).ok();
            }
        }
    };
    if intent::is_from_before_boot(store, &digest)? {
        // Their files may be empty, which only a container that runs them notices.
        remove();
    }
    intent::record(store, &digest)?;
    for pin in &needed {
        // A removed image cannot lose its name.
        engine.tag(&pin.id, &keeping(&manifest.product, &pin.id)).ok();
    }
    crash::point("loading images");
    let span = tracing::debug_span!("load images", %digest);
    let sent = timed(span, ToString::to_string, || send(engine, bundle, progress));
    let loaded = sent.and_then(|sent_bytes| {
        crash::point("images loaded");
        let ids = check(engine, facts, &manifest.images)?;
        for id in ids.values() {
            engine.tag(id, &keeping(&manifest.product, id))?;
        }
        Ok(LoadedArchive { ids, sent_bytes })
    });
    if loaded.is_err() {
        remove();
    }
    let loaded = loaded?;
    engine.sync();
    crash::point("images synced");
    intent::clear(store, &digest)?;
    Ok(loaded)
}

/// Sends the archive; how many bytes it had.
fn send(
    engine: &dyn ContainerEngine,
    bundle: &mut VerifiedBundle<impl Read + Seek>,
    progress: &dyn Fn(u64),
) -> Result<u64> {
    let mut unreadable: Option<io::Error> = None;
    let sent = Cell::new(0);
    let loaded = engine.load(&mut |out| {
        let count = |bytes| {
            sent.set(sent.get() + bytes);
            progress(bytes);
        };
        let mut images = bundle.open_images()?;
        let copied = archive::copy(&mut images, &mut vec![0; CHUNK], out, &count);
        copied.map(drop).map_err(|error| {
            // The engine itself reports why it takes no more.
            if error.kind() == io::ErrorKind::BrokenPipe {
                return error;
            }
            let kind = error.kind();
            unreadable = Some(error);
            kind.into()
        })
    });
    match unreadable {
        Some(error) => Err(Error::engine_because("read images.tar from the bundle", error)),
        None => loaded.map(|()| sent.get()),
    }
}

/// The ID of every image, once each is there, for this device, and can be run.
fn check(engine: &dyn ContainerEngine, facts: &EngineFacts, references: &[String]) -> Result<BTreeMap<String, Digest>> {
    let mut ids = BTreeMap::new();
    for reference in references {
        let found = engine.image(reference)?.ok_or_else(|| {
            Error::refused(
                format!("the bundle names {reference}, which its images.tar does not bring"),
                "make the bundle again",
            )
        })?;
        // An engine loads the wrong platform without an error.
        let expected = facts.platform.architecture();
        if found.architecture != expected {
            return Err(Error::refused(
                format!(
                    "{reference} is for {}, and this device is {expected}",
                    found.architecture
                ),
                "get the bundle for this device's platform",
            ));
        }
        engine.try_create(&found.id)?;
        ids.insert(reference.clone(), found.id);
    }
    Ok(ids)
}
