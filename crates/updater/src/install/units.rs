//! What starts the product and the updater at boot: units for systemd.
//!
//! ```text
//! <product>.service                   starts the product, after finishing what a power cut interrupted
//! <product>-updater.service           the daemon
//! <product>-updater-fallback.service  when the daemon cannot be kept running: the program before it, then again
//! ```
//!
//! The daemon waits for the product's unit: both begin with recovering, and only one may act.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use super::report::Report;
use device::{
    Result,
    config::{self, Config},
    engine::self_update,
    system::{crash, files, process},
};

/// The first line of our units.
pub(super) const MARK: &str = "# Written by `updater install`; changes are lost. Use `systemctl edit` instead.";

/// How long systemd may take. Starting the product includes finishing an update.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// The parts of a machine that an installation writes to, apart from the product's own directories.
#[derive(Clone, Debug)]
pub(crate) struct System {
    root: PathBuf,
}

impl System {
    /// The machine that we run on.
    pub(super) fn of_this_machine() -> Self {
        Self {
            root: PathBuf::from("/"),
        }
    }

    /// A directory in place of a machine.
    #[cfg(test)]
    pub(crate) fn in_directory(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where units of an administrator are.
    pub(crate) fn units(&self) -> PathBuf {
        self.root.join("etc/systemd/system")
    }

    /// Everywhere units are.
    pub(super) fn unit_directories(&self) -> [PathBuf; 3] {
        [
            self.units(),
            self.root.join("usr/lib/systemd/system"),
            self.root.join("lib/systemd/system"),
        ]
    }

    /// Where programs of an administrator are.
    pub(crate) fn programs(&self) -> PathBuf {
        self.root.join("usr/local/bin")
    }

    /// Whether systemd runs (sd_booted(3)).
    pub(super) fn runs(&self) -> bool {
        self.root.join("run/systemd/system").is_dir()
    }
}

/// A unit's name and text.
pub(super) type Unit = (String, String);

/// The units of an installation.
pub(super) fn units(config: &Config) -> [Unit; 3] {
    let product = &config.product;
    let [service, updater, fallback] = names(config);
    let program = self_update::program(config);
    let previous = self_update::previous(config);
    let settings = config.etc.join(config::FILE);
    let (program, previous, settings) = (program.display(), previous.display(), settings.display());
    let (directory, state) = (config.folder.display(), config.state.display());
    let hardening = hardening(config);
    let start = format!(
        "{MARK}
[Unit]
Description={product}
# Wants, not Requires: an engine that is restarted must not stop the product.
Wants=docker.service network-online.target
After=docker.service network-online.target
RequiresMountsFor={directory} {state}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={program} --config {settings} start
ExecStop={program} --config {settings} stop
# Starting may finish or undo an update, with a database to restore. The updater has limits of its own.
TimeoutStartSec=infinity
TimeoutStopSec=10min
# An engine that is late, or another updater process at work. Not where a person is needed (3, 7).
Restart=on-failure
RestartSec=30
RestartPreventExitStatus=3 7
{hardening}
[Install]
WantedBy=multi-user.target
"
    );
    let daemon = format!(
        "{MARK}
[Unit]
Description={product} updater
Wants=docker.service
# After the product's unit: what a power cut interrupted is finished by it, one at a time.
After=docker.service {service}
RequiresMountsFor={directory} {state}
OnFailure={fallback}
# Five starts that fail, and what `OnFailure` names tries the program before. The interval holds five of the longest, of
# a program that hangs until each limit below has passed.
StartLimitIntervalSec=1h
StartLimitBurst=5

[Service]
Type=notify
NotifyAccess=main
ExecStart={program} --config {settings} daemon
# Always: it ends by itself when a newer program has taken its place.
Restart=always
RestartSec=5
WatchdogSec=2min
# It reports that it waits for the engine, which extends this.
TimeoutStartSec=2min
TimeoutStopSec=1min
# Far more than it needs; a leak must not take the product's memory.
MemoryMax=512M
TasksMax=256
# What a login takes, 19 MiB, goes back to the system at once; the C library would keep it for each thread.
Environment=MALLOC_MMAP_THRESHOLD_=4194304 MALLOC_ARENA_MAX=2
{hardening}
[Install]
WantedBy=multi-user.target
"
    );
    let fallback_text = format!(
        "{MARK}
[Unit]
Description={product} updater: back to the program before
StartLimitIntervalSec=0

[Service]
Type=oneshot
# `-`: there may be no program before, or nothing to fall back from.
ExecStart=-{previous} --config {settings} fall-back
# The reason may be gone: a full disk, an engine that does not start.
ExecStart=/bin/sleep 30
ExecStart=-/bin/systemctl reset-failed {updater}
ExecStart=/bin/systemctl start --no-block {updater}
"
    );
    [(service, start), (updater, daemon), (fallback, fallback_text)]
}

/// The names of the units.
pub(super) fn names(config: &Config) -> [String; 3] {
    let product = &config.product;
    [
        format!("{product}.service"),
        format!("{product}-updater.service"),
        format!("{product}-updater-fallback.service"),
    ]
}

/// What both services do without. Each line has to leave alone: the engine's socket, `docker compose` as a child, HTTP to
/// published ports, writing below the product's directories, and looking at who has a file open.
fn hardening(config: &Config) -> String {
    let home = match needs_home(config) {
        true => "# Not ProtectHome: something that is configured is in a home directory or below /run/user.",
        false => "ProtectHome=yes",
    };
    format!(
        "# `docker` looks for its own configuration here, and may write it.
Environment=HOME={state}
NoNewPrivileges=yes
{home}
PrivateTmp=yes
PrivateDevices=yes
# Not `strict`: backups, or all of the product's directory, may have been moved to another disk.
ProtectSystem=full
ReadWritePaths={etc}
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
# The engine's socket, health checks and downloads; netlink is how names are resolved.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
# Files of other owners are dropped here, read, moved and kept as they are; SYS_PTRACE tells who still writes to one.
CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_SYS_PTRACE
",
        state = config.state.display(),
        etc = config.etc.display(),
    )
}

fn needs_home(config: &Config) -> bool {
    let host = config.docker_host.as_deref().unwrap_or_default();
    let socket = Path::new(host.trim_start_matches("unix://"));
    [socket, &config.folder, &config.state, &config.etc].iter().any(|path| {
        ["/home", "/root", "/run/user"]
            .iter()
            .any(|home| path.starts_with(home))
    })
}

/// Writes the units, and has systemd take them up if it runs.
///
/// # Errors
/// They cannot be written, or systemd refuses them.
pub(super) fn install(config: &Config, system: &System, report: &mut Report<'_>) -> Result<()> {
    files::make_directory(&system.units())?;
    let mut changed = false;
    for (name, text) in units(config) {
        let place = system.units().join(&name);
        let before = files::read_if_there(&place)?;
        if before.as_deref() == Some(text.as_bytes()) {
            continue;
        }
        if let Some(before) = before
            && !String::from_utf8_lossy(&before).contains(MARK)
        {
            // Another way to start the product: kept, but only one may start it.
            let kept = system.units().join(format!("{name}.before-updater"));
            files::write(&kept, &before, 0o644)?;
            report.note(format!(
                "{} was replaced, and kept as {}",
                place.display(),
                kept.display()
            ));
        }
        files::write(&place, text.as_bytes(), 0o644)?;
        report.made(format!("{}", place.display()));
        changed = true;
    }
    crash::point("units written");
    let [service, updater, _] = names(config);
    if !system.runs() {
        report.note(format!(
            "systemd does not run here, so nothing starts at boot yet; where it does: systemctl enable --now {service} {updater}"
        ));
        return Ok(());
    }
    if changed {
        systemctl(&["daemon-reload"])?;
    }
    systemctl(&["enable", "--quiet", &service, &updater])?;
    // Both take the lock, which the installation still holds: they are started when it has ended.
    for unit in [&service, &updater] {
        systemctl(&["reset-failed", "--quiet", unit]).ok();
    }
    Ok(())
}

/// Starts the units of an installation that has ended, if systemd runs. A program that was replaced is taken up.
///
/// # Errors
/// systemd refuses.
pub(super) fn start(config: &Config, system: &System) -> Result<()> {
    if !system.runs() {
        return Ok(());
    }
    let [service, updater, _] = names(config);
    systemctl(&["start", &service])?;
    systemctl(&["restart", &updater])
}

/// Stops and removes the units. `None` of it fails where nothing is there.
///
/// # Errors
/// They cannot be removed, or systemd refuses.
pub(super) fn remove(config: &Config, system: &System) -> Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for (name, _) in units(config) {
        let place = system.units().join(name);
        if fs::read_to_string(&place).is_ok_and(|text| text.contains(MARK)) {
            files::remove(&place)?;
            removed.push(place);
        }
    }
    if system.runs() && !removed.is_empty() {
        systemctl(&["daemon-reload"])?;
        // Without their files they are forgotten, and stopping them runs nothing any more.
        let [service, updater, fallback] = names(config);
        systemctl(&["stop", "--quiet", &service, &updater, &fallback]).ok();
    }
    Ok(removed)
}

/// Ends the daemon and keeps it from being started again; nothing where systemd does not run.
///
/// # Errors
/// systemd refuses.
pub(super) fn stop(config: &Config, system: &System) -> Result<()> {
    let [service, updater, _] = names(config);
    if !system.runs() || !system.units().join(&updater).is_file() {
        return Ok(());
    }
    systemctl(&["disable", "--quiet", &service, &updater])?;
    systemctl(&["stop", "--quiet", &updater])
}

fn systemctl(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("systemctl");
    command.args(arguments);
    Ok(process::execute(command, PATIENCE)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon;

    /// What the daemon's unit says for `key`: a time, or a number.
    fn seconds(unit: &str, key: &str) -> Duration {
        let value = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let value = value.unwrap();
        let (number, unit) = match (value.strip_suffix("min"), value.strip_suffix('h')) {
            (Some(minutes), _) => (minutes, 60),
            (_, Some(hours)) => (hours, 60 * 60),
            _ => (value, 1),
        };
        Duration::from_secs(number.parse::<u64>().unwrap() * unit)
    }

    #[test]
    fn a_program_that_hangs_is_given_up_as_well() {
        let [_, (_, unit), _] = units(&Config::for_product(&"app".parse().unwrap()));
        let of = |key| seconds(&unit, key);
        // Ready at the last moment, stuck at the end of its trial, found out by the watchdog, and not ending by itself: it
        // is asked to, and then killed.
        let longest = of("TimeoutStartSec")
            + daemon::TRIAL
            + daemon::STALLED
            + of("WatchdogSec")
            + 2 * of("TimeoutStopSec")
            + of("RestartSec");
        let starts = u32::try_from(of("StartLimitBurst").as_secs()).unwrap();
        assert!(starts * longest < of("StartLimitIntervalSec"), "{longest:?}");
    }
}
