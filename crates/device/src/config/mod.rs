//! The updater's configuration, and the paths of its files on a device.
//!
//! `/etc/<product>/updater.toml` is written at installation and kept at updates. Everything else follows from it.

pub mod github;
pub mod network;
pub mod window;

use std::{
    fs,
    net::{Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use bundle::names::ProductName;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    config::{
        github::{Automatic, Settings as GitHub},
        network::Network,
    },
    system::files,
};

/// The configuration's file name.
pub const FILE: &str = "updater.toml";

/// The configuration of one product's updater. Unknown keys are refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// The product.
    pub product: ProductName,
    /// The product's directory, with compose file and `.env`: `/opt/<product>`.
    pub folder: PathBuf,
    /// The directory of the updater's own records: `/var/lib/<product>-updater`.
    pub state: PathBuf,
    /// The compose file's name in `folder`.
    #[serde(default = "default_compose_file")]
    pub compose_file: String,
    /// The Docker engine's address; `$DOCKER_HOST` or the default socket if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker_host: Option<String>,
    /// What is kept of the past.
    #[serde(default)]
    pub keep: Keep,
    /// Where newer versions are found; nowhere if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub github: Option<GitHub>,
    /// What the updater does without a request.
    #[serde(default, skip_serializing_if = "Automatic::is_off")]
    pub automatic: Automatic,
    /// How the page and the API are served.
    #[serde(default, skip_serializing_if = "Web::is_default")]
    pub web: Web,
    /// The configuration's own directory, which also holds the trusted keys.
    #[serde(skip)]
    pub etc: PathBuf,
}

/// What is kept of the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Keep {
    /// The newest database backups, by number. The one that a rollback could need is kept in any case.
    #[serde(default = "ten")]
    pub backups: usize,
    /// Failed bundles, by number.
    #[serde(default = "three")]
    pub failed: usize,
}

/// How the page and the API are served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Web {
    /// Whether they are served at all.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The address and port to listen on. `[::]` is every address of the device, IPv4 too.
    #[serde(default = "everywhere")]
    pub listen: SocketAddr,
    /// A certificate chain in PEM: then HTTPS is served, and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// The certificate's private key in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The addresses of proxies whose `X-Forwarded-For`, `-Host` and `-Proto` are believed: `172.16.0.0/12`, `10.1.2.3`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proxies: Vec<Network>,
}

impl Web {
    /// Where a person opens the page; none if it is not served. Where every address of the device is listened on, the
    /// device is called by its host name.
    pub fn address(&self) -> Option<String> {
        let scheme = if self.certificate.is_some() { "https" } else { "http" };
        let (ip, port) = (self.listen.ip(), self.listen.port());
        let host = match ip.is_unspecified() {
            true => rustix::system::uname().nodename().to_string_lossy().into_owned(),
            false if ip.is_ipv6() => format!("[{ip}]"),
            false => ip.to_string(),
        };
        self.enabled.then(|| format!("{scheme}://{host}:{port}"))
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Web {
    fn default() -> Self {
        Self {
            enabled: yes(),
            listen: everywhere(),
            certificate: None,
            key: None,
            proxies: Vec::new(),
        }
    }
}

fn yes() -> bool {
    true
}

fn everywhere() -> SocketAddr {
    SocketAddr::from((Ipv6Addr::UNSPECIFIED, 8450))
}

impl Default for Keep {
    fn default() -> Self {
        Self {
            backups: ten(),
            failed: three(),
        }
    }
}

fn default_compose_file() -> String {
    "docker-compose.prod.yml".to_owned()
}

fn ten() -> usize {
    10
}

fn three() -> usize {
    3
}

impl Config {
    /// The configuration that an installation of `product` gets.
    pub fn for_product(product: &ProductName) -> Self {
        Self {
            product: product.clone(),
            folder: Path::new("/opt").join(product.as_str()),
            state: PathBuf::from(format!("/var/lib/{product}-updater")),
            compose_file: default_compose_file(),
            docker_host: None,
            keep: Keep::default(),
            github: None,
            automatic: Automatic::default(),
            web: Web::default(),
            etc: Path::new("/etc").join(product.as_str()),
        }
    }

    /// Reads the configuration in the file `path`.
    ///
    /// # Errors
    /// It cannot be read, has an unknown key, or a value of the wrong form.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(Error::io("read", path))?;
        let mut config: Self = toml::from_str(&text).map_err(|error| Error::Content {
            path: path.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        })?;
        config.etc = path.parent().map(Path::to_owned).unwrap_or_default();
        if config.web.certificate.is_some() != config.web.key.is_some() {
            return Err(Error::Content {
                path: path.to_owned(),
                message: "web.certificate and web.key belong together: give both or none".to_owned(),
            });
        }
        Ok(config)
    }

    /// Reads the only configuration that this device has, `/etc/*/updater.toml`.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn find() -> Result<Self> {
        let etc = Path::new("/etc");
        let mut found: Vec<_> = fs::read_dir(etc)
            .map_err(Error::io("read", etc))?
            .filter_map(|entry| Some(entry.ok()?.path().join(FILE)))
            .filter(|path| path.is_file())
            .collect();
        found.sort();
        match found.as_slice() {
            [path] => Self::read(path),
            [] => Err(Error::refused(
                "nothing is installed on this device: there is no /etc/*/updater.toml",
                "sudo bash install.sh BUNDLE",
            )),
            several => Err(Error::refused(
                format!("{} products are installed on this device", several.len()),
                format!("say which one: --config {}", several[0].display()),
            )),
        }
    }

    /// Writes the configuration to its place.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self) -> Result<()> {
        let path = self.etc.join(FILE);
        let text = toml::to_string_pretty(self).map_err(|error| Error::Content {
            path: path.clone(),
            message: error.to_string(),
        })?;
        files::make_directory(&self.etc)?;
        files::write(&path, text.as_bytes(), 0o644)
    }

    /// The compose file in use.
    pub fn compose(&self) -> PathBuf {
        self.folder.join(&self.compose_file)
    }

    /// The environment file in use.
    pub fn env(&self) -> PathBuf {
        self.folder.join(".env")
    }

    /// The drop directory for bundles.
    pub fn updates(&self) -> PathBuf {
        self.folder.join("updates")
    }

    /// The bundles of versions that were applied.
    pub fn applied(&self) -> PathBuf {
        self.updates().join("applied")
    }

    /// The bundles that failed, each with its diagnosis.
    pub fn failed(&self) -> PathBuf {
        self.updates().join("failed")
    }

    /// The bundles that come from GitHub, until they are applied.
    pub fn downloads(&self) -> PathBuf {
        self.updates().join("downloads")
    }

    /// The database backups.
    pub fn backups(&self) -> PathBuf {
        self.updates().join("backups")
    }

    /// One directory for each version that was or is in use.
    pub(crate) fn releases(&self) -> PathBuf {
        self.state.join("releases")
    }

    /// The files that an update replaces, kept until it has ended.
    pub(crate) fn work(&self) -> PathBuf {
        self.state.join("work")
    }

    /// The record of updates.
    pub fn database(&self) -> PathBuf {
        self.state.join("updates.sqlite")
    }

    /// The lock of the process that acts.
    pub fn lock(&self) -> PathBuf {
        self.state.join("lock")
    }

    /// The lock of the process that downloads.
    pub fn download_lock(&self) -> PathBuf {
        self.state.join("download.lock")
    }

    /// The keys whose bundles are accepted, one minisign public key file each.
    pub fn trusted_keys(&self) -> PathBuf {
        self.etc.join("trusted-keys")
    }

    /// Makes the directories that are needed.
    ///
    /// # Errors
    /// One cannot be made, or is a symbolic link where others than root may write.
    pub fn make_directories(&self) -> Result<()> {
        self.refuse_links()?;
        for directory in [
            self.folder.clone(),
            self.updates(),
            self.applied(),
            self.failed(),
            self.downloads(),
            self.backups(),
            self.releases(),
            self.work(),
        ] {
            files::make_directory(&directory)?;
        }
        Ok(())
    }

    /// A group may write to `updates/`. Root would follow a link there, and remove its target or restore it.
    pub fn refuse_links(&self) -> Result<()> {
        for directory in [self.applied(), self.failed(), self.downloads(), self.backups()] {
            if directory.is_symlink() {
                return Err(Error::refused(
                    format!("{} is a symbolic link, and may lead anywhere", directory.display()),
                    format!("sudo rm {}, and it is made anew", directory.display()),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::for_product(&"webmacs".parse().unwrap());
        config.etc = directory.path().join("etc");
        config.docker_host = Some("unix:///run/other.sock".to_owned());
        config.github = GitHub::try_from(&bundle::manifest::GitHub {
            repository: "owner/webmacs".parse().unwrap(),
            api: Some("https://git.example/api/v3".to_owned()),
        })
        .ok();
        assert!(config.github.is_some());
        config.automatic.apply = true;
        config.automatic.windows = vec!["Sat 23:00-01:00".parse().unwrap()];
        config.write().unwrap();
        assert_eq!(Config::read(&config.etc.join(FILE)).unwrap(), config);
    }

    #[test]
    fn what_a_person_writes_is_understood() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        let text = "product = 'a'\nfolder = '/a'\nstate = '/b'\n\n\
                    [github]\nrepository = 'owner/a'\nchannel = 'prerelease'\ncheck-hours = 6\n\n\
                    [automatic]\ndownload = true\nwindows = ['Sat,Sun 02:00-04:00']\n";
        fs::write(&path, text).unwrap();
        let config = Config::read(&path).unwrap();
        let github = config.github.unwrap();
        assert_eq!(github.api.to_string(), "https://api.github.com");
        assert_eq!((github.check_hours, github.token_file), (6, None));
        assert!(config.automatic.download && !config.automatic.apply);
        for (right, wrong, named) in [
            ("'owner/a'", "'owner'", "owner/name"),
            ("'Sat,Sun 02:00-04:00'", "'weekends'", "maintenance window"),
            ("check-hours", "check-hour", "check-hour"),
            ("'prerelease'", "'beta'", "beta"),
        ] {
            fs::write(&path, text.replace(right, wrong)).unwrap();
            let error = Config::read(&path).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_link_in_place_of_a_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::for_product(&"app".parse().unwrap());
        config.folder = directory.path().join("opt");
        config.state = directory.path().join("state");
        config.make_directories().unwrap();
        let elsewhere = directory.path().join("elsewhere");
        for place in [config.applied(), config.failed(), config.downloads(), config.backups()] {
            fs::remove_dir(&place).unwrap();
            std::os::unix::fs::symlink(&elsewhere, &place).unwrap();
            let error = config.make_directories().unwrap_err();
            assert!(error.to_string().contains(&place.display().to_string()), "{error}");
            assert!(error.hint().is_some());
            fs::remove_file(&place).unwrap();
            config.make_directories().unwrap();
        }
        assert!(!elsewhere.exists());
    }

    #[test]
    fn an_unknown_key_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        fs::write(&path, "product = 'a'\nfolder = '/a'\nstate = '/b'\nkepp = {}\n").unwrap();
        let error = Config::read(&path).unwrap_err().to_string();
        assert!(error.contains("kepp"), "{error}");
    }
}
