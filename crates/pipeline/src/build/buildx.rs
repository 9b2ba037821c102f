//! The one module that knows Docker: the machine's builder, builds, and registries.

use std::{
    path::{Path, PathBuf},
    thread,
};

use bundle::Platform;
use semver::Version;
use serde::Serialize;
use serde_json::Value;
use xshell::{Shell, cmd};

use super::bake_file::BakeFile;
use crate::{
    Error, Result,
    system::{
        files,
        process::{Live, ProcessError, read, run_live},
    },
};

/// What is so on this machine.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    /// The version of buildx; the message if it cannot be run.
    pub buildx: Result<Version, String>,
    /// The builder; the message if it cannot be reached.
    pub builder: Result<Builder, String>,
    /// Whether the engine keeps images in containerd.
    pub containerd_store: bool,
    /// Bytes that are free for what is built.
    pub free_disk: Option<u64>,
}

/// A buildx builder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Builder {
    /// Its name.
    pub name: String,
    /// Its driver: `docker`, `docker-container`, `kubernetes`, `remote`.
    pub driver: String,
    /// The platforms whose programs it can run.
    pub platforms: Vec<Platform>,
}

impl Machine {
    /// Asks Docker and the disk. A failure is part of the result.
    pub(crate) fn inspect(state: &Path, builder: Option<&str>) -> Self {
        // Each call to docker takes a tenth of a second or more.
        thread::scope(|scope| {
            let buildx = scope.spawn(buildx_version);
            let store = scope.spawn(has_containerd_store);
            let builder = inspect_builder(builder);
            Self {
                buildx: buildx.join().unwrap_or_else(|_| Err("cannot be asked".to_owned())),
                containerd_store: store.join().unwrap_or_default(),
                builder,
                free_disk: free_disk(state),
            }
        })
    }
}

/// Whether a build may take from the build cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cache {
    /// It may.
    Used,
    /// Everything is built anew.
    Ignored,
}

/// Builds everything in `bake`, showing BuildKit's progress.
pub(crate) fn bake(root: &Path, state: &Path, bake: &BakeFile, builder: Option<&str>, cache: Cache) -> Result<()> {
    let path = state.join("bake.json");
    let value = serde_json::to_value(bake).map_err(|error| Error::Content {
        path: path.clone(),
        message: error.to_string(),
    })?;
    let file = write_json(path, &literal(value))?;
    // JSON is YAML; the extension makes it a compose file.
    let networks = bake
        .networks()
        .map(|networks| write_json(state.join("bake-networks.yml"), &networks))
        .transpose()?
        .map(|file| format!("--file={}", file.display()));
    let sh = shell()?;
    let _dir = sh.push_dir(root);
    let builder = builder.map(|name| format!("--builder={name}"));
    let no_cache = (cache == Cache::Ignored).then_some("--no-cache");
    let targets = bake.target.keys();
    let command = cmd!(
        sh,
        "docker buildx bake {networks...} --file {file} {builder...} {no_cache...} {targets...}"
    );
    run_live(command, Live::Show).map_err(Error::Build)
}

fn write_json(path: PathBuf, value: &impl Serialize) -> Result<PathBuf> {
    let text = serde_json::to_vec_pretty(value).map_err(|error| Error::Content {
        path: path.clone(),
        message: error.to_string(),
    })?;
    files::write_atomically(&path, &text)?;
    Ok(path)
}

/// Whether a build failed because BuildKit's cache names a snapshot that is not there. Killing a build while it commits
/// one leaves such a record behind, and every build that would use it fails from then on, until one without cache
/// replaces it. Seen with engine 26.1; source: moby/buildkit#2564, moby/buildkit#6808.
pub(crate) fn is_damaged_cache(error: &ProcessError) -> bool {
    error.stderr().lines().any(|line| {
        line.contains("ERROR: ") && line.contains("snapshot ") && line.contains(" does not exist: not found")
    })
}

/// The digest that a registry has for `reference` now.
pub(crate) fn registry_digest(reference: &str, builder: Option<&str>) -> Result<String, ProcessError> {
    // As JSON: before 0.20, buildx took any other template on the manifest for its own summary.
    let text = imagetools(reference, builder, &["--format", "{{json .Manifest}}"])?;
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    Ok(manifest["digest"].as_str().unwrap_or_default().to_owned())
}

/// The index or manifest that a registry has for `reference`, as JSON.
pub(crate) fn registry_manifest(reference: &str, builder: Option<&str>) -> Result<String, ProcessError> {
    imagetools(reference, builder, &["--raw"])
}

fn imagetools(reference: &str, builder: Option<&str>, options: &[&str]) -> Result<String, ProcessError> {
    let sh = Shell::new().map_err(|error| ProcessError::Start {
        command: "docker".to_owned(),
        source: std::io::Error::other(error),
    })?;
    let builder = builder.map(|name| format!("--builder={name}"));
    read(cmd!(
        sh,
        "docker buildx imagetools inspect {builder...} {options...} -- {reference}"
    ))
}

fn buildx_version() -> Result<Version, String> {
    let sh = Shell::new().map_err(|error| error.to_string())?;
    // "github.com/docker/buildx 0.13.1 0.13.1-1"
    let text = read(cmd!(sh, "docker buildx version")).map_err(|error| error.to_string())?;
    text.split_whitespace()
        .filter_map(|word| Version::parse(word.trim_start_matches('v')).ok())
        .next()
        .ok_or_else(|| format!("says \"{text}\" instead of its version"))
}

fn inspect_builder(name: Option<&str>) -> Result<Builder, String> {
    let sh = Shell::new().map_err(|error| error.to_string())?;
    let text = read(cmd!(sh, "docker buildx inspect -- {name...}")).map_err(|error| error.to_string())?;
    parse_builder(&text)
}

/// Reads the text of `docker buildx inspect`; it has no machine-readable form before buildx 0.20.
fn parse_builder(text: &str) -> Result<Builder, String> {
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
            .map(|value| value.trim().to_owned())
    };
    if let Some(error) = text.lines().find_map(|line| line.trim().strip_prefix("Error:")) {
        return Err(format!("cannot be reached: {}", error.trim()));
    }
    let platforms = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Platforms:"))
        .flat_map(|list| list.split(','))
        // A star marks platforms that were set by hand.
        .filter_map(|platform| platform.trim().trim_end_matches('*').parse().ok())
        .collect();
    Ok(Builder {
        name: value("Name").unwrap_or_default(),
        driver: value("Driver").unwrap_or_default(),
        platforms,
    })
}

fn has_containerd_store() -> bool {
    let Ok(sh) = Shell::new() else { return false };
    let format = "{{json .DriverStatus}}";
    read(cmd!(sh, "docker info --format {format}")).is_ok_and(|status| status.contains("io.containerd.snapshotter"))
}

fn free_disk(directory: &Path) -> Option<u64> {
    let existing = directory.ancestors().find(|directory| directory.is_dir())?;
    let status = rustix::fs::statvfs(existing).ok()?;
    Some(status.f_bavail.saturating_mul(status.f_frsize))
}

fn shell() -> Result<Shell> {
    Shell::new().map_err(|source| Error::Io {
        action: "open",
        path: PathBuf::from("."),
        source: std::io::Error::other(source),
    })
}

/// A bake file in which every text stands for itself: bake reads JSON as HCL, whose texts are templates that can use
/// the environment's variables. Source: HCL syntax specification, "Template Literals".
fn literal(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("${", "$${").replace("%{", "%%{")),
        Value::Array(list) => list.into_iter().map(literal).collect(),
        Value::Object(map) => map.into_iter().map(|(key, value)| (key, literal(value))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_of_a_bake_file_are_no_templates() {
        let bake = json!({ "target": { "a": { "args": { "X": "${HOME} $y %{if}" }, "tags": ["$${z}"], "n": 1 } } });
        let expected =
            json!({ "target": { "a": { "args": { "X": "$${HOME} $y %%{if}" }, "tags": ["$$${z}"], "n": 1 } } });
        assert_eq!(literal(bake), expected);
    }

    #[test]
    fn a_builders_text_is_understood() {
        let text = "Name:          default\nDriver:        docker\n\nNodes:\nName:      default\nStatus:    running\n\
                    Platforms: linux/amd64*, linux/amd64/v2, linux/arm64\nLabels:\n";
        let builder = parse_builder(text).unwrap();
        assert_eq!((builder.name.as_str(), builder.driver.as_str()), ("default", "docker"));
        assert!(builder.platforms.contains(&"linux/arm64".parse().unwrap()));
        assert!(builder.platforms.contains(&"linux/amd64".parse().unwrap()));
    }

    #[test]
    fn an_unreachable_builder_says_why() {
        let text = "Name:   far\nDriver: remote\n\nNodes:\nName:  far0\nError: connection refused\n";
        assert_eq!(
            parse_builder(text).unwrap_err(),
            "cannot be reached: connection refused"
        );
    }
}
