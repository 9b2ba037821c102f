//! Debian packages of any suite, from this machine's own mirrors.
//!
//! Flow: read the machine's apt sources → keep Debian's own (those that name this machine's suite) → write them
//! with another suite's name into a directory of our own, with its own lists and empty package state → download from
//! there and unpack with `dpkg -x`. Nothing of this touches the machine's own apt lists or package database. No
//! mirror's name is written in this repository: a machine's mirrors are known only to the machine.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use pipeline::system::process;
use xshell::{Cmd, Shell, cmd};

use super::{
    cache::{Cache, Item},
    sources,
};

/// How long fetched package lists are used; a package that has moved on is then not found.
const FRESH: Duration = Duration::from_secs(3 * 60 * 60);

/// Our sources file's name.
const SOURCES: &str = "debian.sources";

/// The apt option for lists past their date.
pub(crate) const CHECK_VALID_UNTIL: &str = "Acquire::Check-Valid-Until=false";

/// A Debian suite, by its code name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    /// Debian 12, what most devices run.
    Bookworm,
    /// Debian 13.
    Trixie,
    /// The unstable suite, with the newest Rust.
    Sid,
}

impl Suite {
    /// Its name in an archive.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Sid => "sid",
        }
    }
}

/// Packages that are unpacked into the cache, not installed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packages {
    /// The cache item's name.
    pub(crate) name: &'static str,
    /// Where they come from.
    pub(crate) suite: Suite,
    /// The packages, without their dependencies.
    pub(crate) packages: &'static [&'static str],
}

impl Packages {
    /// Where they are, or will be.
    pub(crate) fn item(&self, cache: &Cache) -> Item {
        let recipe = format!("{} {}", self.suite.name(), self.packages.join(" "));
        cache.item(self.name, &recipe)
    }

    /// Downloads and unpacks them, if that was not done before.
    ///
    /// # Errors
    /// They cannot be downloaded or unpacked.
    pub(crate) fn unpack(&self, sh: &Shell, cache: &Cache) -> Result<PathBuf> {
        let item = self.item(cache);
        item.make(|directory| {
            let archive = Archive::open(sh, cache, self.suite)?;
            archive.unpack(sh, self.packages, directory)
        })
        .with_context(|| {
            format!(
                "cannot unpack {} from Debian {}",
                self.packages.join(", "),
                self.suite.name()
            )
        })?;
        Ok(item.path)
    }
}

/// One suite's package lists, in a directory of our own.
#[derive(Clone, Debug)]
pub(crate) struct Archive {
    directory: PathBuf,
}

impl Archive {
    /// The lists of `suite`, fetched now unless they are fresh.
    ///
    /// # Errors
    /// This machine has no Debian sources, or the lists cannot be fetched.
    pub(crate) fn open(sh: &Shell, cache: &Cache, suite: Suite) -> Result<Self> {
        let sources = sources::of_machine(Path::new("/"))?;
        let text = sources::render(&sources, suite.name());
        let item = cache.item(&format!("apt/{}", suite.name()), &text);
        let archive = Self {
            directory: item.path.clone(),
        };
        item.make(|directory| {
            fs::write(directory.join(SOURCES), &text)?;
            fs::write(directory.join("status"), "")?;
            for part in ["lists/partial", "archives/partial"] {
                fs::create_dir_all(directory.join(part))?;
            }
            Ok(())
        })?;
        if !archive.is_fresh() {
            process::run_live(archive.apt(sh, "apt-get").arg("update"), process::Live::Hide)
                .with_context(|| format!("cannot fetch the package lists of Debian {}", suite.name()))?;
            fs::write(archive.stamp(), "")?;
        }
        Ok(archive)
    }

    /// The sources file, for tools that fetch packages themselves.
    pub(crate) fn sources(&self) -> PathBuf {
        self.directory.join(SOURCES)
    }

    /// The newest version of `package`.
    ///
    /// # Errors
    /// The suite does not have it.
    pub(crate) fn version(&self, sh: &Shell, package: &str) -> Result<String> {
        let show = self.apt(sh, "apt-cache").args(["show", "--no-all-versions", package]);
        let text = process::read(show)?;
        let version = text.lines().find_map(|line| line.strip_prefix("Version: "));
        Ok(version
            .with_context(|| format!("no version of package `{package}` is known"))?
            .to_owned())
    }

    /// Downloads `packages` and unpacks them over each other into `directory`.
    fn unpack(&self, sh: &Shell, packages: &[&str], directory: &Path) -> Result<()> {
        let debs = tempfile::tempdir_in(&self.directory)?;
        // `apt-get download` writes into its current directory.
        let here = sh.clone();
        here.change_dir(debs.path());
        let download = self.apt(&here, "apt-get").arg("download").args(packages);
        process::run_live(download, process::Live::Hide)?;
        let mut unpacked = 0;
        for deb in fs::read_dir(debs.path())? {
            let deb = deb?.path();
            process::read(cmd!(sh, "dpkg -x {deb} {directory}"))?;
            unpacked += 1;
        }
        ensure!(
            unpacked == packages.len(),
            "{unpacked} of {} packages were downloaded",
            packages.len()
        );
        Ok(())
    }

    /// An apt program that sees only this archive.
    fn apt<'sh>(&self, sh: &'sh Shell, program: &str) -> Cmd<'sh> {
        let at = |option: &str, name: &str| format!("{option}={}", self.directory.join(name).display());
        let options = [
            at("Dir::Etc::SourceList", SOURCES),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            at("Dir::State::Lists", "lists"),
            at("Dir::State::Status", "status"),
            at("Dir::Cache", ""),
            at("Dir::Cache::Archives", "archives"),
            // The directory may be closed to apt's own user.
            "APT::Sandbox::User=root".to_owned(),
            // A suite that is no longer signed every week is still signed.
            CHECK_VALID_UNTIL.to_owned(),
            "Acquire::Languages=none".to_owned(),
        ];
        let mut cmd = sh.cmd(program);
        for option in options {
            cmd = cmd.arg("-o").arg(option);
        }
        cmd
    }

    fn stamp(&self) -> PathBuf {
        self.directory.join("updated")
    }

    fn is_fresh(&self) -> bool {
        let age = fs::metadata(self.stamp())
            .and_then(|stamp| stamp.modified())
            .map(|time| time.elapsed());
        matches!(age, Ok(Ok(age)) if age < FRESH)
    }
}

/// An `Option=value` as a line of apt's configuration.
pub(crate) fn config_line(option: &str) -> String {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    format!("{name} \"{value}\"")
}
