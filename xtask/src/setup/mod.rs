//! `cargo xtask setup`: makes a bare Debian machine able to build and test releases.
//!
//! Flow: [`Step::all`] in order; each looks whether there is something to do ([`Look`]), and only then does it. So a
//! second run only looks, and `--plan` never does more than that. What is made is in [`cache`], made beside and
//! renamed; beyond it setup installs a few Debian packages, links Docker's client and plugins, registers the arm64
//! emulator with the kernel, and lists substitute images in the checkout's `dist/vendor`.
//!
//! A machine with a Docker of its own keeps it: its engine, plugins, emulation and packages are only looked at.

pub(crate) mod apt;
pub mod cache;
mod docker;
mod emulation;
mod host;
mod images;
mod mode;
mod oci;
mod report;
mod sources;
mod tools;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use xshell::Shell;

pub use mode::Mode;

use self::{cache::Cache, docker::Docker, images::Substitute, report::Report, tools::Tool};
use crate::engines::{Engine, Kind};

/// One thing that this machine needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Debian packages that programs from elsewhere cannot do without.
    HostPackages,
    /// An engine that builds.
    Builder,
    /// Docker's client with buildx and compose.
    Clients,
    /// Running arm64 programs.
    Emulation,
    /// A base image.
    Image(Substitute),
    /// A program that checks use.
    Tool(Tool),
}

/// What a step sees before it does anything.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Look {
    /// Nothing is to be done; how it is.
    Ready(String),
    /// What is to be done.
    Missing(String),
    /// Something is missing that setup does not touch here; the fix.
    Left(String),
}

/// What steps know about this machine.
struct Machine {
    sh: Shell,
    cache: Cache,
    vendor: PathBuf,
    docker: Docker,
}

/// Prepares this machine for the checkout in `root`, telling each step on standard output.
///
/// # Errors
/// A step fails; those before it stay done, and the next run goes on from there.
pub fn run(root: &Path, mode: Mode) -> Result<()> {
    let sh = Shell::new()?;
    let cache = Cache::of_user()?;
    let _lock = match mode {
        Mode::Execute => Some(cache.lock()?),
        Mode::Plan => None,
    };
    let docker = Docker::look(&sh, &cache);
    let mut machine = Machine {
        sh,
        cache,
        vendor: root.join("dist/vendor"),
        docker,
    };
    let mut report = Report::start();
    for step in Step::all() {
        let look = step
            .look(&machine)
            .with_context(|| format!("cannot check {}", step.subject()))?;
        match (look, mode) {
            (Look::Ready(what), _) => report.line("ready", &step.subject(), &what)?,
            (Look::Left(what), _) => report.problem(&step.subject(), what)?,
            (Look::Missing(what), Mode::Plan) => report.line("to do", &step.subject(), &what)?,
            (Look::Missing(what), Mode::Execute) => {
                report.begin(&step.subject(), &what)?;
                let started = Instant::now();
                step.execute(&machine)
                    .with_context(|| format!("setup stopped at {}", step.subject()))?;
                machine.docker = Docker::look(&machine.sh, &machine.cache);
                match step.look(&machine)? {
                    Look::Ready(what) => report.done(&step.subject(), &what, started.elapsed())?,
                    Look::Missing(what) | Look::Left(what) => {
                        bail!("{} is still not there after setup: {what}", step.subject())
                    }
                }
            }
        }
    }
    report.finish(mode)
}

/// `PATH` with the directory of setup's tools first, for programs that checks run.
///
/// # Errors
/// There is no directory for the cache, or a directory's name holds a colon.
pub fn search_path() -> Result<OsString> {
    let tools = tools::directory(&Cache::of_user()?);
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(tools).chain(std::env::split_paths(&path)))
        .context("the cache directory's name holds a colon")
}

/// The script that finds what keeps people from using a page.
///
/// # Errors
/// Setup has not fetched it.
pub fn axe() -> Result<PathBuf> {
    found(Tool::Axe)
}

/// The program that holds an API against its OpenAPI document.
///
/// # Errors
/// Setup has not installed it.
pub fn schemathesis() -> Result<PathBuf> {
    found(Tool::Schemathesis)
}

fn found(tool: Tool) -> Result<PathBuf> {
    let path = tool.find(&Cache::of_user()?);
    path.with_context(|| format!("{} is missing\n  hint: cargo xtask setup", tool.name()))
}

impl Step {
    /// All steps, in an order in which each finds what it needs.
    fn all() -> impl Iterator<Item = Self> {
        [Self::HostPackages, Self::Clients, Self::Builder, Self::Emulation]
            .into_iter()
            .chain(Substitute::ALL.map(Self::Image))
            .chain(Tool::ALL.map(Self::Tool))
    }

    /// Its name in reports.
    fn subject(self) -> String {
        match self {
            Self::HostPackages => "Debian packages".to_owned(),
            Self::Builder => "Docker engine".to_owned(),
            Self::Clients => "Docker client".to_owned(),
            Self::Emulation => "arm64 emulation".to_owned(),
            Self::Image(image) => format!("image {}", image.reference()),
            Self::Tool(tool) => tool.name().to_owned(),
        }
    }

    fn look(self, machine: &Machine) -> Result<Look> {
        let look = match self {
            Self::HostPackages => match host::missing_packages(&machine.sh) {
                None => {
                    Look::Left("this is not a Debian machine; install skopeo and minisign by its own means".to_owned())
                }
                Some(missing) if missing.is_empty() => Look::Ready(host::PACKAGES.join(", ")),
                Some(missing) => Look::Missing(format!("apt-get install {}", missing.join(" "))),
            },
            Self::Builder => match &machine.docker {
                Docker::Own(version) => Look::Ready(format!("{version}, this machine's own, left as it is")),
                Docker::Ours(version) => Look::Ready(format!("{version} on {}", machine.builder().host())),
                Docker::Missing => Look::Missing(format!("start engine 26.1 on {}", machine.builder().host())),
            },
            Self::Clients => match docker::missing_clients(&machine.sh).as_slice() {
                [] => Look::Ready("with buildx and compose".to_owned()),
                missing => Look::Missing(format!("link {} from Debian trixie", missing.join(", "))),
            },
            Self::Emulation => match emulation::registered() {
                Some(how) => Look::Ready(how),
                None => Look::Missing("register qemu-aarch64 with the kernel".to_owned()),
            },
            Self::Image(image) => machine.look_for_image(image)?,
            Self::Tool(tool) => match tool.find(&machine.cache) {
                Some(path) => Look::Ready(path.display().to_string()),
                None => Look::Missing(tool.source()),
            },
        };
        Ok(match look {
            Look::Missing(what) if self.is_the_machines_own(machine) => {
                Look::Left(format!("{what} (setup leaves a machine with its own Docker alone)"))
            }
            look => look,
        })
    }

    /// Whether the step would change a machine that another person administers.
    fn is_the_machines_own(self, machine: &Machine) -> bool {
        let is_outside_the_cache = match self {
            Self::HostPackages | Self::Builder | Self::Clients | Self::Emulation => true,
            // Substitutes are made by a Debian package, and are in the cache.
            Self::Image(_) => host::missing_packages(&machine.sh).is_none_or(|missing| missing.contains(&"mmdebstrap")),
            Self::Tool(_) => false,
        };
        is_outside_the_cache && matches!(machine.docker, Docker::Own(_))
    }

    fn execute(self, machine: &Machine) -> Result<()> {
        let Machine { sh, cache, vendor, .. } = machine;
        match self {
            Self::HostPackages => host::install(sh),
            Self::Builder => machine.builder().up(sh).map(drop),
            Self::Clients => docker::link_clients(sh, cache, &docker::missing_clients(sh)),
            Self::Emulation => emulation::register(sh, cache).map(drop),
            Self::Image(image) if docker::resolves(sh, image.reference()) => image.unregister(vendor),
            Self::Image(image) => {
                image.make(sh, cache)?;
                image.register(cache, vendor)
            }
            Self::Tool(tool) => tool.get(sh, cache),
        }
    }
}

impl Machine {
    fn builder(&self) -> Engine {
        Engine::in_cache(Kind::Builder, &self.cache)
    }

    fn look_for_image(&self, image: Substitute) -> Result<Look> {
        let is_substituted = image.is_substituted(&self.vendor)?;
        if docker::resolves(&self.sh, image.reference()) {
            return Ok(match is_substituted {
                true => Look::Missing("take the substitute off the list: a registry answers".to_owned()),
                false => Look::Ready("from its registry".to_owned()),
            });
        }
        let item = image.item(&self.cache);
        Ok(match item.exists() {
            true if image.is_registered(&self.cache, &self.vendor)? => {
                Look::Ready(format!("substitute, as no registry answers: {}", item.path.display()))
            }
            true => Look::Missing("list the substitute in dist/vendor, as no registry answers".to_owned()),
            false => Look::Missing("make a substitute from Debian packages, if no registry answers".to_owned()),
        })
    }
}
