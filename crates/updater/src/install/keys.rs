//! Whom to trust, before anything of a bundle is used.
//!
//! ```text
//! keys are pinned on this device       one of them must have signed; nothing that is given changes that
//! keys are given (install.sh, --trust) one of them must have signed; then they are pinned
//! --trust-on-first-use                 the key of the bundle's own install.sh that signed it; shown, then pinned
//! --allow-unsigned                     no signature; nothing is pinned
//! none of these                        refused
//! ```
//!
//! A signature names its key by ID only, so "the key that the bundle brings" is one of those in its `install.sh`.
//! The author of the bundle wrote both: it says that later bundles come from the same hand, and nothing about this one.

use std::io::Read as _;

use bundle::{
    manifest::FileRole,
    parts::Source,
    read::{Origin, Trust, verify},
    signature::{KeyId, PublicKey, TrustedKeys},
};

use super::options::Options;
use device::{Error, Result, control::progress::Progress, stack::bundle_files::Bundle};

/// An `install.sh` is a few kilobytes.
const MAX_INSTALLER: u64 = 1 << 20;

/// By what a bundle is trusted.
#[derive(Debug)]
pub(super) enum Choice {
    /// One of these keys must have signed it.
    Keys(TrustedKeys),
    /// The key that it brings must have signed it.
    FirstUse,
    /// By nothing.
    Unsigned,
}

/// By what a bundle is trusted, given the keys that are pinned already.
///
/// # Errors
/// By nothing, and unsigned bundles are not allowed.
pub(super) fn choose(pinned: &[PublicKey], options: &Options) -> Result<Choice> {
    let keys = if pinned.is_empty() { &options.trust } else { pinned };
    if !keys.is_empty() {
        return Ok(Choice::Keys(TrustedKeys::new(keys.iter().cloned())));
    }
    if options.trust_on_first_use {
        return Ok(Choice::FirstUse);
    }
    if options.allow_unsigned {
        return Ok(Choice::Unsigned);
    }
    Err(Error::refused(
        "nothing says whose bundles this device accepts",
        "run install.sh from where the bundle comes from, or give the publisher's key: --trust KEY; \
         --trust-on-first-use takes the key that the bundle brings",
    ))
}

/// Verifies the bundle, and gives the keys to pin.
///
/// # Errors
/// It cannot be read or is refused; it brings no key of its own where that is meant.
pub(super) fn open(
    source: Source,
    choice: &Choice,
    given: &[PublicKey],
    progress: &dyn Progress,
) -> Result<(Bundle, Vec<PublicKey>)> {
    let size = source.size().ok();
    progress.begin("verifying", size);
    let advance = |bytes| progress.advance(bytes);
    match choice {
        Choice::Keys(keys) => {
            let bundle = verify(source, &Trust::Keys(keys), &advance)?;
            // Only now: keys that nothing signed with come along, so that the publisher can move to them.
            Ok((bundle, given.to_vec()))
        }
        Choice::FirstUse => {
            // The same open file is verified twice, so nothing can change in between unnoticed.
            let again = source.try_clone().map_err(Error::io("read", "the bundle"))?;
            let mut unsigned = verify(source, &Trust::Unsigned, &advance)?;
            let key = own_key(&mut unsigned)?;
            progress.note(&format!(
                "warning: trusting on first use the key {} ({key}); compare it with what the publisher shows",
                key.id()
            ));
            let keys = TrustedKeys::new([key.clone()]);
            Ok((verify(again, &Trust::Keys(&keys), &advance)?, vec![key]))
        }
        Choice::Unsigned => {
            progress.note("warning: no trusted key verifies this bundle, nor those that follow");
            Ok((verify(source, &Trust::Unsigned, &advance)?, Vec::new()))
        }
    }
}

/// The key in the bundle's `install.sh` that its signature names.
fn own_key(bundle: &mut Bundle) -> Result<PublicKey> {
    let refused = |message: &str| Err(Error::refused(message, "give the publisher's key: --trust KEY"));
    let claimed = match bundle.origin() {
        Origin::Unknown { claimed: Some(id) } => *id,
        _ => return refused("the bundle is not signed, so it brings no key to trust"),
    };
    let installer = bundle
        .manifest()
        .files
        .iter()
        .find(|file| file.role == FileRole::Installer)
        .map(|file| file.name.clone());
    let Some(name) = installer else {
        return refused("the bundle has no install.sh, so it brings no key to trust");
    };
    let mut text = String::new();
    let content = bundle.open_file(&name).map_err(Error::io("read", name.as_str()))?;
    let read = content.take(MAX_INSTALLER).read_to_string(&mut text);
    read.map_err(Error::io("read", name.as_str()))?;
    match key_in(&text, claimed) {
        Some(key) => Ok(key),
        None => refused("the bundle's install.sh does not hold the key that the bundle is signed with"),
    }
}

/// The key with the ID `wanted` among those of an `install.sh`: `keys='…'`, one a line.
fn key_in(installer: &str, wanted: KeyId) -> Option<PublicKey> {
    let (_, rest) = installer.split_once("\nkeys='")?;
    let (keys, _) = rest.split_once('\'')?;
    keys.split_whitespace()
        .filter_map(|text| text.parse::<PublicKey>().ok())
        .find(|key| key.id() == wanted)
}

#[cfg(test)]
mod tests {
    use bundle::signature::generate;

    use super::*;

    fn key() -> PublicKey {
        generate(None).unwrap().public().clone()
    }

    #[test]
    fn pinned_keys_win_and_nothing_is_trusted_by_itself() {
        let [pinned, given] = [key(), key()];
        let (none, pin, give): (&[PublicKey], &[PublicKey], &[PublicKey]) =
            (&[], std::slice::from_ref(&pinned), std::slice::from_ref(&given));
        let check = |pins: &[PublicKey], trust: &[PublicKey], said: &str, expected: &str| {
            let options = Options {
                trust: trust.to_vec(),
                trust_on_first_use: said.contains("first use"),
                allow_unsigned: said.contains("unsigned"),
                ..Options::default()
            };
            let found = match choose(pins, &options) {
                Ok(Choice::Keys(keys)) if keys.keys() == pin => "pinned",
                Ok(Choice::Keys(keys)) if keys.keys() == give => "given",
                Ok(Choice::Keys(_)) => "others",
                Ok(Choice::FirstUse) => "first use",
                Ok(Choice::Unsigned) => "unsigned",
                Err(_) => "refused",
            };
            assert_eq!(found, expected, "{pins:?} {trust:?} {said}");
        };
        check(none, none, "", "refused");
        check(none, none, "unsigned", "unsigned");
        check(none, none, "first use", "first use");
        check(none, none, "first use, unsigned", "first use");
        for said in ["", "first use", "unsigned"] {
            check(none, give, said, "given");
            check(pin, none, said, "pinned");
            check(pin, give, said, "pinned");
        }
    }

    #[test]
    fn the_key_is_found_in_an_installer() {
        let [first, second, other] = [key(), key(), key()];
        let script = format!("#!/bin/sh\nproduct='app'\nkeys='{first}\n{second}'\nfail() {{ printf '%s' x; }}\n");
        assert_eq!(key_in(&script, second.id()), Some(second));
        assert_eq!(key_in(&script, other.id()), None);
        assert_eq!(key_in("keys=''", first.id()), None);
        assert_eq!(key_in("\nkeys='RWnonsense'", first.id()), None);
    }
}
