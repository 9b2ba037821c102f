//! A device that knows a double of GitHub.

use std::time::Duration;

use bundle::Platform;
use github_double::{Draft, GitHub as Double};

use crate::github::{GitHub, Patience, Then};
use device::testing::device::Device;
use device::{
    Result,
    config::github::Settings,
    control::progress::Silent,
    store::{Store, Update},
};

/// The repository.
pub(super) const REPOSITORY: &str = "owner/app";

/// A device that knows a double of GitHub.
pub(super) struct Site {
    pub(super) device: Device,
    pub(super) double: Double,
    pub(super) platform: Platform,
}

impl Site {
    /// `device`, and a repository without releases.
    pub(super) fn new(mut device: Device) -> Self {
        let double = Double::start().unwrap();
        double.world().add_repository(REPOSITORY);
        let declared = bundle::manifest::GitHub {
            repository: REPOSITORY.parse().unwrap(),
            api: Some(double.api_url()),
        };
        device.config.github = Settings::try_from(&declared).ok();
        Self {
            device,
            double,
            platform: "linux/amd64".parse().unwrap(),
        }
    }

    pub(super) fn publish(&self, tag: &str, assets: &[(&str, &[u8])]) -> u64 {
        let draft = Draft {
            tag: tag.to_owned(),
            body: format!("- what {tag} brings"),
            ..Draft::default()
        };
        self.double.world().publish(REPOSITORY, draft, assets)
    }

    pub(super) fn github(&self) -> GitHub<'_> {
        let patience = Patience {
            connect: Duration::from_secs(5),
            stall: Duration::from_millis(300),
            answer: Duration::from_secs(5),
        };
        let github = GitHub::new(&self.device.config, &self.device.world, &self.platform);
        github.unwrap().with(patience)
    }

    pub(super) fn store(&self) -> Store {
        self.device.store()
    }

    pub(super) fn request(&self, version: &str, then: Then) -> Update {
        let version = version.parse().unwrap();
        self.github().request(&mut self.store(), &version, then).unwrap()
    }

    pub(super) fn fetch(&self) -> Result<Update> {
        let id = self.device.update().id;
        self.github().fetch(&mut self.store(), id, &Silent)
    }
}
