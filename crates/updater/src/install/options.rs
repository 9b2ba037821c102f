//! What a person asks an installation for.

use std::path::PathBuf;

use bundle::signature::PublicKey;

/// What is to be installed, and where.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The bundle.
    pub bundle: PathBuf,
    /// Keys that came from outside of the bundle: `install.sh` hands over its own.
    pub trust: Vec<PublicKey>,
    /// Whether the key that the bundle itself brings is good enough, if no other is known.
    pub trust_on_first_use: bool,
    /// Whether an unsigned bundle is accepted, if no key is known.
    pub allow_unsigned: bool,
    /// Whether a version older than the installed one is accepted.
    pub allow_downgrade: bool,
    /// The product's directory; `/opt/<product>` if none.
    pub folder: Option<PathBuf>,
    /// The configuration's directory; `/etc/<product>` if none.
    pub etc: Option<PathBuf>,
    /// The directory of the updater's own records; `/var/lib/<product>-updater` if none.
    pub state: Option<PathBuf>,
    /// The Docker engine's address; `$DOCKER_HOST` or the default socket if none. One that is named is never installed.
    pub docker_host: Option<String>,
    /// Whether the machine is set up: units for systemd and a link in `/usr/local/bin`. Without it, another init
    /// system, or a test, starts `updater start` and `updater daemon`.
    pub units: bool,
}
