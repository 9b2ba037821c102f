//! Where an installation goes: the configuration that is there, or the one that it gets.

use std::path::{Path, PathBuf};

use bundle::names::ProductName;

use super::options::Options;
use device::{
    Error, Result,
    config::{self, Config},
};

/// The configuration that is there, or else the one that an installation gets.
pub(super) fn configuration(options: &Options, product: &ProductName) -> Result<Config> {
    let mut config = Config::for_product(product);
    if let Some(etc) = &options.etc {
        config.etc = absolute(etc)?;
    }
    let place = config.etc.join(config::FILE);
    let known = place.is_file();
    if known {
        config = Config::read(&place)?;
        if config.product != *product {
            return Err(Error::refused(
                format!(
                    "the bundle is for {product}, and {} is for {}",
                    place.display(),
                    config.product
                ),
                "take the bundle of that product, or another --etc",
            ));
        }
    } else if options.docker_host.is_none() {
        // The service is started without this variable.
        config.docker_host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    }
    let place_of = |name: &str, given: &Option<PathBuf>, value: &mut PathBuf| -> Result<()> {
        let Some(given) = given else { return Ok(()) };
        let given = absolute(given)?;
        if known && given != *value {
            return Err(Error::refused(
                format!(
                    "{} says that {name} is {}, not {}",
                    place.display(),
                    value.display(),
                    given.display()
                ),
                format!("leave --{name} away, or uninstall first"),
            ));
        }
        *value = given;
        Ok(())
    };
    place_of("folder", &options.folder, &mut config.folder)?;
    place_of("state", &options.state, &mut config.state)?;
    if let Some(host) = &options.docker_host {
        if known && config.docker_host.as_ref() != Some(host) {
            return Err(Error::refused(
                format!("{} names another Docker engine than {host}", place.display()),
                "leave --docker-host away, or change docker-host there",
            ));
        }
        config.docker_host = Some(host.clone());
    }
    for place in [&config.folder, &config.etc, &config.state] {
        expect_plain(place)?;
    }
    Ok(config)
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::io("find", path))
}

/// Paths become part of units, compose files and shell commands in the documentation: none needs quoting.
fn expect_plain(path: &Path) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    match path.to_str() {
        Some(text) if text.chars().all(plain) && path.parent().is_some() => Ok(()),
        _ => Err(Error::refused(
            format!("cannot install into {}", path.display()),
            "a path of letters, digits and ._-+@",
        )),
    }
}
