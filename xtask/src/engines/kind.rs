//! The kinds of engines, and the Debian packages that each is.

use crate::setup::apt::{Packages, Suite};

/// A kind of engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Builds releases: engine 26.1 with the containerd image store, on the configured socket.
    Builder,
    /// A Debian 12 device: engine 20.10, classic image store.
    Docker20,
    /// A Debian 13 device as it comes: engine 26.1, classic image store.
    Docker26Classic,
    /// A Debian 13 device with the containerd image store.
    Docker26Containerd,
}

/// Engine 20.10, from the suite that Debian 12 devices run.
const DOCKER_20: Packages = Packages {
    name: "docker-20.10",
    suite: Suite::Bookworm,
    packages: &["docker.io", "containerd", "tini"],
};

/// Engine 26.1 with its client and the client's plugins.
pub(crate) const DOCKER_26: Packages = Packages {
    name: "docker-26.1",
    suite: Suite::Trixie,
    packages: &[
        "docker.io",
        "docker-cli",
        "docker-buildx",
        "docker-compose",
        "containerd",
        "tini",
    ],
};

impl Kind {
    /// The devices to test against.
    pub const DEVICES: [Self; 3] = [Self::Docker20, Self::Docker26Classic, Self::Docker26Containerd];

    /// Its name, also in file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Builder => "builder",
            Self::Docker20 => "docker-20.10",
            Self::Docker26Classic => "docker-26.1-classic",
            Self::Docker26Containerd => "docker-26.1-containerd",
        }
    }

    /// What it runs from. The machine's own runc is used: other suites' need a newer C library.
    pub(crate) fn packages(self) -> Packages {
        match self {
            Self::Docker20 => DOCKER_20,
            Self::Builder | Self::Docker26Classic | Self::Docker26Containerd => DOCKER_26,
        }
    }

    pub(crate) fn has_containerd_store(self) -> bool {
        matches!(self, Self::Builder | Self::Docker26Containerd)
    }

    /// A small number of its own, for addresses.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Builder => 0,
            Self::Docker20 => 1,
            Self::Docker26Classic => 2,
            Self::Docker26Containerd => 3,
        }
    }
}
