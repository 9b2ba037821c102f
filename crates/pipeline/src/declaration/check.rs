//! The checks that go beyond the declaration's shape: nothing contradicts anything, every name is one.

use std::{collections::BTreeMap, path::PathBuf};

use bundle::{
    Digest, Platform,
    names::{EntryName, ProductName, RepositoryName},
    signature::PublicKey,
};

use serde_json::Value;

use super::{
    checked::{
        BuildSource, BuiltImage, Declaration, EnvironmentValue, ExtraFile, Image, PrebuiltBinary, RegistryImage,
        Signing, Updater, VendorStage, split_tag,
    },
    nearest::nearest,
    raw::{self, Compression, ROOT},
    refused,
};
use crate::Problem;

impl Declaration {
    /// Checks `value`, the content of `workspace.metadata.release`.
    ///
    /// # Errors
    /// Every contradiction that was found; for an unknown key or a wrong type, the first one only, since
    /// nothing behind it can be read.
    pub fn parse(value: &Value) -> Result<Self, Vec<Problem>> {
        let raw: raw::Release =
            serde_path_to_error::deserialize(value).map_err(|error| vec![refused::problem(&error)])?;
        check(raw)
    }
}

/// Checks what serde could read, all of it.
fn check(raw: raw::Release) -> Result<Declaration, Vec<Problem>> {
    let mut problems = Problems::default();
    let product = problems.take("product", raw.product.parse::<ProductName>());
    let platforms = platforms(&raw.platforms, &mut problems);
    let images = images(raw.images, &mut problems);
    let files = files(raw.files, &raw.compose_file, &mut problems);
    let updater = raw
        .updater
        .and_then(|updater| updater_source(updater, &platforms, &mut problems));
    let vendor_stages = vendor_stages(raw.vendor_stages, &images, updater.as_ref(), &mut problems);
    let environment = environment(raw.environment, &mut problems);
    if raw.bundles.is_empty() {
        problems.add("bundles", "is empty: a release writes at least one bundle");
    }
    if raw.archives.is_empty() {
        problems.add("archives", "is empty: a release writes at least one archive format");
    }
    let highest = match raw.layers.compression {
        Compression::Zstd => 22,
        Compression::Gzip => 9,
    };
    if !(1..=highest).contains(&raw.layers.level()) {
        problems.add(
            "layers.level",
            format!("is {}, expected 1 to {highest}", raw.layers.level()),
        );
    }
    if let Some(health) = &raw.health {
        if health.attempts == 0 {
            problems.add("health.attempts", "is 0, expected at least 1");
        }
        if !health.url.starts_with('/') && !health.url.starts_with("http://") && !health.url.starts_with("https://") {
            problems.add(
                "health.url",
                format!("is \"{}\", expected a path like \"/health\" or a URL", health.url),
            );
        }
    }
    let repository = raw.repository.as_ref();
    let repository = repository.and_then(|name| problems.take("repository", name.parse::<RepositoryName>()));
    let public_keys =
        raw.signing.public_keys.iter().enumerate().filter_map(|(index, key)| {
            problems.take(&format!("signing.public-keys[{index}]"), key.parse::<PublicKey>())
        });
    let public_keys = public_keys.collect();
    let compose_file = problems.path("compose-file", &raw.compose_file);
    let lock_file = problems.path("lock-file", &raw.lock_file);
    if let Some(file) = &raw.changelog.file {
        problems.path("changelog.file", file);
    }
    if !problems.0.is_empty() {
        return Err(problems.0);
    }
    let Some(product) = product else { return Err(problems.0) };
    let upper = product.as_str().to_uppercase().replace('-', "_");
    Ok(Declaration {
        platforms,
        images,
        compose_file,
        version_variable: raw.version_variable.unwrap_or_else(|| format!("{upper}_VERSION")),
        bundles: raw.bundles,
        archives: raw.archives,
        layers: raw.layers,
        source_date_epoch: raw.source_date_epoch,
        changelog: raw.changelog,
        health: raw.health,
        backup: raw.backup,
        data: raw.data,
        environment,
        files,
        updater,
        signing: Signing {
            key_file: raw.signing.key_file,
            key_variable: raw
                .signing
                .key_variable
                .unwrap_or_else(|| format!("{upper}_SIGNING_KEY")),
            password_variable: raw
                .signing
                .password_variable
                .unwrap_or_else(|| format!("{upper}_SIGNING_PASSWORD")),
            public_keys,
        },
        repository,
        minimum_updater_version: raw.minimum_updater_version,
        minimum_upgradable_version: raw.minimum_upgradable_version,
        security_epoch: raw.security_epoch,
        lock_file,
        vendor_stages,
        product,
    })
}

/// The problems of a declaration, each under its key's path.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, key: &str, message: impl Into<String>) {
        self.0.push(Problem::error(format!("{ROOT}.{key}"), message));
    }

    fn add_with_hint(&mut self, key: &str, message: impl Into<String>, hint: impl Into<String>) {
        self.0.push(Problem::error(format!("{ROOT}.{key}"), message).hint(hint));
    }

    fn take<T, E: std::fmt::Display>(&mut self, key: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(key, error.to_string())).ok()
    }

    /// A path that stays inside of the workspace.
    fn path(&mut self, key: &str, path: &str) -> PathBuf {
        let inside = !path.is_empty()
            && !path.starts_with('/')
            && !path.contains('\\')
            && path.split('/').all(|part| part != "..");
        if !inside {
            self.add(key, format!("is \"{path}\", expected a path inside of the workspace"));
        }
        PathBuf::from(path)
    }
}

fn platforms(declared: &[String], problems: &mut Problems) -> Vec<Platform> {
    let mut platforms = Vec::new();
    for (index, text) in declared.iter().enumerate() {
        let key = format!("platforms[{index}]");
        if let Some(platform) = problems.take(&key, text.parse::<Platform>()) {
            if platforms.contains(&platform) {
                problems.add(&key, format!("{platform} is declared twice"));
            }
            platforms.push(platform);
        }
    }
    if declared.is_empty() {
        problems.add("platforms", "is empty, expected at least one, like \"linux/arm64\"");
    }
    platforms.sort();
    platforms
}

fn images(declared: Vec<raw::Image>, problems: &mut Problems) -> Vec<Image> {
    if declared.is_empty() {
        problems.add("images", "is empty: a product has at least one image");
    }
    let mut images: Vec<Image> = Vec::new();
    for (index, raw) in declared.into_iter().enumerate() {
        let key = format!("images[{index}]");
        let Some(image) = image(raw, &key, problems) else {
            continue;
        };
        let name = |image: &Image| match image {
            Image::Built(built) => built.name.clone(),
            Image::Registry(registry) => registry.reference(),
        };
        if images.iter().any(|other| name(other) == name(&image)) {
            problems.add_with_hint(
                &key,
                format!("two images are called \"{}\"", name(&image)),
                "remove one of them, or give it a name of its own",
            );
        }
        images.push(image);
    }
    images
}

fn image(raw: raw::Image, key: &str, problems: &mut Problems) -> Option<Image> {
    match (&raw.name, &raw.reference) {
        (Some(_), Some(_)) => {
            problems.add(
                key,
                "has both `name` and `reference`: an image is either built or taken from a registry",
            );
            None
        }
        (None, None) => {
            problems.add_with_hint(
                key,
                "has neither `name` nor `reference`",
                "give a built image a `name` and a `dockerfile`, a registry image a `reference`",
            );
            None
        }
        (Some(name), None) => {
            if !bundle::image::reference::is_name(name) {
                problems.add_with_hint(
                    &format!("{key}.name"),
                    format!("\"{name}\" is not an image name without a tag"),
                    "lower-case letters and digits, with single `.`, `_`, `-` or `/` between; the tag is the version",
                );
            }
            let build = BuildSource {
                dockerfile: problems.path(
                    &format!("{key}.dockerfile"),
                    raw.dockerfile.as_deref().unwrap_or("Dockerfile"),
                ),
                target: raw.target,
                context: problems.path(&format!("{key}.context"), raw.context.as_deref().unwrap_or(".")),
            };
            Some(Image::Built(BuiltImage {
                name: name.clone(),
                build,
                args: raw.args,
                reproducible: raw.reproducible,
            }))
        }
        (None, Some(reference)) => {
            for (used, name) in [
                (raw.dockerfile.is_some(), "dockerfile"),
                (raw.target.is_some(), "target"),
                (raw.context.is_some(), "context"),
                (!raw.args.is_empty(), "args"),
                (raw.reproducible, "reproducible"),
            ] {
                if used {
                    problems.add(
                        &format!("{key}.{name}"),
                        "belongs to built images, this one comes from a registry",
                    );
                }
            }
            registry_image(reference, &format!("{key}.reference"), problems).map(Image::Registry)
        }
    }
}

fn registry_image(reference: &str, key: &str, problems: &mut Problems) -> Option<RegistryImage> {
    if reference.contains('@') {
        problems.add_with_hint(
            key,
            format!("\"{reference}\" has a digest"),
            "write name and tag only: digests are pinned in the lock file",
        );
        return None;
    }
    let Some((name, tag)) = split_tag(reference) else {
        problems.add_with_hint(
            key,
            format!("\"{reference}\" has no tag, so it would float"),
            format!("name a version, like \"{reference}:1.2\""),
        );
        return None;
    };
    if tag == "latest" {
        problems.add_with_hint(
            key,
            format!("\"{reference}\" floats: `latest` is another image every week"),
            format!("name a version, like \"{name}:1.2\""),
        );
        return None;
    }
    if !bundle::image::reference::is_name(name) || !bundle::image::reference::is_tag(tag) {
        problems.add(key, format!("\"{reference}\" is not an image reference"));
        return None;
    }
    Some(RegistryImage {
        name: name.to_owned(),
        tag: tag.to_owned(),
    })
}

/// A SHA-256 in hex, in lower case.
fn sha256(key: &str, hex: &str, problems: &mut Problems) -> Option<String> {
    problems
        .take(key, Digest::from_hex(&hex.to_lowercase()))
        .map(|digest| digest.hex())
}

fn files(declared: Vec<raw::ExtraFile>, compose_file: &str, problems: &mut Problems) -> Vec<ExtraFile> {
    let mut files: Vec<ExtraFile> = Vec::new();
    for (index, raw) in declared.into_iter().enumerate() {
        let key = format!("files[{index}]");
        let path = problems.path(&format!("{key}.path"), &raw.path);
        let name = raw
            .name
            .unwrap_or_else(|| raw.path.rsplit('/').next().unwrap_or_default().to_owned());
        let Some(name) = problems.take(&format!("{key}.name"), name.parse::<EntryName>()) else {
            continue;
        };
        let is_taken = name.is_reserved() || name.as_str() == "install.sh" || name.as_str().starts_with("bin/updater-");
        if is_taken || compose_file.rsplit('/').next() == Some(name.as_str()) {
            problems.add(
                &format!("{key}.name"),
                format!("\"{name}\" is the name of a file that every bundle has"),
            );
        }
        if files.iter().any(|other| other.name == name) {
            problems.add(&key, format!("two files are called \"{name}\" in the bundle"));
        }
        let compose_plugin = match raw.compose_plugin {
            Some(platform) => problems.take(&format!("{key}.compose-plugin"), platform.parse::<Platform>()),
            None => None,
        };
        files.push(ExtraFile {
            path,
            name,
            executable: raw.executable,
            compose_plugin,
            sha256: raw
                .sha256
                .and_then(|hex| sha256(&format!("{key}.sha256"), &hex, problems)),
        });
    }
    files
}

fn updater_source(raw: raw::Updater, platforms: &[Platform], problems: &mut Problems) -> Option<Updater> {
    if raw.prebuilt.is_empty() {
        let dockerfile = raw.dockerfile.as_deref().unwrap_or("Dockerfile");
        return Some(Updater::Built(BuildSource {
            dockerfile: problems.path("updater.dockerfile", dockerfile),
            target: raw.target,
            context: problems.path("updater.context", raw.context.as_deref().unwrap_or(".")),
        }));
    }
    if raw.dockerfile.is_some() || raw.target.is_some() || raw.context.is_some() {
        problems.add(
            "updater",
            "has both a Dockerfile and `prebuilt`: the binaries are either built or prebuilt",
        );
    }
    let mut prebuilt = BTreeMap::new();
    for (platform, binary) in raw.prebuilt {
        let key = format!("updater.prebuilt.\"{platform}\"");
        let path = problems.path(&format!("{key}.path"), &binary.path);
        if let Some(platform) = problems.take(&key, platform.parse::<Platform>()) {
            prebuilt.insert(
                platform,
                PrebuiltBinary {
                    path,
                    sha256: binary.sha256,
                },
            );
        }
    }
    for platform in platforms {
        if !prebuilt.contains_key(platform) {
            problems.add("updater.prebuilt", format!("has no binary for {platform}"));
        }
    }
    Some(Updater::Prebuilt(prebuilt))
}

fn vendor_stages(
    declared: Vec<raw::VendorStage>,
    images: &[Image],
    updater: Option<&Updater>,
    problems: &mut Problems,
) -> Vec<VendorStage> {
    let images = images.iter().filter_map(|image| match image {
        Image::Built(built) => Some(&built.build),
        Image::Registry(_) => None,
    });
    let updater = match updater {
        Some(Updater::Built(build)) => Some(build),
        _ => None,
    };
    let mut used: Vec<String> = images
        .chain(updater)
        .map(|build| build.dockerfile.display().to_string())
        .collect();
    used.sort();
    used.dedup();
    let mut stages: Vec<VendorStage> = Vec::new();
    for (index, raw) in declared.into_iter().enumerate() {
        let key = format!("vendor-stages[{index}]");
        let dockerfile = raw.dockerfile.as_deref().unwrap_or("Dockerfile");
        if !used.iter().any(|used| used == dockerfile) {
            let hint = match nearest(dockerfile, used.iter().map(String::as_str)) {
                Some(right) => format!("did you mean `{right}`?"),
                None => "name the Dockerfile of an image or of the updater".to_owned(),
            };
            problems.add_with_hint(
                &format!("{key}.dockerfile"),
                format!(
                    "nothing is built from \"{dockerfile}\", expected one of: {}",
                    used.join(", ")
                ),
                hint,
            );
        }
        let is_in_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !raw.stage.starts_with(|c: char| c.is_ascii_alphabetic()) || !raw.stage.chars().all(is_in_name) {
            problems.add_with_hint(
                &format!("{key}.stage"),
                format!("\"{}\" is not a stage's name", raw.stage),
                "write the name that `FROM … AS name` gives it",
            );
        }
        let stage = VendorStage {
            dockerfile: problems.path(&format!("{key}.dockerfile"), dockerfile),
            stage: raw.stage.to_lowercase(),
        };
        if stages.contains(&stage) {
            problems.add_with_hint(
                &key,
                format!("stage \"{}\" of {dockerfile} is declared twice", stage.stage),
                "remove one of them",
            );
        }
        stages.push(stage);
    }
    stages
}

fn environment(
    declared: BTreeMap<String, raw::EnvironmentValue>,
    problems: &mut Problems,
) -> BTreeMap<String, EnvironmentValue> {
    let mut environment = BTreeMap::new();
    for (name, raw) in declared {
        let key = format!("environment.{name}");
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !name.chars().all(is_name) || name.starts_with(|c: char| c.is_ascii_digit()) || name.is_empty() {
            problems.add(
                &key,
                "is not a variable's name: letters, digits and `_`, not beginning with a digit",
            );
        }
        let value = match (raw.default, raw.generate) {
            (Some(value), None) => EnvironmentValue::Default(value),
            (None, Some(length)) if (16..=256).contains(&length) => EnvironmentValue::Generated(length),
            (None, Some(length)) => {
                problems.add(
                    &format!("{key}.generate"),
                    format!("is {length}, expected 16 to 256 characters"),
                );
                continue;
            }
            _ => {
                problems.add(&key, "needs either `default` or `generate`");
                continue;
            }
        };
        environment.insert(name, value);
    }
    environment
}
