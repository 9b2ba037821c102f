//! A release on the device: its files of record, which images its services run, and making it the one that runs.
//!
//! Each release has a directory of its own with the files that it brought, so that any of them can be made the running one
//! again: [`prepare`] writes it, [`activate`] copies compose file and extra files into the product's directory, sets the
//! version in `.env`, tags the images, and lets Compose recreate what changed. Every step may be repeated.
//!
//! Images are pinned by ID in an override file that is passed to Compose beside the product's own file: a tag that was
//! reused can never bring the wrong image back.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bundle::{
    Digest,
    manifest::{EnvironmentKey, EnvironmentValue, FileRole, Manifest},
};

use crate::{
    Error, Result,
    config::Config,
    containers::{ContainerEngine, EngineFacts, Service, Services, Stack, env_file::EnvFile, pins},
    stack::bundle_files::Bundle,
    store::{Pin, Release},
    system::{crash, files, random::random},
};

const MANIFEST: &str = "manifest.json";
/// In place of a manifest: what a legacy bundle declared, and what was assumed of it.
const ASSUMED: &str = "assumed.json";
const PINS: &str = "images.json";
/// The directory of the extra files inside of a release's directory.
const EXTRA: &str = "files";

/// The directory of a release that comes from the bundle `digest_hex`.
pub(crate) fn directory_of(config: &Config, manifest: &Manifest, digest_hex: &str) -> PathBuf {
    let short = digest_hex.get(..12).unwrap_or(digest_hex);
    config.releases().join(format!("{}-{short}", manifest.version))
}

/// Writes the files of a bundle into the release's directory.
pub(crate) fn prepare(
    config: &Config,
    bundle: &mut Bundle,
    directory: &Path,
    project: &str,
    pins: &BTreeMap<String, Pin>,
) -> Result<()> {
    files::make_directory(directory)?;
    let manifest = bundle.manifest().clone().into_inner();
    for file in &manifest.files {
        let place = match file.role {
            FileRole::Compose => directory.join(&config.compose_file),
            FileRole::Extra => directory.join(EXTRA).join(file.name.as_str()),
            FileRole::Installer | FileRole::Updater { .. } | FileRole::ComposePlugin { .. } => continue,
        };
        if let Some(parent) = place.parent() {
            files::make_directory(parent)?;
        }
        let mode = if file.executable { 0o755 } else { 0o644 };
        let mut content = bundle.open_file(&file.name).map_err(Error::io("read", &place))?;
        files::write_with(&place, mode, |out| std::io::copy(&mut content, out).map(drop))?;
    }
    let (name, json) = if manifest.is_legacy() {
        let json = serde_json::to_vec_pretty(&manifest).map_err(|error| error.to_string());
        (ASSUMED, json)
    } else {
        (MANIFEST, manifest.to_json().map_err(|error| error.to_string()))
    };
    let path = directory.join(name);
    let json = json.map_err(|message| Error::Content {
        path: path.clone(),
        message,
    })?;
    files::write(&path, &json, 0o644)?;
    write_pins(directory, project, pins).map(drop)
}

/// Writes which image each service runs, as a file for Compose in `directory`. It also notes the project's name, as an
/// extension that Compose ignores: listing the containers then needs no call of Compose.
pub(crate) fn write_pins(directory: &Path, project: &str, pins: &BTreeMap<String, Pin>) -> Result<PathBuf> {
    let text = pins::text(project, pins.iter().map(|(service, pin)| (service.as_str(), pin.id)));
    let path = directory.join(PINS);
    files::write(&path, text.as_bytes(), 0o644)?;
    Ok(path)
}

/// Which image each service runs, by the compose file's references and this engine's IDs.
pub(crate) fn pins(services: &[Service], manifest: &Manifest, engine: &EngineFacts) -> Result<BTreeMap<String, Pin>> {
    pins_of(services, |reference| {
        let image = manifest
            .image_details
            .iter()
            .find(|image| image.reference == reference)?;
        Some(engine.store.image_id(image.on(&engine.platform)?))
    })
}

/// Which image each service runs, where `id` knows the references' IDs.
pub(crate) fn pins_of(services: &[Service], id: impl Fn(&str) -> Option<Digest>) -> Result<BTreeMap<String, Pin>> {
    let mut pins = BTreeMap::new();
    for service in services {
        let reference = service.image.clone().unwrap_or_default();
        let id = id(&reference).ok_or_else(|| {
            Error::refused(
                format!("service {} runs {reference}, which is not in the bundle", service.name),
                "release it again with that image declared",
            )
        })?;
        pins.insert(service.name.clone(), Pin { reference, id });
    }
    Ok(pins)
}

/// The manifest that a release came with, or was assumed to have; none if a person installed it by hand.
pub(crate) fn manifest(release: &Release) -> Result<Option<Manifest>> {
    let Some(directory) = &release.directory else {
        return Ok(None);
    };
    let path = directory.join(MANIFEST);
    let (path, read) = match files::read_if_there(&path)? {
        Some(bytes) => (path, Manifest::from_json(&bytes).map_err(|error| error.to_string())),
        None => {
            let path = directory.join(ASSUMED);
            let Some(bytes) = files::read_if_there(&path)? else {
                return Ok(None);
            };
            // Ours, and none that a bundle could have.
            let read = serde_json::from_slice(&bytes).map_err(|error| error.to_string());
            (path, read)
        }
    };
    read.map(Some).map_err(|message| Error::Content { path, message })
}

/// The compose project of a release, once it is the active one.
pub fn stack(config: &Config, release: &Release) -> Stack {
    Stack {
        directory: config.folder.clone(),
        file: config.compose(),
        pins: release.directory.as_ref().map(|directory| directory.join(PINS)),
        env_file: None,
    }
}

/// Makes `release` the one whose files are in place and whose services run.
///
/// # Errors
/// A file cannot be written, an image is not there, Compose fails.
pub fn activate(
    config: &Config,
    engine: &dyn ContainerEngine,
    release: &Release,
    services: Services<'_>,
) -> Result<()> {
    put_in_place(config, release)?;
    crash::point("files in place");
    for pin in release.pins.values() {
        engine.tag(&pin.id, &pin.reference)?;
    }
    crash::point("images tagged");
    engine.up(&stack(config, release), services)?;
    crash::point("services started");
    Ok(())
}

/// Writes a release's files of record: compose file, extra files, `.env`.
///
/// # Errors
/// One cannot be read or written.
pub fn put_in_place(config: &Config, release: &Release) -> Result<()> {
    let directory = release.directory.as_ref().ok_or_else(|| {
        Error::refused(
            format!("the files of {} are not on this device", release.version),
            "apply its bundle",
        )
    })?;
    for (name, path) in extra_files(&directory.join(EXTRA))? {
        let place = config.folder.join(name);
        if let Some(parent) = place.parent() {
            files::make_directory(parent)?;
        }
        files::put(&path, &place)?;
    }
    files::put(&directory.join(&config.compose_file), &config.compose())?;
    set_environment(config, release)
}

/// Sets the version in `.env` and adds keys that are missing. The file keeps its mode and its other lines.
fn set_environment(config: &Config, release: &Release) -> Result<()> {
    let keys = match manifest(release)? {
        Some(manifest) => manifest.environment,
        None => vec![version_key(config, None)],
    };
    let path = config.env();
    let before = files::read_if_there(&path)?;
    let text = match &before {
        Some(bytes) => String::from_utf8(bytes.clone()).map_err(|_| Error::Content {
            path: path.clone(),
            message: "is not UTF-8".to_owned(),
        })?,
        None => String::new(),
    };
    let mut env = EnvFile::parse(&text);
    complete(&mut env, &keys, &release.version.to_string())?;
    let text = env.text();
    if before.as_deref() == Some(text.as_bytes()) {
        return Ok(());
    }
    files::write(&path, text.as_bytes(), mode_of(&path).unwrap_or(0o600))
}

/// Gives the keys of a release their values in `env`: the version always, others only where they are missing.
pub(crate) fn complete(env: &mut EnvFile, keys: &[EnvironmentKey], version: &str) -> Result<()> {
    for key in keys {
        match &key.value {
            EnvironmentValue::Version => env.set(&key.name, version),
            _ if env.get(&key.name).is_some() => {}
            EnvironmentValue::Default(text) => env.set(&key.name, text),
            EnvironmentValue::Generated { length } => env.set(&key.name, &random(usize::from(*length))?),
        }
    }
    Ok(())
}

/// The version's key of a release that brought no manifest: the one that `before` declares, or else the product's.
pub(crate) fn version_key(config: &Config, before: Option<&Manifest>) -> EnvironmentKey {
    let declared = before.and_then(|manifest| {
        let mut keys = manifest.environment.iter();
        keys.find(|key| key.value == EnvironmentValue::Version)
    });
    if let Some(key) = declared {
        return key.clone();
    }
    let product = config
        .product
        .as_str()
        .to_uppercase()
        .replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    EnvironmentKey {
        name: format!("{product}_VERSION"),
        value: EnvironmentValue::Version,
    }
}

/// The version that `.env` names.
pub(crate) fn version_in_env(config: &Config, current: Option<&Release>) -> Result<Option<String>> {
    let keys = match current.map(manifest).transpose()?.flatten() {
        Some(manifest) => manifest.environment,
        None => vec![version_key(config, None)],
    };
    let Some(bytes) = files::read_if_there(&config.env())? else {
        return Ok(None);
    };
    let env = EnvFile::parse(&String::from_utf8_lossy(&bytes));
    Ok(keys
        .iter()
        .find(|key| key.value == EnvironmentValue::Version)
        .and_then(|key| env.get(&key.name)))
}

/// The names of the extra files that a release puts into the product's directory.
///
/// # Errors
/// The release's directory cannot be read.
pub fn extra_files_of(release: &Release) -> Result<Vec<PathBuf>> {
    let Some(directory) = &release.directory else {
        return Ok(Vec::new());
    };
    let files = extra_files(&directory.join(EXTRA))?;
    Ok(files.into_iter().map(|(name, _)| name).collect())
}

/// Every file below `directory`, with its name from there on.
fn extra_files(directory: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(next) = directories.pop() {
        let entries = match fs::read_dir(&next) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io("read", &next)(error)),
        };
        for entry in entries {
            let path = entry.map_err(Error::io("read", &next))?.path();
            if path.is_dir() {
                directories.push(path);
            } else if let Ok(name) = path.strip_prefix(directory) {
                found.push((name.to_owned(), path.clone()));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn mode_of(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    Some(fs::metadata(path).ok()?.permissions().mode() & 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_keys_are_added_and_others_kept() {
        let key = |name: &str, value| EnvironmentKey {
            name: name.to_owned(),
            value,
        };
        let keys = [
            key("APP_VERSION", EnvironmentValue::Version),
            key("KEPT", EnvironmentValue::Default("new".to_owned())),
            key("ADDED", EnvironmentValue::Default("two words".to_owned())),
            key("SECRET", EnvironmentValue::Generated { length: 48 }),
        ];
        let mut env = EnvFile::parse("# mine\nKEPT=old\nAPP_VERSION=1.0.0\n");
        complete(&mut env, &keys, "2.0.0").unwrap();
        assert_eq!(env.get("KEPT").as_deref(), Some("old"));
        assert_eq!(env.get("APP_VERSION").as_deref(), Some("2.0.0"));
        assert_eq!(env.get("ADDED").as_deref(), Some("two words"));
        let secret = env.get("SECRET").unwrap();
        assert_eq!(secret.len(), 48);
        assert!(env.text().starts_with("# mine\nKEPT=old\n"));
        // A second time changes nothing.
        let before = env.clone();
        complete(&mut env, &keys, "2.0.0").unwrap();
        assert_eq!(env, before);
    }
}
