//! Newer versions from GitHub Releases: asked for, downloaded, and handed to the updater. The only part that knows GitHub.
//!
//! ```text
//! check      which release is the newest that this device wants      check, releases
//! request    its bundle is wanted: an update is `downloading`        download
//! fetch      its files, each going on where it stopped               download, file, resume
//! then       `pending`, for a person; or applied, if that was meant  automatic
//! ```
//!
//! Speaking to GitHub is in `client`, what goes wrong in `fault`. The daemon does it all by itself as far as it may
//! ([`worker`]), daily (`schedule`), and applies in maintenance windows (`window`). A device without internet is a
//! device like any other: that is shown to whoever asks, and logged once.
//!
//! **For a page or an API**, four calls are enough. [`GitHub::last_check`] asks nobody; [`GitHub::check`] asks GitHub, and
//! with [`Patience::SHORT`] ([`GitHub::with`]) ends in seconds for somebody who waits; [`GitHub::request`] records that a
//! version is wanted, after which [`Waker::wake`] gets the daemon going at once; [`Store::fetched`] says how far it is.
//! [`GitHub::version_of_url`] says which version an address downloads, if it is one of the declared repository. All of
//! them block: call them where that does no harm. What happens meanwhile is seen in the update's phase: `downloading`,
//! with why it does not go on in its `error`; then `pending` with a bundle, or `verifying`.
//!
//! [`Store::fetched`]: device::store::Store::fetched
//!
//! Nothing is trusted that comes from there: digests only tell early that something is damaged. What counts is the
//! signature of the bundle, which the updater checks as for any other.

mod check;
mod client;
pub(crate) mod download;
mod fault;
mod file;
pub(crate) mod releases;
mod resume;
mod schedule;
pub(crate) mod wanted;
pub mod worker;

pub use self::{check::Check, client::Patience, download::Then, fault::Fault, releases::Found, worker::Waker};
pub use device::config::{
    github::{Api, Automatic, Channel, Settings},
    window::Window,
};
pub use device::store::{RemoteBundle, RemoteFile};

use bundle::Platform;
use semver::Version;

use device::{Error, Result, config::Config, system::clock::Clock};

/// The repository that this device's versions come from.
#[derive(Clone, Copy)]
pub struct GitHub<'a> {
    config: &'a Config,
    settings: &'a Settings,
    clock: &'a dyn Clock,
    platform: &'a Platform,
    patience: Patience,
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
                    config.etc.join(device::config::FILE).display()
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
    /// Asks nobody. Any other address must not be followed: it could lead into this device's network.
    pub fn version_of_url(&self, url: &str) -> Option<Version> {
        let rest = url.strip_prefix(&self.releases_page())?.strip_prefix("/download/")?;
        let (tag, file) = rest.split_once('/')?;
        let plain = !file.is_empty() && !file.contains(['/', '?', '#', '%', '\\']);
        releases::version_of_tag(tag).filter(|_| plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use device::system::clock::SystemClock;

    #[test]
    fn only_the_declared_repository_is_downloaded_from() {
        let mut config = Config::for_product(&"app".parse().unwrap());
        let (clock, platform) = (SystemClock::start(), Platform::host());
        assert!(GitHub::new(&config, &clock, &platform).is_err());
        config.github = Settings::try_from(&bundle::manifest::GitHub {
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
