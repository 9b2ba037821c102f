//! The loading intent: records an image before it is loaded, so that an incomplete one is known after a power cut.
//!
//! Only a power cut makes it untrustworthy: what a process that died had written stays in the kernel's cache. So the
//! record holds which start of the machine it belongs to (`proc(5)`, `/proc/sys/kernel/random/boot_id`).

use std::fs;

use bundle::Digest;

use crate::{Result, store::Store};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Records that `image` is about to be loaded, and is not whole until that is recorded.
pub(super) fn record(store: &mut Store, image: &Digest) -> Result<()> {
    store.set_setting(&key(image), Some(&boot_id()))?;
    store.forget_loaded(image)
}

/// Records that loading `image` has ended.
pub(super) fn clear(store: &mut Store, image: &Digest) -> Result<()> {
    store.set_setting(&key(image), None)
}

/// Whether loading `image` was begun before the machine was started last, and never ended.
pub(super) fn is_from_before_boot(store: &Store, image: &Digest) -> Result<bool> {
    Ok(store.setting(&key(image))?.is_some_and(|boot| boot != boot_id()))
}

/// Whether loading `image` was begun and never ended.
pub(super) fn is_recorded(store: &Store, image: &Digest) -> Result<bool> {
    Ok(store.setting(&key(image))?.is_some())
}

fn key(image: &Digest) -> String {
    format!("loading {image}")
}

/// Which start of the machine this is; nothing where the kernel does not say.
fn boot_id() -> String {
    let text = fs::read_to_string(BOOT_ID).unwrap_or_default();
    text.trim().to_owned()
}
