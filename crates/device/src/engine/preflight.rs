//! The blocking problems of an update, found at once and before anything is changed.
//!
//! [`crate::engine`] gathers [`Inputs`]; [`problems`] and [`gate`] judge them. Nothing here does input or output.

use bundle::manifest::{DataRule, Manifest};
use semver::Version;

use crate::{
    Problem,
    containers::{EngineFacts, Project, major},
    store::Release,
};

/// The oldest Docker engine that is supported.
const OLDEST_ENGINE: u32 = 20;

/// The oldest Compose plugin.
const OLDEST_COMPOSE: u32 = 2;

/// What stays free on each file system, in bytes.
pub const WATERMARK: u64 = 64 << 20;

/// What a person permits beyond the default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// A version older than the one that runs.
    pub downgrade: bool,
}

/// The facts before an update.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// What the bundle says.
    pub manifest: &'a Manifest,
    /// The release that runs.
    pub current: Option<&'a Release>,
    /// What its data is, where an update has recorded it.
    pub data: Option<&'a DataRule>,
    /// The version that `.env` names.
    pub version_in_env: Option<&'a str>,
    /// The engine.
    pub engine: &'a EngineFacts,
    /// The Compose plugin's version, if it is there; none if it need not be asked, because the plugin works.
    pub compose: Option<&'a Option<String>>,
    /// The project of the target version's compose file, or why Compose refuses it.
    pub project: &'a Result<Project, String>,
    /// The name of the project that runs, where it is known.
    pub project_before: Option<&'a str>,
    /// Free disk, each with what is needed there.
    pub disk: &'a [Disk],
    /// The smallest security epoch that is accepted.
    pub security_epoch: u64,
    /// The product that is installed here.
    pub product: &'a str,
    /// This program's version.
    pub updater: &'a Version,
    /// The database's major version, if it runs: what it is now, and what the new image brings where that is known.
    pub database: Option<(u32, Option<u32>)>,
    /// What a person permits.
    pub permissions: Permissions,
}

/// What an update needs on one file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// What it is for.
    pub what: &'static str,
    /// The directory that is written to.
    pub directory: String,
    /// Bytes that are free.
    pub free: u64,
    /// Bytes that are needed.
    pub needed: u64,
}

/// The blocking problems of the update.
pub fn problems(inputs: &Inputs<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    product(inputs, &mut problems);
    versions(inputs, &mut problems);
    engine(inputs, &mut problems);
    images(inputs, &mut problems);
    data(inputs, &mut problems);
    for disk in inputs.disk {
        let needed = disk.needed.saturating_add(WATERMARK);
        if disk.free < needed {
            problems.push(
                Problem::error(
                    "disk",
                    format!(
                        "{} needs {} bytes in {}, and {} are free",
                        disk.what, needed, disk.directory, disk.free
                    ),
                )
                .hint(format!("free {} bytes there", needed - disk.free)),
            );
        }
    }
    problems
}

fn product(inputs: &Inputs<'_>, problems: &mut Vec<Problem>) {
    let product = inputs.manifest.product.as_str();
    if product != inputs.product {
        problems.push(Problem::error(
            "product",
            format!("the bundle is for {product}, and {} is installed here", inputs.product),
        ));
    }
    if !inputs.manifest.platforms.contains(&inputs.engine.platform) {
        let names: Vec<_> = inputs.manifest.platforms.iter().map(ToString::to_string).collect();
        problems.push(
            Problem::error(
                "platform",
                format!(
                    "the bundle is for {}, and this device is {}",
                    names.join(", "),
                    inputs.engine.platform
                ),
            )
            .hint(format!("take the bundle for {}", inputs.engine.platform)),
        );
    }
}

fn versions(inputs: &Inputs<'_>, problems: &mut Vec<Problem>) {
    let manifest = inputs.manifest;
    if *inputs.updater < manifest.minimum_updater_version {
        problems.push(
            Problem::error(
                "updater",
                format!(
                    "the bundle needs updater {}, and this is {}",
                    manifest.minimum_updater_version, inputs.updater
                ),
            )
            .hint("run install.sh of the bundle's release: it brings its own updater"),
        );
    }
    if manifest.security_epoch < inputs.security_epoch {
        problems.push(Problem::error(
            "security epoch",
            format!(
                "versions before security epoch {} are forbidden on this device, and this one has {}",
                inputs.security_epoch, manifest.security_epoch
            ),
        ));
    }
    let Some(current) = inputs.current else { return };
    if manifest.version < current.version && !inputs.permissions.downgrade {
        problems.push(
            Problem::error(
                "version",
                format!("{} is older than {}, which runs", manifest.version, current.version),
            )
            .hint("`updater rollback` brings the version before back; --allow-downgrade installs any older one"),
        );
    }
    if let Some(oldest) = &manifest.minimum_upgradable_version
        && current.version < *oldest
    {
        problems.push(
            Problem::error(
                "version",
                format!(
                    "only {oldest} and later can be updated to {}, and {} runs",
                    manifest.version, current.version
                ),
            )
            .hint(format!("update to {oldest} first")),
        );
    }
    if let Some(version) = inputs.version_in_env
        && version != current.version.to_string()
    {
        problems.push(
            Problem::error(
                ".env",
                format!(
                    "names version {version}, and {} was installed by the updater",
                    current.version
                ),
            )
            .hint("`updater start` adopts what was set by hand"),
        );
    }
}

fn engine(inputs: &Inputs<'_>, problems: &mut Vec<Problem>) {
    let engine = inputs.engine;
    if engine.major() < OLDEST_ENGINE {
        problems.push(Problem::error(
            "docker",
            format!(
                "engine {} is too old; {OLDEST_ENGINE} or later is needed",
                engine.version
            ),
        ));
    }
    if let Some(compose) = inputs.compose
        && compose.as_deref().is_none_or(|version| major(version) < OLDEST_COMPOSE)
    {
        let found = compose.as_deref().unwrap_or("none");
        problems.push(
            Problem::error(
                "docker",
                format!("the Compose plugin {OLDEST_COMPOSE} or later is needed, and there is {found}"),
            )
            .hint("install the package docker-compose-plugin, docker-compose-v2 or docker-compose (2)"),
        );
    }
}

fn images(inputs: &Inputs<'_>, problems: &mut Vec<Problem>) {
    let Project { name, services } = match inputs.project {
        Ok(project) => project,
        Err(message) => {
            problems.push(Problem::error("compose file", message.clone()));
            return;
        }
    };
    if let Some(before) = inputs.project_before.filter(|before| before != name) {
        problems.push(
            Problem::error(
                "compose file",
                format!("makes the project {name}, and {before} runs: both would run side by side"),
            )
            .hint(format!("release it again with `name: {before}` in its compose file")),
        );
    }
    for service in services {
        let name = &service.name;
        match &service.image {
            Some(image) if inputs.manifest.images.contains(image) => {}
            Some(image) => problems.push(Problem::error(
                "compose file",
                format!("service {name} runs {image}, which is not in the bundle"),
            )),
            None if service.builds => problems.push(Problem::error(
                "compose file",
                format!("service {name} is built on the spot, which a device cannot"),
            )),
            None => problems.push(Problem::error("compose file", format!("service {name} names no image"))),
        }
    }
    let named = [
        inputs.manifest.health.as_ref().map(|health| &health.service),
        inputs.manifest.backup.as_ref().map(|backup| &backup.service),
        inputs.manifest.data.migrated_by.as_ref(),
    ];
    for name in named.into_iter().flatten() {
        if !services.iter().any(|service| service.name == *name) {
            problems.push(Problem::error(
                "compose file",
                format!("the manifest names the service {name}, which it does not have"),
            ));
        }
    }
}

fn data(inputs: &Inputs<'_>, problems: &mut Vec<Problem>) {
    if let Some((now, Some(new))) = inputs.database
        && now != new
    {
        problems.push(
            Problem::error(
                "database",
                format!("the data is PostgreSQL {now}'s, and the bundle brings PostgreSQL {new}"),
            )
            .hint("PostgreSQL cannot read another major version's data; stay on the major version, or migrate by hand with pg_dump"),
        );
    }
    let Some(current) = inputs.current else { return };
    let there = data_there(current, inputs.data);
    match gate(current, inputs.data, &inputs.manifest.version, &inputs.manifest.data) {
        Gate::Open => {}
        Gate::Gated if inputs.manifest.backup.is_some() => {}
        Gate::Gated => problems.push(Problem::error(
            "data",
            format!(
                "{} cannot read what {} makes of the data, and the bundle declares no backup to undo it with",
                current.version, inputs.manifest.version
            ),
        )),
        Gate::Unreadable => problems.push(
            Problem::error(
                "data",
                format!(
                    "the data has revision {}, which {} cannot read",
                    there.revision, inputs.manifest.version
                ),
            )
            .hint("restore a backup from before revision changed, by hand, or stay"),
        ),
    }
}

/// What changing from one version's data to another's means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Both versions can work on the data: code can be undone without touching it.
    Open,
    /// The previous version cannot work on the data afterwards, so nothing may be written before the target version
    /// is sure to stay.
    Gated,
    /// The target version, which is older, cannot work on the present data.
    Unreadable,
}

/// Decides by the data rule, for an update from `current` to `version` with `data`, where the data was `recorded` to be that.
pub fn gate(current: &Release, recorded: Option<&DataRule>, version: &Version, data: &DataRule) -> Gate {
    let there = data_there(current, recorded);
    if data.revision < there.revision {
        return if can_read(version, there) {
            Gate::Open
        } else {
            Gate::Unreadable
        };
    }
    if data.revision == there.revision || can_read(&current.version, data) {
        Gate::Open
    } else {
        Gate::Gated
    }
}

/// What the data is while `current` runs: what a newer version has made of it that was rolled back, or its own.
pub fn data_there<'a>(current: &'a Release, recorded: Option<&'a DataRule>) -> &'a DataRule {
    recorded
        .filter(|data| data.revision > current.data.revision)
        .unwrap_or(&current.data)
}

/// Whether `version`, which is older, can work on `data`.
pub fn can_read(version: &Version, data: &DataRule) -> bool {
    data.readable_by.as_ref().is_some_and(|oldest| version >= oldest)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn rule(revision: u64, readable_by: Option<&str>) -> DataRule {
        DataRule {
            revision,
            readable_by: readable_by.map(|version| version.parse().unwrap()),
            migrated_by: None,
        }
    }

    fn release(version: &str, data: DataRule) -> Release {
        Release {
            id: 1,
            version: version.parse().unwrap(),
            manifest_digest: None,
            directory: None,
            bundle: None,
            pins: BTreeMap::new(),
            data,
            made_on: String::new(),
        }
    }

    #[test]
    fn the_data_rule() {
        for (from, from_data, to, to_data, expected) in [
            ("2.0.0", rule(1, None), "2.1.0", rule(1, None), Gate::Open),
            ("2.0.0", rule(1, None), "2.1.0", rule(2, Some("2.0.0")), Gate::Open),
            ("2.0.0", rule(1, None), "2.1.0", rule(2, Some("2.0.1")), Gate::Gated),
            ("2.0.0", rule(1, None), "2.1.0", rule(2, None), Gate::Gated),
            ("2.1.0", rule(2, Some("2.0.0")), "2.0.0", rule(1, None), Gate::Open),
            (
                "2.1.0",
                rule(2, Some("2.1.0")),
                "2.0.0",
                rule(1, None),
                Gate::Unreadable,
            ),
            ("2.1.0", rule(2, None), "2.0.0", rule(1, None), Gate::Unreadable),
        ] {
            let current = release(from, from_data);
            assert_eq!(
                gate(&current, None, &to.parse().unwrap(), &to_data),
                expected,
                "{from} → {to}"
            );
        }
    }

    #[test]
    fn what_a_version_that_was_rolled_back_has_made_of_the_data_counts() {
        let current = release("2.1.0", rule(2, Some("2.0.0")));
        let there = rule(3, Some("2.1.0"));
        let older = |recorded| gate(&current, recorded, &Version::new(2, 0, 0), &rule(1, None));
        assert_eq!(older(None), Gate::Open);
        assert_eq!(older(Some(&there)), Gate::Unreadable);
        // The same revision again needs no migration.
        let again = gate(&current, Some(&there), &Version::new(2, 2, 0), &there);
        assert_eq!(again, Gate::Open);
    }
}
