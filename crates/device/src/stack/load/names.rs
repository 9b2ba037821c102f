//! The names of images in the engine: the updater's own and the compose file's.
//!
//! ```text
//! updater.invalid/loading:<16>       while it is loaded, in a containerd store only, which keeps nothing without a name
//! updater.local/<product>:<12>       from when it was found whole until its release is neither current nor previous
//! what the compose file calls it     from the switch on; the switch gives it with `ContainerEngine::tag`
//! ```
//!
//! The second is what keeps an image. Between loading and switching nothing else names it, so a `docker image prune` or
//! the garbage collection of containerd would take it away; and afterwards the compose file's name may move on to the next
//! image (`postgres:17` stays the same in many releases), while this one is still needed to go back. The number is
//! the beginning of the image's ID as `docker images` shows it, so one name is one image, and a person sees what
//! belongs together. A `docker system prune --all` takes it nevertheless, and then the image is loaded again.

use bundle::{Digest, names::ProductName};

use crate::{Result, containers::ContainerEngine, store::Store};

/// The name that an image has while it is loaded.
pub(super) fn loading(image: &Digest) -> String {
    format!("updater.invalid/loading:{}", &image.hex()[..16])
}

/// The name that keeps an image of `product` in the engine.
pub fn keeping(product: &ProductName, image: &Digest) -> String {
    format!("updater.local/{product}:{}", &image.hex()[..12])
}

/// Releases an image that no release needs any more: removes our name and, where it still names this image, `reference`
/// from it. The image is deleted with its last name; names that a person gave it stay, and so does the image then.
/// May be repeated. Nothing if it is not there.
///
/// # Errors
/// A container uses it, or the engine does not answer. It is forgotten by the record even then, so nothing is ever
/// built upon it.
pub fn release_image(
    engine: &dyn ContainerEngine,
    store: &mut Store,
    product: &ProductName,
    image: &Digest,
    reference: &str,
) -> Result<()> {
    store.forget_loaded(image)?;
    let id = image.to_string();
    let Some(facts) = engine.image(&id)? else {
        return Ok(());
    };
    let ours = [keeping(product, image), loading(image), reference.to_owned()];
    for name in facts.references.iter().filter(|name| ours.contains(name)) {
        engine.remove_image(name)?;
    }
    match engine.image(&id)? {
        Some(facts) if facts.references.is_empty() => engine.remove_image(&id),
        _ => Ok(()),
    }
}
