//! The repository that this device's versions come from: the handle that checks and downloads hang on.

use bundle::Platform;
use semver::Version;

use super::client::Patience;
use device::{
    Error, Result,
    config::{self, Config, github::Settings},
    system::clock::Clock,
};

/// The repository that this device's versions come from.
#[derive(Clone, Copy)]
pub struct GitHub<'a> {
    pub(super) config: &'a Config,
    pub(super) settings: &'a Settings,
    pub(super) clock: &'a dyn Clock,
    pub(super) platform: &'a Platform,
    pub(super) patience: Patience,
}

impl<'a> GitHub<'a> {
    /// The repository that the configuration names, for a device whose containers run on `platform`.
    ///
    /// # Errors
    /// The configuration names none.
    pub fn new(config: &'a Config, clock: &'a dyn Clock, platform: &'a Platform) -> Result<Self> {
        let settings = config.github.as_ref().ok_or_else(|| {
            Error::refused(
                "this device knows no repository on GitHub",
                format!(
                    "add to {}: [github] repository = \"owner/name\"",
                    config.etc.join(config::FILE).display()
                ),
            )
        })?;
        Ok(Self {
            config,
            settings,
            clock,
            platform,
            patience: Patience::LONG,
        })
    }

    /// The same, with another patience.
    pub fn with(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Where people see the releases.
    pub fn releases_page(&self) -> String {
        let pages = self.settings.api.base().map(|base| base.pages()).unwrap_or_default();
        format!("{pages}/{}/releases", self.settings.repository)
    }

    /// The version that is downloaded from an address, if it is that of a file of a release of the declared repository.
    /// No request is sent. Any other address must not be followed: it could lead into this device's network.
    pub fn version_of_url(&self, url: &str) -> Option<Version> {
        let rest = url.strip_prefix(&self.releases_page())?.strip_prefix("/download/")?;
        let (tag, file) = rest.split_once('/')?;
        let plain = !file.is_empty() && !file.contains(['/', '?', '#', '%', '\\']);
        bundle::names::tag::version_with_or_without_v(tag).filter(|_| plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundle::manifest;
    use device::system::clock::SystemClock;

    #[test]
    fn only_the_declared_repository_is_downloaded_from() {
        let mut config = Config::for_product(&"app".parse().unwrap());
        let (clock, platform) = (SystemClock::start(), Platform::host());
        assert!(GitHub::new(&config, &clock, &platform).is_err());
        config.github = Settings::try_from(&manifest::GitHub {
            repository: "owner/app".parse().unwrap(),
            api: None,
        })
        .ok();
        let github = GitHub::new(&config, &clock, &platform).unwrap();
        let version = |url: &str| github.version_of_url(url).map(|version| version.to_string());
        let good = "https://github.com/owner/app/releases/download/v2.1.0/app-update-2.1.0.tar.gz";
        assert_eq!(version(good), Some("2.1.0".to_owned()));
        for bad in [
            "https://github.com/owner/app2/releases/download/v2.1.0/a.tar.gz",
            "https://github.com/owner/app/releases/download/v2.1.0/",
            "https://github.com/owner/app/releases/download/nightly/a.tar.gz",
            "https://github.com/owner/app/releases/download/v2.1.0/../../a",
            "https://github.com/owner/app/releases/download/v2.1.0/a?b",
            "https://github.com.example/owner/app/releases/download/v2.1.0/a.tar.gz",
            "http://github.com/owner/app/releases/download/v2.1.0/a.tar.gz",
            "http://169.254.169.254/latest/meta-data",
            "file:///etc/passwd",
            "",
        ] {
            assert_eq!(version(bad), None, "{bad}");
        }
    }
}
