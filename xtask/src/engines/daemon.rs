//! One `dockerd` process: started so that it outlives us, waited for, and stopped.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use pipeline::system::process;
use xshell::{Cmd, Shell, cmd};

/// How long a starting engine may take until it answers.
const START: Duration = Duration::from_secs(60);

/// How long a stopping engine may take: it gives its containers 10 s.
const STOP: Duration = Duration::from_secs(60);

/// How often to look.
const PAUSE: Duration = Duration::from_millis(100);

/// Lines of an engine's log that an error shows.
const LOG_LINES: usize = 15;

/// Where one engine's process leaves its traces.
#[derive(Debug)]
pub(super) struct Daemon<'a> {
    pub(super) runtime: &'a Path,
    pub(super) log: PathBuf,
}

impl Daemon<'_> {
    /// The process, if it lives and is this engine's.
    pub(super) fn pid(&self) -> Option<u32> {
        let pid = fs::read_to_string(self.runtime.join("dockerd.pid"))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        // The number may belong to something else by now.
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let ours = self.log.with_file_name("daemon.json");
        command
            .split('\0')
            .any(|argument| Path::new(argument) == ours)
            .then_some(pid)
    }

    /// Starts `dockerd` out of unpacked `packages` and waits for it.
    pub(super) fn start(&self, sh: &Shell, packages: &Path, config: &Path, host: &str) -> Result<()> {
        let log = File::create(&self.log).with_context(|| format!("cannot write {}", self.log.display()))?;
        let mut child = Command::new(packages.join("usr/sbin/dockerd"))
            .arg("--config-file")
            .arg(config)
            .env("PATH", search_path(packages)?)
            // What a person sets for clients must not move the daemon.
            .env_remove("DOCKER_HOST")
            .env_remove("DOCKER_CONTEXT")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C in this terminal is not meant for the engine.
            .process_group(0)
            .spawn()
            .context("cannot run dockerd")?;
        self.wait_for(sh, host, Some(&mut child))
    }

    /// Waits for an engine that another process started.
    pub(super) fn wait(&self, sh: &Shell, host: &str) -> Result<()> {
        self.wait_for(sh, host, None)
    }

    fn wait_for(&self, sh: &Shell, host: &str, mut child: Option<&mut Child>) -> Result<()> {
        let started = Instant::now();
        while process::read(docker(sh, host).args(["version", "--format", "{{.Server.Version}}"])).is_err() {
            if let Some(child) = child.as_deref_mut()
                && let Some(status) = child.try_wait()?
            {
                bail!("dockerd ended with {status}; its log says:{}", self.log_tail());
            }
            if started.elapsed() > START {
                bail!(
                    "dockerd does not answer after {} s; its log says:{}",
                    START.as_secs(),
                    self.log_tail()
                );
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Ends the process and waits until it is gone; nothing if there is none.
    pub(super) fn stop(&self, sh: &Shell) -> Result<()> {
        let Some(pid) = self.pid() else { return Ok(()) };
        let number = pid.to_string();
        process::read(cmd!(sh, "kill -TERM {number}"))?;
        let started = Instant::now();
        while self.pid() == Some(pid) {
            if started.elapsed() > STOP {
                bail!("dockerd {pid} does not end; its log says:{}", self.log_tail());
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
        let shown = last.iter().map(|line| format!("\n    {line}")).collect::<String>();
        format!("{shown}\nhint: the whole log is {}", self.log.display())
    }
}

/// `packages` first, then what the machine has, with the directories that hold runc and iptables.
fn search_path(packages: &Path) -> Result<OsString> {
    let own = ["usr/bin", "usr/sbin"].map(|directory| packages.join(directory));
    let machine = env::var_os("PATH").unwrap_or_default();
    let machine: Vec<_> = env::split_paths(&machine).collect();
    let system = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].map(PathBuf::from);
    env::join_paths(own.into_iter().chain(machine).chain(system)).context("PATH holds a directory with a colon")
}

/// Docker's client for the engine at `host`, with no regard to the machine's configuration.
pub(super) fn docker<'sh>(sh: &'sh Shell, host: &str) -> Cmd<'sh> {
    sh.cmd("docker").env("DOCKER_HOST", host).env_remove("DOCKER_CONTEXT")
}
