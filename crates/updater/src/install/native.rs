//! Native installations are refused: a product that runs without containers cannot be updated by swapping images.
//!
//! One is recognised by a service of the product's name that neither we wrote nor runs Docker, while there is no compose
//! file. Someone's own installation with Docker Compose is none: it is adopted.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::units::{MARK, System};
use device::{Error, Result, config::Config};

/// What people call a compose file.
const COMPOSE_FILES: [&str; 5] = [
    "docker-compose.prod.yml",
    "docker-compose.yml",
    "docker-compose.yaml",
    "compose.yml",
    "compose.yaml",
];

/// Refuses if the product is installed here without containers.
///
/// # Errors
/// It is.
pub(super) fn refuse(config: &Config, system: &System) -> Result<()> {
    if config.compose().exists() || COMPOSE_FILES.iter().any(|name| config.folder.join(name).exists()) {
        return Ok(());
    }
    match system
        .unit_directories()
        .iter()
        .find_map(|directory| native_unit(directory, config))
    {
        None => Ok(()),
        Some(unit) => Err(Error::refused(
            format!(
                "{} is installed on this device without containers: {} starts it, and there is no compose file in {}",
                config.product,
                unit.display(),
                config.folder.display()
            ),
            "save its data, remove that service and its files, then install; the data can be imported afterwards",
        )),
    }
}

/// A service of the product in `directory` that runs something else than Docker.
fn native_unit(directory: &Path, config: &Config) -> Option<PathBuf> {
    let entries = fs::read_dir(directory).ok()?;
    let mut units: Vec<_> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_unit_of(path, config.product.as_str()))
        .collect();
    units.sort();
    // A unit that cannot be read (a dangling link, or one to /dev/null) starts nothing.
    units
        .into_iter()
        .find(|path| fs::read_to_string(path).is_ok_and(|text| is_native(&text)))
}

fn is_unit_of(path: &Path, product: &str) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.strip_prefix(product)
        .is_some_and(|rest| rest.starts_with(['.', '-', '@']) && rest.ends_with(".service"))
}

fn is_native(unit: &str) -> bool {
    let starts = |line: &str| line.trim_start().starts_with("ExecStart");
    !unit.contains(MARK) && unit.lines().any(starts) && !unit.to_lowercase().contains("docker")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_without_docker_and_without_a_compose_file_is_native() {
        let directory = tempfile::tempdir().unwrap();
        let system = System::in_directory(directory.path());
        let mut config = Config::for_product(&"app".parse().unwrap());
        config.folder = directory.path().join("opt/app");
        fs::create_dir_all(&config.folder).unwrap();
        let units = &system.unit_directories()[0];
        fs::create_dir_all(units).unwrap();
        refuse(&config, &system).unwrap();

        for (name, text, native) in [
            ("other.service", "[Service]\nExecStart=/opt/app/run\n", false),
            ("apple.service", "[Service]\nExecStart=/opt/app/run\n", false),
            (
                "app.service",
                "[Service]\nExecStart=/usr/bin/docker compose up\n",
                false,
            ),
            ("app.timer", "[Timer]\nOnBootSec=1\n", false),
            (
                "app-backend.service",
                "[Service]\n ExecStart=/opt/app/venv/bin/python\n",
                true,
            ),
            ("app@.service", "[Service]\nExecStart=/opt/app/run %i\n", true),
        ] {
            let path = units.join(name);
            fs::write(&path, text).unwrap();
            assert_eq!(refuse(&config, &system).is_err(), native, "{name}");
            if native {
                fs::write(config.compose(), "").unwrap();
                refuse(&config, &system).unwrap();
                fs::remove_file(config.compose()).unwrap();
                fs::remove_file(path).unwrap();
            }
        }
        fs::write(
            units.join("app.service"),
            format!("{MARK}\n[Service]\nExecStart=/opt/app/bin/updater start\n"),
        )
        .unwrap();
        refuse(&config, &system).unwrap();
    }
}
