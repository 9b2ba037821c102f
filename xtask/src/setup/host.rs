//! Debian packages that are installed on the machine itself.
//!
//! Only those that need to fit the machine's own libraries or kernel; everything else is unpacked into the cache.

use anyhow::{Context as _, Result};
use pipeline::system::process::{self, Live};
use xshell::{Shell, cmd};

/// What engines run (`iptables`, `iproute2`, `runc`) and link (`libdevmapper`), what makes root file systems
/// (`mmdebstrap`), and what checks use: other programs than ours, a browser, and a database for the demo product's tests.
pub(super) const PACKAGES: [&str; 16] = [
    "ca-certificates",
    "chromium",
    "chromium-driver",
    "curl",
    "file",
    "iproute2",
    "iptables",
    "libdevmapper1.02.1",
    "minisign",
    "mmdebstrap",
    "openssl",
    "postgresql",
    "python3-venv",
    "runc",
    "skopeo",
    "unzip",
];

/// Those of [`PACKAGES`] that are not installed; none if this machine has no Debian packages.
pub(super) fn missing_packages(sh: &Shell) -> Option<Vec<&'static str>> {
    // It fails when a package is unknown, and tells about the others nevertheless.
    let query = cmd!(sh, "dpkg-query --show --showformat")
        .arg("${db:Status-Status}=${Package}\n")
        .args(PACKAGES)
        .ignore_status()
        .quiet();
    let installed = query.ignore_stderr().read().ok()?;
    let is_missing = |package: &&str| !installed.lines().any(|line| line == format!("installed={package}"));
    Some(PACKAGES.into_iter().filter(is_missing).collect())
}

/// Installs what is missing, from the machine's own suite.
///
/// # Errors
/// apt fails; without the right to install packages, for instance.
pub(super) fn install(sh: &Shell) -> Result<()> {
    let missing = missing_packages(sh).context("this is not a Debian machine")?;
    apt_install(sh, &missing)
}

/// Installs `package` unless `program` is on the path: it may have come from elsewhere than Debian.
///
/// # Errors
/// apt fails; without the right to install packages, for instance.
pub(super) fn need(sh: &Shell, program: &str, package: &str) -> Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join(program).is_file()) {
        return Ok(());
    }
    apt_install(sh, &[package])
}

fn apt_install(sh: &Shell, packages: &[&str]) -> Result<()> {
    let hint = "cannot install Debian packages\nhint: setup needs to run as root";
    process::run_live(cmd!(sh, "apt-get update --quiet"), Live::Hide).context(hint)?;
    let install = cmd!(sh, "apt-get install --yes --quiet --no-install-recommends")
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive");
    process::run_live(install, Live::Hide).context(hint)
}
