//! The updater's own updates: a bundle that brings another program is dropped, and the daemon becomes that program; one
//! that cannot be kept running is taken back.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use bundle::Digest;
use xshell::{Shell, cmd};
use xtask::engines::Kind;

use crate::{
    clone::Clone,
    site::Site,
    versions::{Bundles, V2_0_0},
};

/// After how many ends the service manager gives up, as the daemon's unit says (`StartLimitBurst`).
const BURST: u32 = 5;

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn the_updater_becomes_the_one_that_a_bundle_brings() {
    let site = Site::with(Kind::Docker26Classic, Bundles::zstd(), &V2_0_0);
    let clone = Clone::new();
    let programs = site.path("opt/bin");
    fs::create_dir_all(&programs).unwrap();
    let first = small_copy(&site);
    fs::copy(&first, programs.join("updater")).unwrap();
    // Bytes after a program's end change nothing but its digest.
    let second = site.path("second");
    fs::copy(&first, &second).unwrap();
    append(&second, b"\n");
    // It shows that it works, and yet cannot be kept running.
    let broken = site.path("broken");
    let text = format!(
        "#!/bin/sh\ncase \"$*\" in *daemon*) exit 1;; esac\nexec {} \"$@\"\n",
        second.display()
    );
    fs::write(&broken, text).unwrap();
    let [one, two] = [("2.1.0", &second), ("2.1.1", &broken)].map(|(version, program)| {
        let bundle = release(&clone, version, program);
        let place = site.path(bundle.file_name().unwrap().to_str().unwrap());
        fs::copy(bundle, &place).unwrap();
        place
    });

    let mut manager = Manager::start(&site);
    let witness = site.witness();
    drop_in(&site, &one);
    manager.wait("2.1.0 runs by the second updater", &|| {
        let installed = digest(&programs.join("updater"));
        site.status()["update"]["phase"] == "completed" && installed == digest(&second)
    });
    assert_eq!(digest(&programs.join("updater.previous")), digest(&first));
    manager.wait("the second updater has passed its trial", &|| {
        !site.path("state/updater.trial").exists()
    });
    assert_eq!((manager.ends, manager.fallbacks), (1, 0));
    assert_eq!(digest(&manager.running()), digest(&second));

    drop_in(&site, &two);
    manager.wait("the broken updater was taken back", &|| {
        let failed = fs::read_to_string(site.path("state/updater.failed")).unwrap_or_default();
        failed.trim() == digest(&broken).to_string() && !site.path("state/updater.trial").exists()
    });
    assert_eq!(manager.fallbacks, 1);
    assert_eq!(digest(&programs.join("updater")), digest(&second));
    assert_eq!(digest(&manager.running()), digest(&second));
    // The product's update has nothing to do with it.
    assert_eq!(site.status()["current"]["version"], "2.1.1");
    assert_eq!(site.health().unwrap()["version"], "2.1.1");
    witness.expect_writes();
    site.expect_nothing_lost(&witness);
}

/// The updater of this workspace without its symbols.
fn small_copy(site: &Site) -> PathBuf {
    let (from, to) = (site.path("updater"), site.path("first"));
    let sh = Shell::new().unwrap();
    cmd!(sh, "strip -o {to} {from}").run().unwrap();
    to
}

fn append(path: &Path, bytes: &[u8]) {
    use std::io::Write as _;
    let mut file = fs::File::options().append(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

/// Releases a version whose updater is `program`.
fn release(clone: &Clone, version: &str, program: &Path) -> PathBuf {
    let program = clone.bring(program, "updater");
    let secret = Bundles::zstd().secret_key();
    clone.release_changed(version, &secret, &|text| {
        let lines = text.lines().map(|line| match line.starts_with("updater = ") {
            true => {
                format!("updater.prebuilt = {{ \"linux/amd64\" = {{ {program} }}, \"linux/arm64\" = {{ {program} }} }}")
            }
            false => line.to_owned(),
        });
        let text: String = lines.map(|line| line + "\n").collect();
        text.replace(
            "interval-seconds = 5, soak-seconds = 30",
            "interval-seconds = 1, soak-seconds = 1",
        )
    })
}

/// Drops a bundle as a file system does: all at once.
fn drop_in(site: &Site, bundle: &Path) {
    fs::rename(bundle, site.path("opt/updates").join(bundle.file_name().unwrap())).unwrap();
}

fn digest(path: &Path) -> Digest {
    Digest::of(&fs::read(path).unwrap())
}

/// Keeps the daemon running as its units say.
struct Manager<'a> {
    site: &'a Site,
    daemon: Child,
    /// How often the daemon ended.
    ends: u32,
    /// How often the program before was asked to take its place again.
    fallbacks: u32,
    /// How often it ended since the last fallback.
    burst: u32,
}

impl<'a> Manager<'a> {
    fn start(site: &'a Site) -> Self {
        Self {
            site,
            daemon: Self::command(site, "updater", "daemon").spawn().unwrap(),
            ends: 0,
            fallbacks: 0,
            burst: 0,
        }
    }

    fn command(site: &Site, program: &str, what: &str) -> Command {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(site.path("daemon.log"))
            .unwrap();
        let mut command = Command::new(site.path("opt/bin").join(program));
        command.arg("--config").arg(site.path("etc/updater.toml")).arg(what);
        command
            .env_remove("DOCKER_HOST")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command
    }

    /// The program that runs.
    fn running(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/exe", self.daemon.id()))
    }

    /// Keeps the daemon running until something is so.
    fn wait(&mut self, what: &str, is_so: &dyn Fn() -> bool) {
        let started = Instant::now();
        while !is_so() {
            if started.elapsed() > Duration::from_secs(150) {
                let log = fs::read_to_string(self.site.path("daemon.log")).unwrap_or_default();
                panic!("not so: {what}; the daemon said:\n{log}");
            }
            if self.daemon.try_wait().unwrap().is_some() {
                self.ends += 1;
                self.burst += 1;
                if self.burst == BURST {
                    self.burst = 0;
                    self.fallbacks += 1;
                    // As the unit has it: its result does not matter.
                    Self::command(self.site, "updater.previous", "fall-back").status().ok();
                }
                self.daemon = Self::command(self.site, "updater", "daemon").spawn().unwrap();
            }
            thread::sleep(Duration::from_millis(200));
        }
    }
}

impl Drop for Manager<'_> {
    fn drop(&mut self) {
        self.daemon.kill().ok();
        self.daemon.wait().ok();
    }
}
