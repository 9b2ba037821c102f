//! A device: an engine of its own, on which things are done by hand.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use xshell::{Cmd, Shell, cmd};
use xtask::engines::{Engine, Kind, Running};

use crate::clone::{Clone, VERSION};

/// The port of the page on this machine.
const PORT: &str = "18480";

/// How long the product may take until it is healthy: under emulation, a database is made in a minute or two.
const PATIENCE: Duration = Duration::from_secs(300);

/// An engine that runs until the test ends.
pub(crate) struct Device {
    kind: Kind,
    engine: Option<Running>,
    sh: Shell,
}

impl Device {
    /// Starts an engine that has no image yet.
    pub(crate) fn start(kind: Kind) -> Self {
        Engine::wipe(kind).unwrap();
        let engine = Engine::start(kind).unwrap();
        Self {
            kind,
            engine: Some(engine),
            sh: Shell::new().unwrap(),
        }
    }

    /// Loads `images.tar`, as a person would.
    pub(crate) fn load(&self, unpacked: &TempDir) {
        let images = unpacked.path().join("images.tar");
        self.docker()
            .args(["load", "--quiet", "--input"])
            .arg(images)
            .run()
            .unwrap();
    }

    /// Every image is the one of the manifest: by its configuration in a classic store, by its manifest in containerd's.
    pub(crate) fn expect_images(&self, release: &Clone, platform: &str) {
        let manifest = release.manifest("webmacs-update-2.1.0-amd64.tar.gz");
        let key = if self.kind == Kind::Docker26Containerd {
            "manifest"
        } else {
            "config"
        };
        for image in manifest["image_details"].as_array().unwrap() {
            let reference = image["reference"].as_str().unwrap();
            let on: Vec<&Value> = image["platforms"].as_array().unwrap().iter().collect();
            let on = on.into_iter().find(|on| on["platform"] == platform).unwrap();
            let id = self
                .docker()
                .args(["image", "inspect", "--format", "{{.Id}}", reference])
                .read()
                .unwrap();
            assert_eq!(Some(id.as_str()), on[key].as_str(), "{reference} on {:?}", self.kind);
        }
    }

    /// Starts the product for `platform`, waits until it answers, and takes it down with its data.
    pub(crate) fn expect_healthy(&self, release: &Clone, platform: &str) {
        let directory = tempfile::tempdir().unwrap();
        let compose = directory.path().join("docker-compose.prod.yml");
        fs::copy(release.path().join("crates/demo/docker-compose.prod.yml"), &compose).unwrap();
        let environment = format!(
            "WEBMACS_VERSION={VERSION}\nDB_PASSWORD=secret-of-a-test\nSECRET_KEY=key-of-a-test\nWEBMACS_HTTP_PORT={PORT}\n"
        );
        fs::write(directory.path().join(".env"), environment).unwrap();
        self.sh.change_dir(directory.path());
        let compose = |arguments: &[&str]| {
            let command = self
                .docker()
                .args(["compose", "--file", "docker-compose.prod.yml"])
                .args(arguments);
            command.env("DOCKER_DEFAULT_PLATFORM", platform)
        };
        // `up` waits for health itself and may give up too early under emulation; what counts is what answers.
        compose(&["up", "--detach", "--no-build", "--pull", "never", "--quiet-pull"])
            .ignore_status()
            .run()
            .unwrap();
        let health = self.wait_for_health(&compose);
        assert_eq!(health["version"], VERSION, "{health}");
        assert_eq!(health["database"]["reachable"], true, "{health}");
        let architecture = platform.trim_start_matches("linux/");
        let backend = compose(&["ps", "--quiet", "backend"]).read().unwrap();
        let image = self
            .docker()
            .args(["inspect", "--format", "{{.Image}}", &backend])
            .read()
            .unwrap();
        let found = self
            .docker()
            .args(["image", "inspect", "--format", "{{.Architecture}}", &image])
            .read();
        // The containerd store shows an index as its host's part, so there the kernel is asked instead.
        if self.kind != Kind::Docker26Containerd {
            assert_eq!(found.unwrap(), architecture);
        } else if architecture == "arm64" {
            let pid = self
                .docker()
                .args(["inspect", "--format", "{{.State.Pid}}", &backend])
                .read()
                .unwrap();
            let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
            assert!(
                program.to_string_lossy().contains("qemu-aarch64"),
                "{}",
                program.display()
            );
        }
        compose(&["down", "--volumes", "--timeout", "5"]).run().unwrap();
    }

    fn wait_for_health<'sh>(&'sh self, compose: &dyn Fn(&[&str]) -> Cmd<'sh>) -> Value {
        let started = Instant::now();
        let url = format!("http://127.0.0.1:{PORT}/health");
        loop {
            let answer = cmd!(self.sh, "curl --silent --fail --max-time 5 {url}")
                .quiet()
                .ignore_stderr()
                .read();
            if let Ok(answer) = answer {
                return serde_json::from_str(&answer).unwrap();
            }
            if started.elapsed() > PATIENCE {
                compose(&["ps", "--all"]).run().ok();
                compose(&["logs", "--tail", "20"]).run().ok();
                panic!("the product is not healthy after {PATIENCE:?} on {:?}", self.kind);
            }
            // A dependency that was late is started again.
            compose(&["up", "--detach", "--no-build", "--pull", "never"])
                .quiet()
                .ignore_status()
                .ignore_stdout()
                .ignore_stderr()
                .run()
                .ok();
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// Docker's client, talking to this device.
    pub(crate) fn docker(&self) -> Cmd<'_> {
        self.engine.as_ref().unwrap().docker(&self.sh).quiet()
    }

    /// The engine's address.
    pub(crate) fn host(&self) -> String {
        self.engine.as_ref().unwrap().host()
    }

    /// The number of the engine's process.
    pub(crate) fn pid(&self) -> String {
        let configuration = self.engine.as_ref().unwrap().log().with_file_name("daemon.json");
        let configuration = configuration.to_str().unwrap();
        let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap());
        let ours = processes.into_iter().find(|process| {
            let command = fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
            command.split('\0').any(|argument| argument == configuration)
        });
        ours.unwrap().file_name().into_string().unwrap()
    }

    /// Starts the engine again after it ended.
    pub(crate) fn restart(&mut self) {
        // Its containerd ends after it, when the kernel has cleaned up.
        thread::sleep(Duration::from_secs(2));
        self.engine = Some(Engine::start(self.kind).unwrap());
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.take() {
            let stopped = engine.stop().and_then(|()| Engine::wipe(self.kind));
            if let Err(error) = stopped {
                eprintln!("the engine of the test stays: {error:#}");
            }
        }
    }
}
