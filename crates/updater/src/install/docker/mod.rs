//! Docker and Compose 2: what is there is left alone, what is missing is installed.
//!
//! ```text
//! look    does the engine answer? is the program `docker` there? the Compose plugin?
//! decide  a pure function: what is there → what to do, or why it cannot be done   [`mod@decide`]
//! do      start the engine · the distribution's packages · the plugin that the bundle brings
//! look    again: an installation that says it worked is not believed
//! ```
//!
//! An engine that is named (`--docker-host`) is never installed or started.

mod decide;

use std::{
    collections::BTreeMap,
    env,
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use bundle::{Platform, manifest::FileRole, names::EntryName};

use self::decide::{Engine, Found, Step, decide, major, what_to_bring};
use super::{report::Report, units::System};
use device::{
    Error, Result,
    config::Config,
    containers::{ContainerEngine as _, docker::Docker},
    error::ProcessError,
    stack::bundle_files::Bundle,
    system::{
        files,
        process::{self, Input},
    },
};

/// Where all users' Docker looks for plugins that an administrator installed (docker/cli, manager_unix.go).
const PLUGINS: &str = "/usr/local/lib/docker/cli-plugins";

/// Everywhere it looks for all users' plugins.
const PLUGIN_DIRECTORIES: [&str; 4] = [
    PLUGINS,
    "/usr/local/libexec/docker/cli-plugins",
    "/usr/lib/docker/cli-plugins",
    "/usr/libexec/docker/cli-plugins",
];

/// The plugin's file name.
const PLUGIN: &str = "docker-compose";

/// Packages that are asked about.
const PACKAGES: [&str; 5] = [
    "docker.io",
    "docker-cli",
    "docker-compose-plugin",
    "docker-compose-v2",
    "docker-compose",
];

/// How long packages may take: a slow network and an SD card.
const INSTALLING: Duration = Duration::from_secs(60 * 60);

/// How long a question to a program may take.
const ASKING: Duration = Duration::from_secs(60);

/// How long an engine that was started may take until it answers.
const STARTING: Duration = Duration::from_secs(120);

/// Output lines that an error keeps.
const TAIL: usize = 20;

/// Makes sure that there are Docker and Compose 2.
///
/// # Errors
/// They are not there and cannot be had: what to bring is in the hint.
pub(super) fn provide(
    config: &Config,
    bundle: &mut Bundle,
    system: Option<&System>,
    report: &mut Report<'_>,
) -> Result<()> {
    let plugin = plugin_in(bundle);
    let mut found = look(config, system, plugin.is_some())?;
    if found.engine == Engine::Answers && found.client && found.compose {
        return Ok(());
    }
    if !found.named {
        // What can be had is asked only now: a device that has everything needs no network and no apt.
        update_lists(report);
        found.packages = candidates()?;
    }
    for step in decide(&found)? {
        match step {
            Step::Packages(names) => install_packages(&names, &found, report)?,
            Step::StartEngine => start_engine(config, system, report)?,
            Step::BundledPlugin => {
                if let Some(name) = &plugin {
                    write_plugin(bundle, name, Path::new(PLUGINS), report)?;
                }
            }
        }
    }
    let found = look(config, system, plugin.is_some())?;
    let missing = match (found.engine, found.client, found.compose) {
        (Engine::Answers, true, true) => return Ok(()),
        (Engine::Answers, true, false) => "Docker Compose 2 does not run",
        (Engine::Answers, false, _) => "the program `docker` is not there",
        _ => "the Docker engine does not answer",
    };
    Err(Error::refused(
        format!("{missing}, although it was installed"),
        "docker compose version; systemctl status docker",
    ))
}

fn look(config: &Config, system: Option<&System>, bundled: bool) -> Result<Found> {
    let engine = match Docker::new(config.docker_host.as_deref())?.facts() {
        Ok(_) => Engine::Answers,
        Err(_) if is_program("dockerd") => Engine::Silent,
        Err(_) => Engine::Missing,
    };
    Ok(Found {
        engine,
        named: config.docker_host.is_some(),
        client: is_program("docker"),
        compose: has_compose(system),
        bundled,
        packages: None,
    })
}

/// Whether the plugin is there for the service too, which has no home directory with a user's own plugins.
fn has_compose(system: Option<&System>) -> bool {
    let mut command = Command::new("docker");
    command.args(["compose", "version", "--short"]);
    if system.is_some() {
        command.env("HOME", "/").env_remove("DOCKER_CONFIG");
    }
    // Where there is no `docker` yet, the plugin may be: it is a program of its own.
    let plugins = PLUGIN_DIRECTORIES.map(|directory| Path::new(directory).join(PLUGIN));
    let alone = plugins.into_iter().filter(|path| path.is_file()).map(|path| {
        let mut command = Command::new(path);
        command.args(["version", "--short"]);
        command
    });
    std::iter::once(command)
        .chain(alone)
        .any(|command| is_version_2(&process::read(command, ASKING)))
}

fn is_version_2(said: &Result<String, ProcessError>) -> bool {
    said.as_ref()
        .is_ok_and(|version| major(version.trim_start_matches('v')) >= 2)
}

fn is_program(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    // A person's PATH may lack the directories of system programs.
    let system = ["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from);
    env::split_paths(&path)
        .chain(system)
        .any(|directory| directory.join(name).is_file())
}

/// The bundle's Compose plugin for this machine.
fn plugin_in(bundle: &Bundle) -> Option<EntryName> {
    let host = Platform::host();
    let is_it = |role: &FileRole| matches!(role, FileRole::ComposePlugin { platform } if *platform == host);
    let files = &bundle.manifest().files;
    files
        .iter()
        .find(|file| is_it(&file.role))
        .map(|file| file.name.clone())
}

fn write_plugin(bundle: &mut Bundle, name: &EntryName, directory: &Path, report: &mut Report<'_>) -> Result<()> {
    files::make_directory(directory)?;
    let place = directory.join(PLUGIN);
    let mut content = bundle.open_file(name).map_err(Error::io("read", &place))?;
    files::write_with(&place, 0o755, |out| io::copy(&mut content, out).map(drop))?;
    report.made(format!("{}, from the bundle", place.display()));
    Ok(())
}

fn apt(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8")
        .env("NEEDRESTART_SUSPEND", "1");
    command
}

fn update_lists(report: &Report<'_>) {
    if !is_program("apt-get") {
        return;
    }
    let mut command = apt("apt-get");
    command.args([
        "update",
        "-q",
        "-o",
        "Acquire::Retries=1",
        "-o",
        "Acquire::http::Timeout=20",
    ]);
    if let Err(error) = process::execute(command, INSTALLING) {
        // Packages may be on a medium, in apt's cache, or the lists new enough.
        report
            .progress
            .note(&format!("the lists of packages could not be updated: {error}"));
    }
}

/// The packages that can be had; none where there is no apt.
fn candidates() -> Result<Option<BTreeMap<String, String>>> {
    if !is_program("apt-get") || !is_program("apt-cache") {
        return Ok(None);
    }
    let mut command = apt("apt-cache");
    command.arg("policy").args(PACKAGES);
    Ok(Some(read_policy(&process::read(command, ASKING)?)))
}

/// Reads what `apt-cache policy` says: each package with its candidate.
fn read_policy(text: &str) -> BTreeMap<String, String> {
    let mut packages = BTreeMap::new();
    let mut package = None;
    for line in text.lines() {
        if !line.starts_with(' ') {
            package = line.strip_suffix(':').map(str::to_owned);
        } else if let Some(version) = line.trim_start().strip_prefix("Candidate: ")
            && version != "(none)"
            && let Some(name) = package.take()
        {
            packages.insert(name, version.to_owned());
        }
    }
    packages
}

fn install_packages(names: &[String], found: &Found, report: &mut Report<'_>) -> Result<()> {
    report
        .progress
        .note(&format!("installing {} from the distribution", names.join(", ")));
    let mut command = apt("apt-get");
    command
        .args([
            "install",
            "-y",
            "-q",
            "--no-install-recommends",
            "-o",
            "Dpkg::Use-Pty=0",
        ])
        .args(names);
    // What it says is shown while it is said; the end of it is kept for the error.
    let mut tail: Vec<String> = Vec::new();
    let done = thread::scope(|scope| {
        let (said, lines) = mpsc::channel();
        let running = scope.spawn(move || {
            process::run(command, Input::None, INSTALLING, |stdout| {
                for line in BufReader::new(stdout).split(b'\n') {
                    // The receiver lives until the end.
                    said.send(String::from_utf8_lossy(&line?).trim_end().to_owned()).ok();
                }
                Ok(())
            })
        });
        for line in lines {
            report.progress.note(&line);
            if tail.len() == TAIL {
                tail.remove(0);
            }
            tail.push(line);
        }
        running.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    if let Err(error) = done {
        return Err(Error::refused(
            format!(
                "{} could not be installed: {error}\n    {}",
                names.join(", "),
                tail.join("\n    ")
            ),
            what_to_bring(found),
        ));
    }
    report.made(format!("{}, from the distribution", names.join(", ")));
    Ok(())
}

/// Starts the engine and waits until it answers. Packages of Debian start it themselves where an init system runs.
fn start_engine(config: &Config, system: Option<&System>, report: &mut Report<'_>) -> Result<()> {
    let engine = Docker::new(config.docker_host.as_deref())?;
    if engine.facts().is_ok() {
        return Ok(());
    }
    let command = if system.is_some_and(System::runs) {
        let mut command = Command::new("systemctl");
        command.args(["enable", "--now", "docker.service"]);
        command
    } else {
        let mut command = Command::new("service");
        command.args(["docker", "start"]);
        command
    };
    report.progress.note("starting the Docker engine");
    let started = process::execute(command, STARTING);
    let since = Instant::now();
    while let Err(error) = engine.facts() {
        let why = match &started {
            Err(error) => error.to_string(),
            Ok(()) if since.elapsed() > STARTING => error.to_string(),
            Ok(()) => {
                thread::sleep(Duration::from_secs(1));
                continue;
            }
        };
        return Err(Error::refused(
            format!("Docker is installed, and its engine does not start: {why}"),
            "start it: systemctl start docker; its log: journalctl -u docker",
        ));
    }
    report.made("the Docker engine was started");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_of_apt_is_read() {
        let text = "docker.io:\n  Installed: (none)\n  Candidate: 20.10.24+dfsg1-1\n  Version table:\n     20.10.24 500\n        \
                    500 file:/x bookworm/main\ndocker-compose:\n  Installed: (none)\n  Candidate: (none)\n";
        let expected = BTreeMap::from([("docker.io".to_owned(), "20.10.24+dfsg1-1".to_owned())]);
        assert_eq!(read_policy(text), expected);
    }
}
