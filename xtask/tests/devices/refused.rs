//! What must not change a real device: bad bundles, an engine or a database that is not there or goes away, a disk that
//! is full, an `.env` that cannot be read.
//!
//! Each is tried on a device on which 2.0.0 runs. Afterwards everything is as before, and the exit code is the documented one.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    process::Stdio,
    thread,
    time::Duration,
};

use xshell::{Shell, cmd};
use xtask::engines::{Engine, Kind};

use crate::{
    site::{Container, Site},
    versions::{Bundles, V2_0_0, V2_1_0},
    witness::Witness,
};

/// All that must stay.
#[derive(Debug, PartialEq, Eq)]
struct Before {
    files: [Vec<u8>; 2],
    containers: BTreeMap<String, Container>,
    databases: Vec<String>,
}

impl Before {
    fn of(site: &Site) -> Self {
        Self {
            files: site.files_of_record(),
            containers: site.containers(),
            databases: site.databases_beside(),
        }
    }

    fn expect(&self, site: &Site, witness: &Witness, what: &str) {
        assert_eq!(*self, Self::of(site), "{what}");
        site.expect_runs(&V2_0_0);
        witness.expect_writes();
        site.expect_nothing_lost(witness);
        eprintln!("{what}: nothing changed");
    }
}

fn device() -> (Site, Witness) {
    let site = Site::with(Kind::Docker26Classic, Bundles::zstd(), &V2_0_0);
    let witness = site.witness();
    (site, witness)
}

#[test]
#[ignore = "needs Docker engines; `cargo xtask ci` runs it"]
fn bad_input_changes_nothing() {
    let (site, witness) = device();
    let before = Before::of(&site);
    let good = site.bundle(&V2_1_0);
    let apply = |bundle: &Path| site.run(&["apply", bundle.to_str().unwrap()]);

    let bad = changed(&site, &good, "truncated", |file, length| {
        file.set_len(length / 2).unwrap();
    });
    apply(&bad).expect(5);
    before.expect(&site, &witness, "truncated");

    // In the middle of images.tar: the database's layer.
    let bad = changed(&site, &good, "wrong-checksum", |file, length| flip(file, length / 2));
    apply(&bad).expect(5);
    before.expect(&site, &witness, "wrong checksum");

    let bad = resigned(&site, &good);
    apply(&bad).expect(5);
    before.expect(&site, &witness, "wrong signature");

    let key = Bundles::zstd().public_key();
    let id = site.run(&["trust", "list"]).expect(0).stdout;
    let other = bundle::signature::generate(None).unwrap().public().to_string();
    site.run(&["trust", "add", &other]).expect(0);
    site.run(&["trust", "remove", id.split_whitespace().next().unwrap()])
        .expect(0);
    apply(&good).expect(5);
    site.run(&["trust", "add", &key]).expect(0);
    before.expect(&site, &witness, "wrong key");

    apply(Path::new("/nowhere.tar.gz")).expect(1);
    before.expect(&site, &witness, "no bundle");

    // An .env that is no file, and one that is no text.
    let env = fs::read(site.env_file()).unwrap();
    fs::remove_file(site.env_file()).unwrap();
    fs::create_dir(site.env_file()).unwrap();
    assert_ne!(apply(&good).code, Some(0));
    fs::remove_dir(site.env_file()).unwrap();
    fs::write(site.env_file(), [&env[..], b"NAME=\xff\n"].concat()).unwrap();
    assert_ne!(apply(&good).code, Some(0));
    fs::write(site.env_file(), &env).unwrap();
    before.expect(&site, &witness, "unreadable .env");

    let config = fs::read_to_string(site.path("etc/updater.toml")).unwrap();
    let host = site.engine().host();
    fs::write(
        site.path("etc/updater.toml"),
        config.replace(&host, "unix:///run/absent.sock"),
    )
    .unwrap();
    apply(&good).expect(1);
    fs::write(site.path("etc/updater.toml"), config).unwrap();
    before.expect(&site, &witness, "engine down");

    // After all that, the same device takes the good one.
    apply(&good).expect(0);
    site.expect_runs(&V2_1_0);
}

#[test]
#[ignore = "takes minutes; `cargo xtask torture` runs it"]
fn torture_a_database_or_an_engine_that_goes_away_changes_nothing() {
    let (site, witness) = device();
    let before = Before::of(&site);
    let good = site.bundle(&V2_1_0);

    site.docker(&["stop", "webmacs-db-1"]);
    site.run(&["apply", good.to_str().unwrap()])
        .expect(3)
        .expect_stderr("database");
    site.docker(&["start", "webmacs-db-1"]);
    site.wait_for_health();
    let before = Before {
        // It was we who started it again.
        containers: site.containers(),
        ..before
    };
    before.expect(&site, &witness, "database down before");

    // The backup waits for a lock, and the database dies.
    let lock = "BEGIN; LOCK TABLE datapoints; SELECT pg_sleep(60)";
    let mut locking = std::process::Command::new("docker")
        .env("DOCKER_HOST", site.engine().host())
        .args(["exec", "webmacs-db-1", "psql", "-U", "webmacs", "-c", lock])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    site.wait("the table is locked", Duration::from_secs(10), &|| {
        site.sql(
            "webmacs",
            "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock'",
        ) != "0"
    });
    let code = during(&site, &good, "backing up", || {
        thread::sleep(Duration::from_secs(1));
        site.docker(&["kill", "webmacs-db-1"]);
    });
    locking.wait().unwrap();
    assert_eq!(code, Some(4));
    assert!(
        site.names("opt/updates/backups")
            .iter()
            .all(|name| name.ends_with(".sql"))
    );
    site.docker(&["start", "webmacs-db-1"]);
    site.wait_for_health();
    let before = Before {
        containers: site.containers(),
        ..before
    };
    before.expect(&site, &witness, "database down during the backup");

    let code = during(&site, &good, "loading", || kill_engine(&site));
    assert_eq!(code, Some(4));
    Engine::start(Kind::Docker26Classic).unwrap();
    site.run(&["start"]).expect(0);
    site.wait_for_health();
    let before = Before {
        containers: site.containers(),
        ..before
    };
    before.expect(&site, &witness, "engine dead during the loading");
    site.run(&["apply", good.to_str().unwrap()]).expect(0);
    site.expect_runs(&V2_1_0);
    witness.expect_writes();
    site.expect_nothing_lost(&witness);
}

#[test]
#[ignore = "takes minutes; `cargo xtask torture` runs it"]
fn torture_a_full_disk_changes_nothing() {
    let site = Site::new(Kind::Docker26Classic, Bundles::zstd());
    let (opt, state) = (
        Mounted::over(&site.path("opt"), "256m"),
        Mounted::over(&site.path("state"), "16m"),
    );
    fs::write(site.env_file(), format!("WEBMACS_HTTP_PORT={}\n", crate::site::PORT)).unwrap();
    site.apply(&V2_0_0).expect(0);
    let witness = site.witness();
    let before = Before::of(&site);
    let good = site.bundle(&V2_1_0);
    let apply = ["apply", good.to_str().unwrap()];

    {
        let _full = opt.fill();
        site.run(&apply).expect(3).expect_stderr("disk");
    }
    before.expect(&site, &witness, "no space for the backup, found before");

    // Found before, it would be refused: so the disk fills up between the checks.
    for (point, full) in [
        ("after verified", &opt),
        ("after verified", &state),
        ("after backed_up", &opt),
        ("after backed_up", &state),
        ("after loaded", &opt),
        ("after loaded", &state),
    ] {
        let what = format!("{} is full {point}", full.path.file_name().unwrap().display());
        site.run_until(point, &apply).expect_killed();
        let filled = full.fill();
        let start = site.run(&["start"]);
        eprintln!("{what}: {:?} {}", start.code, start.stderr);
        drop(filled);
        site.run(&["start"]).expect(0);
        let runs = site.env("WEBMACS_VERSION").unwrap();
        if runs == V2_1_0.number {
            // What did not need the space has gone on.
            site.expect_runs(&V2_1_0);
            site.run(&["rollback"]).expect(0);
        }
        site.expect_runs(&V2_0_0);
        witness.expect_writes();
        site.expect_nothing_lost(&witness);
        assert_eq!(
            site.status()["update"]["phase"]
                .as_str()
                .filter(|phase| *phase == "stuck"),
            None
        );
    }
    drop(site);
    drop((opt, state));
}

/// Applies a bundle, and does something as soon as the updater says that a phase begins. Gives the exit code.
fn during(site: &Site, bundle: &Path, phase: &str, act: impl FnOnce()) -> Option<i32> {
    let mut command = site.command(&["apply", bundle.to_str().unwrap()]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut act = Some(act);
    let mut all = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.ends_with(&format!(": {phase}"))
            && let Some(act) = act.take()
        {
            act();
        }
        all.push_str(&line);
        all.push('\n');
    }
    let status = child.wait().unwrap();
    assert!(act.is_none(), "no {phase}: {all}");
    eprintln!("{all}");
    status.code()
}

/// `kill -9` for the engine's daemon.
fn kill_engine(site: &Site) {
    let config = site.engine().log().with_file_name("daemon.json");
    let config = config.to_str().unwrap();
    let mut killed = 0;
    for process in fs::read_dir("/proc").unwrap() {
        let path = process.unwrap().path();
        let command = fs::read_to_string(path.join("cmdline")).unwrap_or_default();
        if command.starts_with('/') && command.contains("dockerd") && command.contains(config) {
            let (sh, pid) = (Shell::new().unwrap(), path.file_name().unwrap().to_owned());
            cmd!(sh, "kill -9 {pid}").quiet().run().unwrap();
            killed += 1;
        }
    }
    assert_eq!(killed, 1);
}

/// A copy of a bundle, changed.
fn changed(site: &Site, good: &Path, name: &str, change: impl FnOnce(&mut fs::File, u64)) -> PathBuf {
    let path = site.path(&format!("{name}.tar.gz"));
    fs::copy(good, &path).unwrap();
    let mut file = fs::File::options().read(true).write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    change(&mut file, length);
    path
}

fn flip(file: &mut fs::File, place: u64) {
    let mut byte = [0];
    file.seek(SeekFrom::Start(place)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(place)).unwrap();
    file.write_all(&[byte[0] ^ 0xff]).unwrap();
}

/// The bundle with a changelog that its signature is not for.
fn resigned(site: &Site, good: &Path) -> PathBuf {
    let directory = tempfile::tempdir().unwrap();
    let sh = Shell::new().unwrap();
    sh.change_dir(directory.path());
    let path = site.path("resigned.tar.gz");
    let names = cmd!(sh, "tar tzf {good}").quiet().read().unwrap();
    let names: Vec<_> = names.lines().collect();
    cmd!(sh, "tar xzf {good}").quiet().run().unwrap();
    let manifest = sh.read_file("manifest.json").unwrap();
    let other = manifest.replace("\"2.0.0\"", "\"1.9.0\"");
    assert_ne!(other, manifest);
    sh.write_file("manifest.json", other).unwrap();
    cmd!(sh, "tar czf {path} {names...}").quiet().run().unwrap();
    path
}

/// A small file system in memory.
struct Mounted {
    path: PathBuf,
}

impl Mounted {
    fn over(path: &Path, size: &str) -> Self {
        fs::create_dir_all(path).unwrap();
        let sh = Shell::new().unwrap();
        cmd!(sh, "mount -t tmpfs -o size={size} tmpfs {path}")
            .quiet()
            .run()
            .unwrap();
        Self { path: path.to_owned() }
    }

    /// Leaves no room until what is given back is dropped.
    fn fill(&self) -> Filled {
        let path = self.path.join(".filled");
        let mut file = fs::File::create(&path).unwrap();
        let block = vec![0; 1 << 12];
        while file.write_all(&block).is_ok() {}
        Filled(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let (sh, path) = (Shell::new().unwrap(), &self.path);
        cmd!(sh, "umount --lazy {path}").quiet().run().ok();
    }
}

struct Filled(PathBuf);

impl Drop for Filled {
    fn drop(&mut self) {
        fs::remove_file(&self.0).ok();
    }
}
