//! A device with the updater on it: an engine of its own, the product's directories, and the updater as cargo
//! builds it.
//!
//! What is asserted is seen from outside: what `/health` answers, which image IDs run, what is in the database. Nothing
//! is asked of the updater but its exit code and what it prints.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, OnceLock},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use xshell::{Cmd, Shell, cmd};
use xtask::{
    cargo::by_hand,
    engines::{Engine, Kind, Running},
};

use crate::{
    versions::{Bundles, Version},
    witness::{Readings, SOURCE, Witness},
};

/// The port of the page on this machine.
pub(crate) const PORT: u16 = 18481;

/// The port of the updater's page and API on this machine.
pub(crate) const UPDATER_PORT: u16 = 18482;

/// The services of the product.
const SERVICES: [&str; 4] = ["backend", "controller", "db", "frontend"];

/// A device that is there until the test ends.
pub(crate) struct Site {
    kind: Kind,
    engine: Option<Running>,
    sh: Shell,
    directory: TempDir,
    /// The IDs of readings that the controller got acknowledged, as its containers' logs said so far.
    of_controller: Mutex<BTreeSet<String>>,
    pub(crate) bundles: &'static Bundles,
}

/// How a command of the updater ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Its exit code; none if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A container, as the engine shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) started_at: String,
    pub(crate) image: String,
}

impl Site {
    /// A device with an engine of `kind` and nothing installed, that trusts the key of `bundles`.
    pub(crate) fn new(kind: Kind, bundles: &'static Bundles) -> Self {
        Engine::wipe(kind).unwrap();
        let site = Self {
            kind,
            engine: Some(Engine::start(kind).unwrap()),
            sh: Shell::new().unwrap(),
            directory: tempfile::tempdir().unwrap(),
            of_controller: Mutex::default(),
            bundles,
        };
        for directory in ["etc", "opt"] {
            fs::create_dir(site.path(directory)).unwrap();
        }
        fs::copy(updater(), site.path("updater")).unwrap();
        let (opt, state, host) = (site.path("opt"), site.path("state"), site.engine().host());
        let text = format!(
            "product = \"webmacs\"\nfolder = {opt:?}\nstate = {state:?}\ndocker-host = {host:?}\n\n\
             [web]\nlisten = \"[::]:{UPDATER_PORT}\"\n"
        );
        fs::write(site.path("etc/updater.toml"), text).unwrap();
        let ports = format!("WEBMACS_HTTP_PORT={PORT}\nWEBMACS_UPDATER_PORT={UPDATER_PORT}\n");
        fs::write(site.env_file(), ports).unwrap();
        site.run(&["trust", "add", &bundles.public_key()]).expect(0);
        site
    }

    /// The same with a version installed.
    pub(crate) fn with(kind: Kind, bundles: &'static Bundles, version: &Version) -> Self {
        let site = Self::new(kind, bundles);
        site.apply(version).expect(0);
        site
    }

    /// A path on this device.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn env_file(&self) -> PathBuf {
        self.path("opt/.env")
    }

    /// What `.env` says.
    pub(crate) fn env(&self, key: &str) -> Option<String> {
        let text = fs::read_to_string(self.env_file()).unwrap();
        let found = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        found.map(|value| value.trim_matches(['"', '\'']).to_owned())
    }

    pub(crate) fn engine(&self) -> &Running {
        self.engine.as_ref().unwrap()
    }

    /// The updater with arguments, not yet started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.path("updater"));
        command
            .arg("--config")
            .arg(self.path("etc/updater.toml"))
            .args(arguments);
        command
            .env_remove("DOCKER_HOST")
            .env_remove("UPDATER_CRASH_AT")
            .env_remove("UPDATER_CRASH_LOG");
        command
    }

    /// Runs the updater.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        self.note_controller();
        Outcome::of(self.command(arguments), arguments)
    }

    /// Runs the updater, which ends as by `kill -9` when it passes a point.
    pub(crate) fn run_until(&self, point: &str, arguments: &[&str]) -> Outcome {
        self.note_controller();
        let mut command = self.command(arguments);
        command.env("UPDATER_CRASH_AT", point);
        Outcome::of(command, arguments)
    }

    /// Runs the updater, and gives the points that it passed.
    pub(crate) fn run_logged(&self, arguments: &[&str]) -> (Outcome, Vec<String>) {
        let log = self.path("points");
        fs::remove_file(&log).ok();
        let mut command = self.command(arguments);
        command.env("UPDATER_CRASH_LOG", &log);
        let outcome = Outcome::of(command, arguments);
        let points = fs::read_to_string(&log).unwrap_or_default();
        (outcome, points.lines().map(str::to_owned).collect())
    }

    /// Starts the daemon, which is ended when what is given back is dropped.
    pub(crate) fn daemon(&self) -> Daemon {
        let log = fs::File::create(self.path("daemon.log")).unwrap();
        let mut command = self.command(&["daemon"]);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        Daemon(command.spawn().unwrap())
    }

    /// `updater apply` of a version's bundle.
    pub(crate) fn apply(&self, version: &Version) -> Outcome {
        self.run(&["apply", self.bundle(version).to_str().unwrap()])
    }

    /// Where the bundle of a version is, outside of this device.
    pub(crate) fn bundle(&self, version: &Version) -> PathBuf {
        self.bundles.bundle(version)
    }

    /// Begins to write readings.
    pub(crate) fn witness(&self) -> Witness {
        let witness = Witness::start(PORT, &self.env("SECRET_KEY").unwrap());
        witness.expect_writes();
        witness
    }

    /// The product's answer to `/health`; none while there is none.
    pub(crate) fn health(&self) -> Option<Value> {
        let url = format!("http://127.0.0.1:{PORT}/health");
        let answer = cmd!(self.sh, "curl --silent --max-time 5 {url}")
            .quiet()
            .ignore_status();
        serde_json::from_str(&answer.read().ok()?).ok()
    }

    /// A version runs: `/health` answers with it, `.env` names it, and every service runs its image, none other.
    pub(crate) fn expect_runs(&self, version: &Version) {
        let health = self.health().unwrap_or_default();
        assert_eq!(health["version"], version.number, "{health}");
        assert_eq!(health["status"], "ok", "{health}");
        assert_eq!(self.env("WEBMACS_VERSION").as_deref(), Some(version.number));
        let running = self.containers();
        assert_eq!(running.keys().collect::<Vec<_>>(), SERVICES, "{running:?}");
        for (service, id) in self.images_of(version) {
            assert_eq!(running[&service].image, id, "{service} of {}", version.number);
        }
    }

    /// The image ID of each service by a version's manifest, as this engine calls it.
    pub(crate) fn images_of(&self, version: &Version) -> BTreeMap<String, String> {
        let key = if self.kind == Kind::Docker26Containerd {
            "manifest"
        } else {
            "config"
        };
        let manifest = self.bundles.manifest(version);
        let images = manifest["image_details"].as_array().unwrap();
        SERVICES
            .into_iter()
            .map(|service| {
                let part = if service == "db" { "postgres" } else { service };
                let image = images
                    .iter()
                    .find(|image| image["reference"].as_str().unwrap().contains(part));
                let id = image.unwrap()["platforms"][0][key].as_str().unwrap();
                (service.to_owned(), id.to_owned())
            })
            .collect()
    }

    /// The running containers of the product, by service.
    pub(crate) fn containers(&self) -> BTreeMap<String, Container> {
        let filter = "label=com.docker.compose.project=webmacs";
        let ids = self.docker(&["ps", "--quiet", "--no-trunc", "--filter", filter]);
        let format = r#"{{index .Config.Labels "com.docker.compose.service"}} {{.Id}} {{.State.StartedAt}} {{.Image}}"#;
        ids.lines()
            .map(|id| {
                let text = self.docker(&["inspect", "--format", format, id]);
                let [service, id, started_at, image] = text.split(' ').collect::<Vec<_>>()[..] else {
                    panic!("{text}");
                };
                let container = Container {
                    id: id.to_owned(),
                    started_at: started_at.to_owned(),
                    image: image.to_owned(),
                };
                (service.to_owned(), container)
            })
            .collect()
    }

    /// Removes the images of a version that nothing runs, as a person who makes room would.
    pub(crate) fn forget_images(&self, version: &Version) {
        let used: Vec<_> = self
            .containers()
            .into_values()
            .map(|container| container.image)
            .collect();
        for id in self.images_of(version).into_values().filter(|id| !used.contains(id)) {
            self.docker_command(&["image", "rm", "--force", &id])
                .ignore_status()
                .ignore_stdout()
                .ignore_stderr()
                .run()
                .ok();
        }
    }

    /// The schema revision of a database.
    pub(crate) fn revision(&self, database: &str) -> String {
        self.sql(database, "SELECT max(revision) FROM schema_revision")
    }

    /// The databases that are kept beside the one in use.
    pub(crate) fn databases_beside(&self) -> Vec<String> {
        let question = "SELECT datname FROM pg_database WHERE datname LIKE 'webmacs\\_%' ORDER BY datname";
        self.sql("webmacs", question).lines().map(str::to_owned).collect()
    }

    /// What `updater status --json` says.
    pub(crate) fn status(&self) -> Value {
        let output = self.command(&["status", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// How many updates were ever tried.
    pub(crate) fn updates_tried(&self) -> usize {
        let output = self.command(&["history", "--json"]).output().unwrap();
        let updates: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        updates.len()
    }

    /// Compose file and `.env`, byte for byte.
    pub(crate) fn files_of_record(&self) -> [Vec<u8>; 2] {
        ["opt/docker-compose.prod.yml", "opt/.env"].map(|name| fs::read(self.path(name)).unwrap())
    }

    /// A shell in the product's directory, whose `docker` speaks to this engine.
    pub(crate) fn shell_of_a_person(&self) -> Shell {
        let sh = Shell::new().unwrap();
        sh.change_dir(self.path("opt"));
        sh.set_var("DOCKER_HOST", self.engine().host());
        sh
    }

    /// Waits until the product says that it is well.
    pub(crate) fn wait_for_health(&self) {
        self.wait("the product is healthy", Duration::from_secs(60), &|| {
            self.health().is_some_and(|health| health["status"] == "ok")
        });
    }

    /// What the database answers, a line for a row.
    pub(crate) fn sql(&self, database: &str, question: &str) -> String {
        let arguments = [
            "exec",
            "webmacs-db-1",
            "psql",
            "-U",
            "webmacs",
            "-d",
            database,
            "-tAc",
            question,
        ];
        self.docker(&arguments)
    }

    /// The witness's readings in a database.
    pub(crate) fn stored(&self, database: &str) -> Readings {
        let question = format!("SELECT id, value FROM datapoints WHERE source = '{SOURCE}'");
        let text = self.sql(database, &question);
        let mut readings = Readings::new();
        for line in text.lines() {
            let (id, value) = line.split_once('|').unwrap();
            let doubled = readings.insert(id.to_owned(), value.parse().unwrap());
            assert_eq!(doubled, None, "{id} is stored twice");
        }
        readings
    }

    /// Everything that was acknowledged, to the witness or to the controller, is in the database as it was handed in; and of
    /// the witness's readings there is none that it did not hand in.
    pub(crate) fn expect_nothing_lost(&self, witness: &Witness) {
        let acknowledged = witness.lists().acknowledged;
        let of_controller = self.note_controller();
        let stored = self.stored("webmacs");
        let tried = witness.lists().tried;
        let lost: Vec<_> = acknowledged
            .iter()
            .filter(|(id, value)| stored.get(*id) != Some(value))
            .collect();
        assert!(
            lost.is_empty(),
            "{} of {} readings are lost: {lost:?}",
            lost.len(),
            acknowledged.len()
        );
        let invented: Vec<_> = stored
            .iter()
            .filter(|(id, value)| tried.get(*id) != Some(value))
            .collect();
        assert!(invented.is_empty(), "{invented:?}");
        let ids = self.sql("webmacs", "SELECT id FROM datapoints");
        let ids: BTreeSet<_> = ids.lines().collect();
        let lost: Vec<_> = of_controller.iter().filter(|id| !ids.contains(id.as_str())).collect();
        assert!(lost.is_empty(), "of the controller's: {lost:?}");
        assert!(!acknowledged.is_empty());
    }

    /// Takes notice of what the controller got acknowledged; its log goes with its container, when that is replaced.
    fn note_controller(&self) -> BTreeSet<String> {
        let command = self.docker_command(&["logs", "webmacs-controller-1"]);
        let output = command.ignore_status().output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter(|line| line.contains("acknowledged"));
        let mut known = self.of_controller.lock().unwrap();
        known.extend(lines.filter_map(uuid_in));
        known.clone()
    }

    /// How many readings the controller got acknowledged so far.
    pub(crate) fn readings_of_controller(&self) -> usize {
        self.note_controller().len()
    }

    /// Runs Docker's client on this device.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        self.docker_command(arguments).read().unwrap()
    }

    pub(crate) fn docker_command(&self, arguments: &[&str]) -> Cmd<'_> {
        self.engine().docker(&self.sh).quiet().args(arguments)
    }

    /// Waits until something is so.
    pub(crate) fn wait(&self, what: &str, limit: Duration, is_so: &dyn Fn() -> bool) -> Duration {
        let started = Instant::now();
        while !is_so() {
            assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
            thread::sleep(Duration::from_millis(200));
        }
        started.elapsed()
    }

    /// The names in a directory of this device, without those of diagnoses.
    pub(crate) fn names(&self, directory: &str) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path(directory))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !name.ends_with(".diagnostic.txt"))
            .collect();
        names.sort();
        names
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if thread::panicking() {
            let shown = self.docker_command(&["ps", "--all"]).ignore_status().read();
            eprintln!("{}", shown.unwrap_or_default());
            eprintln!("{}", self.run(&["history"]).stdout);
        }
        if let Some(engine) = self.engine.take() {
            let stopped = engine.stop().and_then(|()| Engine::wipe(self.kind));
            if let Err(error) = stopped {
                eprintln!("the engine of the test stays: {error:#}");
            }
        }
    }
}

impl Outcome {
    fn of(mut command: Command, arguments: &[&str]) -> Self {
        let started = Instant::now();
        let output = command.stdin(Stdio::null()).output().unwrap();
        let outcome = Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        let first = arguments.first().unwrap_or(&"");
        eprintln!(
            "  updater {first}: {:?} after {:.1} s",
            outcome.code,
            started.elapsed().as_secs_f64()
        );
        outcome
    }

    /// It ended with an exit code.
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// It was ended as by `kill -9`.
    pub(crate) fn expect_killed(self) -> Self {
        assert_eq!(self.code, None, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Asserts that standard error contains `text`.
    pub(crate) fn expect_stderr(self, text: &str) -> Self {
        assert!(
            self.stderr.contains(text),
            "no `{text}` in:\n{}\n{}",
            self.stdout,
            self.stderr
        );
        self
    }
}

/// A daemon; ended when dropped.
pub(crate) struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The updater of this workspace, with crash points. It is where no other build replaces it.
fn updater() -> &'static Path {
    static UPDATER: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = UPDATER.get_or_init(|| {
        let sh = Shell::new().unwrap();
        sh.change_dir(xtask::checkout::root().unwrap());
        by_hand(cmd!(
            sh,
            "cargo build --quiet --package updater --features crash-points"
        ))
        .run()
        .unwrap();
        let built = Path::new(env!("CARGO_BIN_EXE_xtask")).with_file_name("updater");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("updater");
        fs::copy(built, &path).unwrap();
        (directory, path)
    });
    path
}

fn uuid_in(line: &str) -> Option<String> {
    let is_uuid = |word: &&str| word.len() == 36 && word.bytes().filter(|byte| *byte == b'-').count() == 4;
    let mut words = line.split(|c: char| !(c.is_ascii_hexdigit() || c == '-'));
    words.find(is_uuid).map(str::to_owned)
}
